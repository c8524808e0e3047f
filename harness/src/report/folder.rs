//! A report's folder: `report.json`, and everything that is made from it.

use std::path::{Path, PathBuf};

use super::json::{self, WriteError};
use super::{Report, badge, events, html, junit, markdown};

/// The files beside `report.json`, in the order of writing.
pub const FILES: [&str; 5] = [
    "junit.xml",
    "summary.md",
    "badge.json",
    events::FILE_NAME,
    "report.html",
];

/// Writes `report.json` and all else, and returns the path of `report.json`.
///
/// # Errors
/// A file cannot be written; those before it are.
pub fn write(dir: &Path, report: &Report) -> Result<PathBuf, WriteError> {
    let path = json::write(dir, report)?;
    // Those that are there are of an earlier run.
    json::put(dir, events::FILE_NAME, events::of_report(report).as_bytes())?;
    derive(dir, report)?;
    Ok(path)
}

/// Writes what is made from a report. The events of a run are left as they were
/// written while it ran, where they are there.
///
/// # Errors
/// As [`write()`].
pub fn derive(dir: &Path, report: &Report) -> Result<(), WriteError> {
    let junit = junit(report).map_err(|why| WriteError::Form {
        format: "junit.xml",
        why,
    })?;
    let html = html(report).map_err(|why| WriteError::Form {
        format: "report.html",
        why,
    })?;
    for (name, text) in [
        ("junit.xml", junit),
        ("summary.md", markdown(report)),
        ("badge.json", badge(report)),
        ("report.html", html),
    ] {
        json::put(dir, name, text.as_bytes())?;
    }
    if !dir.join(events::FILE_NAME).exists() {
        json::put(dir, events::FILE_NAME, events::of_report(report).as_bytes())?;
    }
    Ok(())
}
