//! What was wrong with what the user said.

use std::fmt;
use std::path::PathBuf;

/// Why there is no configuration. Each prints as one block, a line for each
/// mistake, and none of them repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that somebody named is not there.
    #[error("{}: no such file (named by {by})", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
        /// Who named it: `--config` or an environment variable.
        by: &'static str,
    },
    /// A file of nearly the right name lies in the working directory, where it
    /// would be passed over in silence.
    #[error("{}: would not be read; the file's name is {right} (or name it with --config)", found.display())]
    Misnamed {
        /// The file that is there.
        found: PathBuf,
        /// The name that it should have.
        right: &'static str,
    },
    /// The file is there and cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// An environment variable cannot be understood.
    #[error("{variable} (environment): {message}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The content is wrong: all that was found, in the file's order.
    #[error("{}", one_block(.0))]
    Mistakes(Vec<Mistake>),
}

/// One thing wrong with the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named; none where the configuration was put together
    /// in memory or came from the environment or the command line.
    pub file: Option<PathBuf>,
    /// Where in the file.
    pub place: Option<Place>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A place in a text file; both count from 1, and columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The place of a byte of `text`.
    pub(super) fn of_byte(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        Self {
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..])
                .chars()
                .count()
                + 1,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.place) {
            (Some(file), Some(at)) => write!(f, "{}:{}:{}: ", file.display(), at.line, at.column)?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, _) => f.write_str("configuration: ")?,
        }
        // Keys and values of the file stand in it, and may hold anything.
        self.message.chars().try_for_each(|c| match c.is_control() {
            true => write!(f, "{}", c.escape_default()),
            false => write!(f, "{c}"),
        })
    }
}

fn one_block(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    lines.join("\n")
}

/// Why a word, a size, a duration, an endpoint or a template cannot be
/// understood: one sentence that says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(super) String);

impl ParseError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
