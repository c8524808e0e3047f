//! `list`: the checks.

use std::process::ExitCode;

use csi_harness::check::{Basis, Check, Level};
use csi_harness::report::table;
use serde_json::json;

use super::args::ListArgs;
use super::screen::{say, width};
use crate::wrong::Wrong;
use crate::{names, suite};

/// Lists the checks that the filters ask for.
pub(super) fn list(args: &ListArgs) -> Result<ExitCode, Wrong> {
    let checks = suite::checks();
    for filter in &args.filters {
        if !checks
            .iter()
            .any(|check| check.id.contains(filter.as_str()))
        {
            return Err(names::unknown(checks, filter));
        }
    }
    let wanted = |check: &&&'static Check| {
        args.filters.is_empty() || args.filters.iter().any(|f| check.id.contains(f.as_str()))
    };
    let checks: Vec<_> = checks.iter().filter(wanted).copied().collect();
    match args.json {
        true => {
            let all: Vec<_> = checks.iter().map(|check| as_json(check)).collect();
            say(&format!("{:#}\n", serde_json::Value::from(all)));
        }
        false => say(&as_text(&checks, width())),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(checks: &[&'static Check], width: usize) -> String {
    let mut text = String::new();
    for check in checks {
        let (level, basis) = check.strength();
        text += &format!("{}  {}\n", check.id, strength(level, basis));
        let clauses: Vec<_> = check.clauses.iter().map(|clause| clause.id).collect();
        let rows = [
            check.headline(),
            format!("needs {}; clause {}", check.needs, clauses.join(", ")),
        ];
        text += &table(&rows.map(|row| vec!["  ".to_owned(), row]), width);
    }
    text + &format!(
        "{} checks; `csi-conformance explain ID` tells all of one\n",
        checks.len()
    )
}

/// `MUST`, and who asks it where that is not the specification.
pub(super) fn strength(level: Level, basis: Basis) -> String {
    let level = match level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
    };
    match basis {
        Basis::Specification => level.to_owned(),
        Basis::Kubernetes => format!("{level} (kubernetes)"),
        Basis::Integrity => format!("{level} (integrity)"),
    }
}

fn as_json(check: &Check) -> serde_json::Value {
    let (level, basis) = check.strength();
    let axes: Vec<_> = check.axes.iter().map(|axis| format!("{axis:?}")).collect();
    let owns: Vec<_> = check.owns.iter().map(ToString::to_string).collect();
    json!({
        "id": check.id,
        "headline": check.headline(),
        "doc": check.doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim(),
        "level": level,
        "basis": basis,
        "needs": check.needs.to_string(),
        "phase": format!("{:?}", check.phase).to_lowercase(),
        "axes": axes,
        "owns": owns,
        "clauses": check.clause_refs(),
        "seen_in": check.bugs(),
        "look_at": check.look_at,
        "volumes": check.volumes,
        "calls": check.calls,
    })
}
