//! The layout of a finding: a column of labels, and text that hangs beside it.
//!
//! All text is made safe for a terminal here, whoever wrote it: a report that
//! is read from a file may hold anything anywhere.

use crate::report::style::{Role, paint};
use crate::report::text::{columns, safe, wrap};

/// Everything below the header is indented by this.
const MARGIN: usize = 2;

/// Where the text beside the labels begins.
const TEXT: usize = 13;

/// Where what belongs to that text begins.
const UNDER: usize = TEXT + 2;

/// No column of text is made narrower than this, however narrow the terminal.
const NARROWEST: usize = 20;

/// A finding being written.
pub(super) struct Page {
    out: String,
    width: usize,
}

impl Page {
    pub(super) fn new(width: usize) -> Self {
        let out = String::new();
        Self { out, width }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The columns that are left from `indent` on.
    fn room(&self, indent: usize) -> usize {
        self.width.saturating_sub(indent).max(NARROWEST)
    }

    /// One line as it is.
    pub(super) fn raw(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// An empty line, but never two.
    pub(super) fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// What was found: the sentence to read first.
    pub(super) fn paragraph(&mut self, text: &str) {
        for line in wrap(&tame(text), self.room(MARGIN)) {
            self.raw(&format!("{:MARGIN$}{}", "", paint(Role::Strong, &line)));
        }
        self.gap();
    }

    /// A line of its own, e.g. the path whose mounts follow.
    pub(super) fn title(&mut self, label: &str, rest: &str) {
        self.raw(&format!(
            "{:MARGIN$}{} {rest}",
            "",
            paint(Role::Label, label)
        ));
    }

    /// A label, and text that hangs beside it.
    pub(super) fn row(&mut self, label: &str, text: &str) {
        self.hang(MARGIN, TEXT, label, text);
    }

    /// A label, and text that is never wrapped: a command or a path to copy.
    pub(super) fn line(&mut self, label: &str, text: &str) {
        let start = label_cell(MARGIN, TEXT, label);
        self.raw(&format!("{start}{}", tame(text)));
    }

    /// Text that belongs to the row before.
    pub(super) fn under(&mut self, text: &str) {
        for line in wrap(&tame(text), self.room(UNDER)) {
            self.raw(&format!("{:UNDER$}{line}", ""));
        }
    }

    /// The same, never wrapped.
    pub(super) fn under_unwrapped(&mut self, text: &str) {
        self.raw(&format!("{:UNDER$}{}", "", paint(Role::Faint, &tame(text))));
    }

    /// A field that belongs to the row before; `names` is the width of the
    /// widest name among its neighbours.
    pub(super) fn field(&mut self, name: &str, names: usize, value: &str) {
        self.hang(UNDER, UNDER + names + 2, name, value);
    }

    /// One line of a list of looks: when, what was seen, and (flush right, or
    /// below) what was expected instead. Text that is too long goes on below,
    /// two columns further in, each of `pieces` on a line of its own.
    pub(super) fn look(&mut self, when: &str, whens: usize, pieces: &[&str], note: Option<&str>) {
        let from = MARGIN + 2;
        let indent = from + whens + 2;
        let whole = pieces.join(" ");
        let lines = if columns(&whole) <= self.room(indent) {
            vec![whole]
        } else {
            let room = self.room(indent + 2);
            let mut lines: Vec<String> = pieces.iter().flat_map(|p| wrap(p, room)).collect();
            for line in lines.iter_mut().skip(1) {
                line.insert_str(0, "  ");
            }
            lines
        };
        for (i, line) in lines.iter().enumerate() {
            let start = label_cell(from, indent, if i == 0 { when } else { "" });
            let used = indent + columns(line);
            match note.filter(|_| i + 1 == lines.len()) {
                None => self.raw(&format!("{start}{line}")),
                Some(note) => self.noted(&format!("{start}{line}"), used, indent, note),
            }
        }
    }

    /// A line with a note flush right, or below it where both do not fit.
    fn noted(&mut self, line: &str, used: usize, indent: usize, note: &str) {
        let note = format!("<- {note}");
        match self.width.checked_sub(used + 2 + columns(&note)) {
            Some(free) => {
                let space = " ".repeat(free + 2);
                self.raw(&format!("{line}{space}{}", paint(Role::Warn, &note)));
            }
            None => {
                self.raw(line);
                for (i, part) in wrap(&note, self.room(indent + 2)).iter().enumerate() {
                    let indent = if i == 0 { indent + 2 } else { indent + 5 };
                    self.raw(&format!("{:indent$}{}", "", paint(Role::Warn, part)));
                }
            }
        }
    }

    /// `label` at column `from`, `text` wrapped at column `at`; a label that
    /// leaves no space before the text has a line of its own.
    fn hang(&mut self, from: usize, at: usize, label: &str, text: &str) {
        let mut start = label_cell(from, at, label);
        if from + columns(label) >= at {
            self.raw(&format!("{:from$}{}", "", paint(Role::Label, label)));
            start = " ".repeat(at);
        }
        for line in wrap(&tame(text), self.room(at)) {
            self.raw(format!("{start}{line}").trim_end());
            start = " ".repeat(at);
        }
    }

    /// The whole finding.
    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// Safe for a terminal, at its whole length.
fn tame(text: &str) -> String {
    safe(text, usize::MAX)
}

/// `label` at column `from`, filled up with space to column `at`.
fn label_cell(from: usize, at: usize, label: &str) -> String {
    let fill = " ".repeat(at.saturating_sub(from + columns(label)));
    format!("{:from$}{}{fill}", "", paint(Role::Label, label))
}
