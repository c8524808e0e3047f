//! What do people and machines read?
//!
//! The engine is a stream of [`Event`]s; everything that is shown or written is
//! a view of it.

mod console;
mod event;
pub mod finding;
pub mod json;
mod model;
mod scrub;
mod style;
mod summary;
mod table;
pub mod terminal;
mod text;
mod verdict;

pub use console::{Console, ConsoleOptions};
pub use event::Event;
pub use model::{DriverInfo, HostInfo, Report, Scope, SuiteInfo, Totals, Verdict};
pub use scrub::{MASK, Scrubber};
pub use summary::{Ways, summary};
pub use table::table;
pub use text::safe;
pub use verdict::{Skips, exit_code};
