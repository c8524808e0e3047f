//! Text for a terminal: made safe, measured, wrapped, counted.

/// Makes untrusted text safe to show on one line of a terminal.
///
/// Control characters and escape sequences appear as `\n`, `\xNN` or `\u{…}`,
/// and so do the characters that would reorder or hide what stands around them
/// (Unicode bidirectional controls, zero-width spaces). Text of more than
/// `max_bytes` is cut, and says how long it was.
pub fn safe(text: &str, max_bytes: usize) -> String {
    let end = (0..=max_bytes.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let shown = &text[..end];
    let mut out = String::with_capacity(shown.len());
    for c in shown.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() || hides_or_reorders(c) => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    if shown.len() < text.len() {
        out.push_str(&format!("… ({} bytes)", text.len()));
    }
    out
}

fn hides_or_reorders(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The columns that a text takes in a terminal: two for the wide characters of
/// East Asia and for pictures, none for combining marks.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

fn char_columns(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x1ab0..=0x1aff | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Breaks a text into lines of at most `width` columns, at white space; a word
/// that is longer than a line is broken behind a `/`, `,` or `:` where it has
/// one. There is always at least one line.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word = word;
        let mut needs = columns(word);
        if used > 0 && used + 1 + needs <= width {
            line.push(' ');
            line.push_str(word);
            used += 1 + needs;
            continue;
        }
        if used > 0 {
            lines.push(std::mem::take(&mut line));
        }
        while needs > width {
            let at = break_at(word, width);
            lines.push(word[..at].to_owned());
            word = &word[at..];
            needs = columns(word);
        }
        line.push_str(word);
        used = needs;
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// Where to break a word that is longer than `width`: never at its start.
fn break_at(word: &str, width: usize) -> usize {
    let mut used = 0;
    let mut fits = 0;
    let mut neat = None;
    for (at, c) in word.char_indices() {
        used += char_columns(c);
        if used > width && fits > 0 {
            break;
        }
        fits = at + c.len_utf8();
        if matches!(c, '/' | ',' | ':') && used > width / 2 {
            neat = Some(fits);
        }
    }
    neat.unwrap_or(fits)
}

/// Cuts a text that is already safe to `width` columns, with an `…`.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += char_columns(c);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// `1 check`, `2 checks`.
pub(super) fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// How long a check took: `0.3 s`, `3 min 05 s`.
pub(super) fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s if s < 60 => format!("{}.{} s", s, ms % 1000 / 100),
        s => format!("{} min {:02} s", s / 60, s % 60),
    }
}

/// How long a call took: `12 ms`, and as [`seconds`] from one second on.
pub(super) fn brief_time(ms: u64) -> String {
    if ms < 1000 {
        format!("{ms} ms")
    } else {
        seconds(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey_is_left() {
        let hostile: String = (0..0x3000).filter_map(char::from_u32).collect();
        let shown = safe(&hostile, usize::MAX);
        assert!(
            !shown
                .chars()
                .any(|c| c.is_control() || hides_or_reorders(c))
        );
        assert_eq!(
            safe("a\u{1b}[2J\r\nb\u{9b}31m\u{202e}", 99),
            r"a\x1b[2J\r\nb\u{9b}31m\u{202e}"
        );
    }

    #[test]
    fn cut_at_a_character_and_says_so() {
        assert_eq!(safe("äöü", 3), "ä… (6 bytes)");
        assert_eq!(safe("äöü", 6), "äöü");
    }

    #[test]
    fn wraps_and_keeps_every_word() {
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("漢字 漢字", 4), ["漢字", "漢字"]);
        assert_eq!(
            wrap("a /var/lib/kubelet/pods", 12),
            ["a", "/var/lib/", "kubelet/pods"]
        );
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        // A column too narrow for one wide character still ends.
        assert_eq!(wrap("漢字", 1), ["漢", "字"]);
    }

    #[test]
    fn times() {
        assert_eq!(seconds(0), "0.0 s");
        assert_eq!(seconds(59_990), "59.9 s");
        assert_eq!(seconds(185_000), "3 min 05 s");
        assert_eq!(brief_time(999), "999 ms");
        assert_eq!(brief_time(1_200), "1.2 s");
    }
}
