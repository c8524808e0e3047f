//! What do people and machines read?
//!
//! The engine is a stream of [`Event`]s; everything that is shown or written is
//! a view of it.

mod event;
mod model;

pub use event::Event;
pub use model::{DriverInfo, HostInfo, Report, Scope, SuiteInfo, Totals, Verdict};
