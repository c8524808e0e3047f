//! What must hold of a CSI driver: the checks, the command and the test target.

mod builtin;
pub mod checks;
pub mod command;
mod conformance;
mod names;
mod root;
mod shell;
mod spec;
mod suite;
mod trials;
mod wrong;

pub use conformance::{Conformance, test_main, test_main_with};
pub use csi_harness::config::Config;
