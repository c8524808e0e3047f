//! `report`: everything else from a report.json.

use std::process::ExitCode;

use csi_harness::report::{folder, json};

use super::args::ReportArgs;
use super::screen::say;
use crate::wrong::Wrong;

/// Writes it beside the report.
pub(super) fn report(args: &ReportArgs) -> Result<ExitCode, Wrong> {
    let report = json::read(&args.dir).map_err(Wrong::from)?;
    let dir = match args.dir.is_dir() {
        true => args.dir.as_path(),
        false => args.dir.parent().unwrap_or(&args.dir),
    };
    folder::derive(dir, &report).map_err(Wrong::from)?;
    for name in folder::FILES {
        say(&format!("{}\n", dir.join(name).display()));
    }
    Ok(ExitCode::SUCCESS)
}
