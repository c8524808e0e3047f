//! The fenced blocks of a Markdown text.

/// One block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// What stands behind the fence; may be empty.
    pub(crate) language: String,
    /// The lines in it.
    pub(crate) content: String,
}

/// Every block, in its order. One without an end goes to the end of the text.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, fence)) = lines.next() {
        let Some(language) = fence.trim_start().strip_prefix("```") else {
            continue;
        };
        let inside = lines
            .by_ref()
            .map(|(_, inside)| inside)
            .take_while(|inside| inside.trim() != "```");
        found.push(Block {
            line,
            language: language.trim().to_owned(),
            content: inside.map(|inside| format!("{inside}\n")).collect(),
        });
    }
    found
}
