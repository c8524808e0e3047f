//! What has changed from one report to another.

use crate::fixtures::{check, report};
use csi_harness::check::{Outcome, Settled};
use csi_harness::report::compare::compare;

#[test]
fn the_same_twice_is_no_change() {
    let report = report();
    let same = compare(&report, &report);
    assert_eq!(same.exit_code(), 0);
    assert!(same.markdown().starts_with("# Nothing has changed\n"));
}

#[test]
fn every_kind_of_change() {
    let old = report();
    let mut new = report();
    for check in &mut new.checks {
        match check.id.as_str() {
            // Fixed.
            "node-publish.target-is-mounted" => check.outcome = Outcome::Pass,
            // Graver than it was.
            "node-stats.total[block]" => check.outcome = Outcome::Fail,
            // Not asked any more.
            "identity.probe" => check.outcome = Outcome::Blocked,
            "identity.name" => check.duration_ms = 4_000,
            // As it fails still, so it is no change.
            "node-stage.file-system[xfs]" => check.message = "In other words.".to_owned(),
            _ => {}
        }
    }
    new.checks.retain(|check| check.id != "node-info.topology");
    let found = check(
        "node-publish.new",
        Outcome::Warn,
        "A new one, with `*marks*`.",
    );
    new.checks.push(found);
    new.driver.version = "1.3.0".to_owned();
    let changes = compare(&old, &new);
    insta::assert_snapshot!(changes.markdown());
    assert_eq!(changes.exit_code(), 1);
}

#[test]
fn less_that_is_checked_is_told_by_the_exit_code() {
    let old = report();
    let mut new = report();
    for check in &mut new.checks {
        if check.outcome == Outcome::Pass {
            *check = Settled {
                blocked_by: Some("identity.version".to_owned()),
                ..check.clone()
            };
            check.outcome = Outcome::Blocked;
        }
    }
    assert_eq!(compare(&old, &new).exit_code(), 2);
    assert_eq!(compare(&new, &old).exit_code(), 0);
    // A known failure is nothing new.
    new.checks.clear();
    assert_eq!(compare(&new, &new).exit_code(), 0);
}
