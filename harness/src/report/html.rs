//! `report.html`: one file that needs nothing else, and can be read without
//! JavaScript.
//!
//! What a driver said is text in here: askama escapes it, and what would hide or
//! reorder letters is shown instead.

mod card;
mod matrix;
mod timeline;

use askama::Template;

use super::service::Service;
use super::summary::of;
use super::text::{count, safe, seconds};
use super::{Report, Verdict, style};
use crate::check::{LedgerEntry, Outcome, Settled};
use card::Card;
use matrix::Matrix;

/// The most bytes shown of one text.
const MAX_TEXT: usize = 4000;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    driver: String,
    version: String,
    endpoint: String,
    verdict_class: &'static str,
    /// How the verdict came about.
    because: String,
    totals: Vec<Chip>,
    scope: Vec<(String, String)>,
    matrix: Matrix,
    findings: Vec<Card>,
    /// What was left: what, which, by which check, and what became of it.
    ledger: Vec<[String; 4]>,
    rows: Vec<Row>,
}

/// How many came to an outcome.
struct Chip {
    class: &'static str,
    word: &'static str,
    count: usize,
}

/// A check in the list of all.
struct Row {
    id: String,
    anchor: String,
    service: String,
    class: &'static str,
    word: &'static str,
    level: &'static str,
    basis: &'static str,
    time: String,
    says: String,
    has_card: bool,
}

/// The content of `report.html`.
///
/// # Errors
/// The template fails: why.
pub fn html(report: &Report) -> Result<String, String> {
    let findings: Vec<&Settled> = [
        Outcome::Fail,
        Outcome::Error,
        Outcome::Unknown,
        Outcome::Warn,
        Outcome::ExpectedFail,
    ]
    .into_iter()
    .flat_map(|outcome| of(report, outcome))
    .collect();
    let mut checks: Vec<&Settled> = report.checks.iter().collect();
    checks.sort_by(|a, b| a.id.cmp(&b.id));
    let page = Page {
        report,
        driver: shown(&report.driver.name),
        version: shown(&report.driver.version),
        endpoint: shown(&report.driver.endpoint),
        verdict_class: match report.verdict {
            Verdict::Conformant => "pass",
            Verdict::Partial => "warn",
            Verdict::Unknown => "unknown",
            Verdict::Nonconformant => "fail",
        },
        because: because(report),
        totals: totals(report),
        scope: scope(report),
        matrix: Matrix::of(&checks),
        findings: findings
            .iter()
            .map(|check| Card::of(report, check))
            .collect(),
        ledger: report.ledger.iter().map(left).collect(),
        rows: checks.iter().map(|check| row(check)).collect(),
    };
    page.render().map_err(|error| error.to_string())
}

fn left(entry: &LedgerEntry) -> [String; 4] {
    [&entry.what, &entry.object, &entry.check, &entry.then].map(|text| shown(text))
}

/// A driver's words, for the eye.
fn shown(text: &str) -> String {
    safe(text, MAX_TEXT)
}

/// The name of a check's place in the page.
fn anchor(id: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    format!("c-{}", id.chars().map(plain).collect::<String>())
}

/// The word of an outcome, and its class in the style sheet.
fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    let (word, _) = style::outcome(outcome);
    let class = match outcome {
        Outcome::Pass => "pass",
        Outcome::Warn => "warn",
        Outcome::Fail => "fail",
        Outcome::Skip | Outcome::Blocked => "skip",
        Outcome::ExpectedFail => "expected",
        Outcome::Unknown | Outcome::Error => "unknown",
    };
    (word, class)
}

fn totals(report: &Report) -> Vec<Chip> {
    let totals = &report.totals;
    let chip = |of: Outcome, count: usize| {
        let (word, class) = outcome(of);
        Chip { class, word, count }
    };
    let mut chips = vec![
        chip(Outcome::Fail, totals.fail),
        chip(Outcome::Error, totals.error),
        chip(Outcome::Unknown, totals.unknown),
        chip(Outcome::Warn, totals.warn),
        chip(Outcome::ExpectedFail, totals.expected_fail),
        chip(Outcome::Pass, totals.pass),
        chip(Outcome::Blocked, totals.blocked),
        chip(Outcome::Skip, totals.skip),
    ];
    chips.retain(|chip| chip.count > 0);
    chips
}

/// Why the verdict is no better.
fn because(report: &Report) -> String {
    let totals = &report.totals;
    let skips = super::Skips::of(&report.checks);
    let filtered = report
        .scope
        .checks_in_suite
        .saturating_sub(report.scope.selected);
    match report.verdict {
        Verdict::Conformant => "all that the driver offers was checked, and holds".to_owned(),
        Verdict::Nonconformant => format!("{} failed", count(totals.fail, "check")),
        Verdict::Unknown => "of some checks nobody can tell what they say".to_owned(),
        Verdict::Partial => {
            let parts = [
                (filtered, "left out by a filter"),
                (totals.blocked, "blocked"),
                (totals.expected_fail, "failed as expected"),
                (skips.host, "not possible on this host"),
                (skips.user, "not allowed or not configured"),
            ];
            let parts: Vec<_> = parts
                .into_iter()
                .filter(|(n, _)| *n > 0)
                .map(|(n, what)| format!("{n} {what}"))
                .collect();
            format!("nothing failed; {}", parts.join(", "))
        }
    }
}

fn scope(report: &Report) -> Vec<(String, String)> {
    let scope = &report.scope;
    let list = |words: &[String]| match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    };
    let mut facts = vec![
        (
            "checks",
            format!(
                "{} of {} ran; the suite has {}",
                report.totals.ran(),
                report.totals.all(),
                scope.checks_in_suite
            ),
        ),
        ("filtered by", list(&scope.filters)),
        ("allowed to hurt", list(&scope.allowed)),
        ("calls", report.calls.to_string()),
        ("took", seconds(report.duration_ms)),
        ("quiet period", seconds(scope.quiet_period_ms)),
        ("mounts watched", scope.mounts_watched.clone()),
        ("driver's namespace", scope.driver_namespace.clone()),
        (
            "host",
            format!("{} {}", report.host.kernel, report.host.arch),
        ),
        (
            "suite",
            format!(
                "csi-conformance {} ({}), CSI {}",
                report.suite.version, report.suite.commit, report.suite.spec
            ),
        ),
    ];
    facts.retain(|(_, value)| !value.trim().is_empty());
    facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), shown(&value)))
        .collect()
}

fn row(check: &Settled) -> Row {
    let (word, class) = outcome(check.outcome);
    let (level, basis) = super::finding::strength_words(check.level, check.basis);
    let says = match (&check.skip, &check.blocked_by) {
        (Some(skip), _) => format!("{:?} lacks: {}", skip.lacking, skip.need).to_lowercase(),
        (None, Some(by)) => format!("blocked by {by}"),
        (None, None) => check.message.clone(),
    };
    Row {
        id: shown(&check.id),
        anchor: anchor(&check.id),
        service: Service::of(&check.id).to_string(),
        class,
        word,
        level,
        basis,
        time: seconds(check.duration_ms),
        says: shown(&says),
        has_card: !matches!(
            check.outcome,
            Outcome::Pass | Outcome::Skip | Outcome::Blocked
        ),
    }
}
