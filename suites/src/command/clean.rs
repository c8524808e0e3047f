//! `clean`: what killed runs left.

use std::process::ExitCode;

use csi_harness::lab::{leftovers, state_base};
use csi_harness::node::Host;

use super::args::CleanArgs;
use super::screen::say;
use crate::root;
use crate::wrong::Wrong;

/// Removes it, by identity, and tells of each thing.
pub(super) fn clean(args: &CleanArgs) -> Result<ExitCode, Wrong> {
    let base = state_base();
    root::required(&Host::look())?;
    let found = leftovers(&base).map_err(Wrong::from)?;
    if found.is_empty() {
        say(&format!(
            "nothing is left of killed runs below {}\n",
            base.display()
        ));
    }
    for leftover in found {
        if args.list {
            say(&format!("{}\n", leftover.journal().display()));
            continue;
        }
        say(&format!("the run of {}\n", leftover.journal().display()));
        for line in leftover.clean().map_err(Wrong::from)? {
            say(&format!("  {} {}: {}\n", line.what, line.object, line.then));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes away what this process's own run had made; it holds its journal no
/// more. Only what could not be removed is told of.
pub(super) fn after_signal() {
    use csi_harness::lab::Then;
    for leftover in leftovers(&state_base()).unwrap_or_default() {
        for line in leftover.clean().unwrap_or_default() {
            if !matches!(line.then, Then::Removed | Then::Detached) {
                eprintln!("{} {}: {}", line.what, line.object, line.then);
            }
        }
    }
}
