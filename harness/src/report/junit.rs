//! `junit.xml`: one test case a check, for whatever reads JUnit.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report as Xml, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use super::finding::{self, FindingContext};
use super::service::Service;
use super::style;
use super::summary::quoted;
use super::text::safe;
use crate::check::{Lacking, Outcome, Settled};

/// The most bytes of a message.
const MAX_MESSAGE: usize = 600;

/// The content of `junit.xml`: a suite for each service, sorted.
///
/// # Errors
/// It cannot be put into XML: why.
pub fn junit(report: &Report) -> Result<String, String> {
    let mut xml = Xml::new("csi-conformance");
    xml.set_time(Duration::from_millis(report.duration_ms));
    for service in Service::ALL {
        let mut of: Vec<&Settled> = report
            .checks
            .iter()
            .filter(|check| Service::of(&check.id) == service)
            .collect();
        of.sort_by(|a, b| a.id.cmp(&b.id));
        if of.is_empty() {
            continue;
        }
        let mut suite = TestSuite::new(service.to_string());
        let spent = of.iter().map(|check| check.duration_ms).sum();
        suite.set_time(Duration::from_millis(spent));
        for (name, value) in [
            ("driver", &report.driver.name),
            ("driver_version", &report.driver.version),
            ("verdict", &report.verdict.to_string()),
        ] {
            suite.add_property(Property::new(name, safe(value, MAX_MESSAGE)));
        }
        suite.add_test_cases(of.into_iter().map(|check| case(report, check)));
        xml.add_test_suite(suite);
    }
    xml.to_string().map_err(|error| error.to_string())
}

fn case(report: &Report, check: &Settled) -> TestCase {
    let mut case = TestCase::new(check.id.as_str(), status(report, check));
    // What stands before the first dot is an RPC or a story.
    let group = check.id.split('.').next().unwrap_or(&check.id);
    case.set_classname(format!("csi-conformance.{group}"));
    case.set_time(Duration::from_millis(check.duration_ms));
    let (outcome, _) = style::outcome(check.outcome);
    let (level, basis) = finding::strength_words(check.level, check.basis);
    for (name, value) in [
        ("headline", check.headline.as_str()),
        ("outcome", outcome),
        ("level", level),
        ("basis", basis),
    ] {
        case.add_property(Property::new(name, value));
    }
    for clause in &check.clauses {
        case.add_property(Property::new("clause", clause.id.as_str()));
        case.add_property(Property::new("clause_url", clause.url.as_str()));
    }
    for seen in &check.seen_in {
        case.add_property(Property::new("seen_in", seen.url.as_str()));
    }
    if check.outcome == Outcome::Warn {
        case.set_system_out(in_full(report, check));
    }
    case
}

/// A SHOULD that is broken is no failure to a CI; its case is a success that says
/// so. What is unknown is no success.
fn status(report: &Report, check: &Settled) -> TestCaseStatus {
    let message = safe(&check.message, MAX_MESSAGE);
    let mut status = match check.outcome {
        Outcome::Pass | Outcome::Warn => return TestCaseStatus::success(),
        Outcome::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::Unknown | Outcome::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        Outcome::Skip | Outcome::Blocked | Outcome::ExpectedFail => TestCaseStatus::skipped(),
    };
    match check.outcome {
        Outcome::Skip => status.set_message(reason_of_skip(check)),
        Outcome::Blocked => {
            let by = check.blocked_by.as_deref().unwrap_or("an earlier failure");
            let message = format!("blocked by {}: {message}", safe(by, MAX_MESSAGE));
            status.set_type("blocked").set_message(message)
        }
        Outcome::ExpectedFail => {
            let reason = check.expected.as_deref().unwrap_or_default();
            let reason = safe(reason, MAX_MESSAGE);
            let message = format!("fails as expected ({reason}): {message}");
            status.set_type("expected-fail").set_message(message)
        }
        _ => {
            let (word, _) = style::outcome(check.outcome);
            let (level, _) = finding::strength_words(check.level, check.basis);
            status
                .set_type(format!("{word} {level}"))
                .set_message(message)
                .set_description(in_full(report, check))
        }
    };
    status
}

fn reason_of_skip(check: &Settled) -> String {
    let Some(skip) = &check.skip else {
        return "(no reason given)".to_owned();
    };
    let who = match skip.lacking {
        Lacking::Driver => "not offered by the driver",
        Lacking::Host => "not possible on this host",
        Lacking::User => "not allowed or not configured",
    };
    format!("{who}: {}", safe(&skip.need, MAX_MESSAGE))
}

/// The finding as on the console, without colours.
pub(super) fn in_full(report: &Report, check: &Settled) -> String {
    let rerun = match report.rerun.as_str() {
        "" => format!("csi-conformance run --exact {}", quoted(&check.id)),
        again => format!("{again} {}", quoted(&check.id)),
    };
    let context = FindingContext {
        rerun,
        evidence_dir: None,
        also: Vec::new(),
        width: 100,
    };
    let painted = finding::render(check, &context);
    anstream::adapter::strip_str(&painted).to_string()
}
