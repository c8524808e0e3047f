//! Why a body ended before its last line.

use super::outcome::{Lacking, Skip};
use super::step::{Access, Step};

/// What a check's body returns: `Ok` is a pass.
pub type Checked = Result<(), Stop>;

/// Why a body stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// What the clauses ask does not hold: `fail` for a MUST, `warn` for a
    /// SHOULD.
    Fail(String),
    /// A lesser thing than the clauses ask does not hold: `warn` in any case.
    Warn(String),
    /// Something that the check needs turned out to be missing.
    Lack(Skip),
    /// A step that the check only needed failed; its owner tells of it.
    Blocked {
        /// Which step.
        step: Step,
        /// What happened.
        why: String,
        /// The driver said no, in so many words; it told no lie.
        refused: bool,
    },
    /// A step was refused as it would be if volumes of this access type were not
    /// offered; whether that is so, the runner can tell when more was asked.
    Declined {
        /// The access type.
        access: Access,
        /// The step.
        step: Step,
        /// The refusal.
        why: String,
    },
    /// It could not be told.
    Unknown(String),
    /// Our own fault.
    Ours(String),
}

impl Stop {
    /// A finding.
    pub fn fail(what: impl Into<String>) -> Self {
        Self::Fail(what.into())
    }

    /// The driver does not offer it.
    pub fn not_offered(need: impl Into<String>) -> Self {
        Self::Lack(Skip {
            need: need.into(),
            lacking: Lacking::Driver,
        })
    }

    /// The user has not given it.
    pub fn not_given(need: impl Into<String>) -> Self {
        Self::Lack(Skip {
            need: need.into(),
            lacking: Lacking::User,
        })
    }

    /// This machine cannot do it.
    pub fn no_host(need: impl Into<String>) -> Self {
        Self::Lack(Skip {
            need: need.into(),
            lacking: Lacking::Host,
        })
    }

    /// Where a check asks for something that a driver need not offer, a refusal
    /// of an earlier step says just that.
    #[must_use]
    pub fn if_refused(self, need: &str) -> Self {
        match self {
            Self::Declined { why, .. }
            | Self::Blocked {
                refused: true, why, ..
            } => Self::not_offered(format!("{need} ({why})")),
            other => other,
        }
    }

    /// Where a step has worked before, its failure now is a finding of the check that
    /// changed something in between.
    #[must_use]
    pub fn is_a_finding(self, when: &str) -> Self {
        match self {
            Self::Blocked {
                step: step @ (Step::Alive | Step::Answers | Step::Speaks),
                why,
                refused,
            } => Self::Blocked { step, why, refused },
            Self::Blocked { why, .. } | Self::Declined { why, .. } | Self::Fail(why) => {
                Self::Fail(format!("{when}: {why}"))
            }
            other => other,
        }
    }

    /// Our own fault: what we were doing, and what went wrong.
    pub fn ours(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::Ours(format!("{doing}: {error}"))
    }
}
