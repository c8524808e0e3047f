//! What do people and machines read?
//!
//! The engine is a stream of [`Event`]s; everything that is shown or written is
//! a view of it.

mod badge;
pub mod compare;
mod console;
mod event;
pub mod events;
pub mod finding;
pub mod folder;
mod html;
pub mod json;
mod junit;
mod markdown;
mod model;
mod scrub;
mod service;
mod style;
mod summary;
mod table;
pub mod terminal;
mod text;
mod verdict;

pub use badge::badge;
pub use console::{Console, ConsoleOptions};
pub use event::Event;
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use model::{DriverInfo, HostInfo, Report, Scope, SuiteInfo, Totals, Verdict};
pub use scrub::{MASK, Scrubber};
pub use summary::{Ways, summary};
pub use table::table;
pub use text::safe;
pub use verdict::{Skips, exit_code};
