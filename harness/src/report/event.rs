//! What happens during a run, as it happens.

use super::Report;
use crate::check::{CallRecord, Settled};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan is made: checks will run.
    Started {
        /// How many checks (cases counted) will be settled.
        total: usize,
        /// The driver, as it names itself.
        driver: String,
        /// Where it listens.
        endpoint: String,
    },
    /// A check's body begins.
    CheckStarted {
        /// The check's id.
        id: String,
    },
    /// A call was answered, or was not.
    Called(Box<CallRecord>),
    /// A check is settled.
    CheckSettled(Box<Settled>),
    /// Something that a person should know: the driver is started again, a
    /// leftover was removed.
    Note(String),
    /// All is settled.
    Ended(Box<Report>),
}
