//! Colours, by what they say. All rendering is made with them, and the writer
//! (anstream) takes them out where nobody would see them.

use crate::check::Outcome;
use crate::report::Verdict;
use owo_colors::{OwoColorize as _, Style};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Good news.
    Good,
    /// To be looked at.
    Warn,
    /// Broken.
    Bad,
    /// We could not tell.
    Doubt,
    /// What a reader should see first.
    Strong,
    /// The name of what stands beside it.
    Label,
    /// What is there for completeness.
    Faint,
}

/// The text in the colour of its role, ended by a reset.
pub(super) fn paint(role: Role, text: &str) -> String {
    let style = match role {
        Role::Good => Style::new().green(),
        Role::Warn => Style::new().yellow().bold(),
        Role::Bad => Style::new().red().bold(),
        Role::Doubt => Style::new().magenta().bold(),
        Role::Strong => Style::new().bold(),
        Role::Label => Style::new().cyan(),
        Role::Faint => Style::new().dimmed(),
    };
    if text.is_empty() {
        String::new()
    } else {
        text.style(style).to_string()
    }
}

/// The word for an outcome, and its role.
pub(super) fn outcome(outcome: Outcome) -> (&'static str, Role) {
    match outcome {
        Outcome::Pass => ("pass", Role::Good),
        Outcome::Warn => ("warn", Role::Warn),
        Outcome::Fail => ("fail", Role::Bad),
        Outcome::Skip => ("skip", Role::Faint),
        Outcome::Blocked => ("blocked", Role::Faint),
        Outcome::ExpectedFail => ("expected fail", Role::Warn),
        Outcome::Unknown => ("unknown", Role::Doubt),
        Outcome::Error => ("error", Role::Doubt),
    }
}

/// The role of a verdict.
pub(super) fn verdict(verdict: Verdict) -> Role {
    match verdict {
        Verdict::Conformant => Role::Good,
        Verdict::Partial => Role::Warn,
        Verdict::Unknown => Role::Doubt,
        Verdict::Nonconformant => Role::Bad,
    }
}
