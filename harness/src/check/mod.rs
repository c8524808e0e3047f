//! What is a check, a clause, a need, an outcome?

mod outcome;

pub use outcome::{
    Basis, CallRecord, Clause, ClauseRef, Evidence, Lacking, LedgerEntry, Level, Outcome, SeenIn,
    Settled, Skip,
};
