//! `compare`: what has changed from one report to another.

use std::process::ExitCode;

use csi_harness::report::{compare as between, json};

use super::args::CompareArgs;
use super::screen::say;
use crate::wrong::Wrong;

/// Tells it as Markdown.
pub(super) fn compare(args: &CompareArgs) -> Result<ExitCode, Wrong> {
    let old = json::read(&args.old).map_err(Wrong::from)?;
    let new = json::read(&args.new).map_err(Wrong::from)?;
    let comparison = between::compare(&old, &new);
    say(&comparison.markdown());
    Ok(comparison.exit_code().into())
}
