//! `badge.json`: the verdict as shields.io shows it (shields.io/badges/endpoint-badge).

use super::{Report, Verdict};
use serde_json::json;

/// The content of `badge.json`.
pub fn badge(report: &Report) -> String {
    let totals = &report.totals;
    let (message, color) = match report.verdict {
        Verdict::Conformant => (
            format!("conformant, {} checks", totals.ran()),
            "brightgreen",
        ),
        Verdict::Partial => (
            format!("partial, {} of {} checks", totals.ran(), totals.all()),
            "yellow",
        ),
        Verdict::Unknown => ("unknown".to_owned(), "lightgrey"),
        Verdict::Nonconformant => (format!("nonconformant, {} failed", totals.fail), "red"),
    };
    let badge = json!({
        "schemaVersion": 1,
        "label": format!("CSI {}", report.suite.spec),
        "message": message,
        "color": color,
    });
    format!("{badge:#}\n")
}
