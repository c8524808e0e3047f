//! Whether a command prints what the README says that it prints.

use crate::Tested;

/// What stands for lines that the README leaves out.
const ELISION: &str = "…";

/// Each piece between the elisions is printed, word for word and in this order.
/// Numbers and ids differ from run to run, and where lines break depends on the
/// length of paths.
pub(crate) fn is_in(text: &str, output: &str) -> Tested {
    let printed: Vec<String> = output.split_whitespace().map(masked).collect();
    let mut from = 0;
    for piece in text
        .split('\n')
        .collect::<Vec<_>>()
        .split(|line| line.trim() == ELISION)
    {
        let said: Vec<String> = piece
            .iter()
            .flat_map(|line| line.split_whitespace())
            .map(masked)
            .collect();
        if said.is_empty() {
            continue;
        }
        let found = printed[from..]
            .windows(said.len())
            .position(|words| words == said);
        let Some(at) = found else {
            return Err(format!(
                "this is not printed (any more):\n{}\n\nbut:\n{output}",
                piece.join("\n")
            )
            .into());
        };
        from += at + said.len();
    }
    Ok(())
}

/// The word with `#` for each number, decimal or hexadecimal.
fn masked(word: &str) -> String {
    let mut text = String::new();
    let mut run = String::new();
    for letter in word.chars().map(Some).chain([None]) {
        match letter {
            Some(digit @ ('0'..='9' | 'a'..='f')) => run.push(digit),
            other => {
                match run.contains(|c: char| c.is_ascii_digit()) {
                    true => text.push('#'),
                    false => text.push_str(&run),
                }
                run.clear();
                text.extend(other);
            }
        }
    }
    text
}
