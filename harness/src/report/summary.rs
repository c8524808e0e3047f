//! The end of a run for a person. People look at the bottom first, so what
//! matters most stands last: what was not checked, what was left behind, the
//! warnings, the findings, and one line that says it all.

use super::finding::{self, FindingContext};
use super::style::{self, Role, paint};
use super::text::{columns, count, safe, seconds, wrap};
use super::{Report, Skips};
use crate::check::{Lacking, Outcome, Settled};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The most bytes shown of one need, reason or object.
const MAX_TEXT: usize = 300;

/// The most leftovers shown; report.json has all.
const MAX_LEFTOVERS: usize = 12;

/// What the console says beyond the report.
#[derive(Debug, Clone)]
pub struct Ways {
    /// The command that runs one check again; its id is put behind it, quoted
    /// for a shell where it needs that.
    pub rerun: String,
    /// The folder that holds a folder of evidence for each check, if any.
    pub evidence: Option<PathBuf>,
    /// Where report.json was written, if it was.
    pub report: Option<PathBuf>,
}

impl Ways {
    fn context(&self, id: &str, width: usize) -> FindingContext {
        FindingContext {
            rerun: format!("{} {}", self.rerun, quoted(id)),
            evidence_dir: self
                .evidence
                .as_ref()
                .map(|dir| dir.join(id).display().to_string()),
            also: Vec::new(),
            width,
        }
    }
}

/// The id as a shell takes it: the brackets of a case are a pattern to a shell.
pub(super) fn quoted(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:/=".contains(&b);
    if id.bytes().all(plain) {
        id.to_owned()
    } else {
        format!("'{}'", safe(id, usize::MAX).replace('\'', r"'\''"))
    }
}

/// The end of a run, with its colours (anstream takes them out), wrapped at
/// `width` columns.
pub fn summary(report: &Report, ways: &Ways, width: usize) -> String {
    let mut parts = vec![
        not_checked(report, width),
        blocked(report, width),
        expected(report, width),
        left_behind(report, width),
    ];
    // Findings in the order of growing weight, each outcome sorted by id.
    for outcome in [
        Outcome::Warn,
        Outcome::Unknown,
        Outcome::Error,
        Outcome::Fail,
    ] {
        let all: Vec<&Settled> = of(report, outcome).collect();
        // The cases of one check mostly fail alike: one is told in full.
        for cases in all.chunk_by(|a, b| base(&a.id) == base(&b.id)) {
            let Some((first, others)) = cases.split_first() else {
                continue;
            };
            let mut context = ways.context(&first.id, width);
            context.also = others.iter().map(|check| check.id.clone()).collect();
            parts.push(finding::render(first, &context));
        }
    }
    parts.push(closing(report, ways, width));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

/// The id of a check without its case.
pub(super) fn base(id: &str) -> &str {
    id.split('[').next().unwrap_or(id)
}

pub(super) fn of(report: &Report, outcome: Outcome) -> impl Iterator<Item = &Settled> {
    let mut checks: Vec<&Settled> = report
        .checks
        .iter()
        .filter(|check| check.outcome == outcome)
        .collect();
    checks.sort_by(|a, b| a.id.cmp(&b.id));
    checks.into_iter()
}

/// A title, and lines that hang below it.
struct Section {
    out: String,
    width: usize,
}

impl Section {
    fn new(title: &str, width: usize) -> Self {
        let out = format!("{}\n", paint(Role::Strong, title));
        Self { out, width }
    }

    /// A line below the title, and what hangs below that line.
    fn item(&mut self, text: &str) {
        for (i, line) in wrap(text, self.width.saturating_sub(4)).iter().enumerate() {
            let indent = if i == 0 { 2 } else { 4 };
            self.out.push_str(&format!("{:indent$}{line}\n", ""));
        }
    }

    /// What to do about it.
    fn hint(&mut self, text: &str) {
        for line in wrap(text, self.width.saturating_sub(2)) {
            self.out
                .push_str(&format!("  {}\n", paint(Role::Faint, &line)));
        }
    }
}

/// The skipped checks by who lacks what. What a driver does not offer is no
/// fault and takes one paragraph; what the host and the user could give is told
/// need by need.
fn not_checked(report: &Report, width: usize) -> String {
    let mut parts = Vec::new();
    for (lacking, title, hint) in [
        (Lacking::Driver, "not offered by the driver", ""),
        (
            Lacking::Host,
            "not possible on this host",
            "`csi-conformance doctor` says what this host can do, and what to install",
        ),
        (
            Lacking::User,
            "not allowed or not configured",
            "allow or configure it in csi-conformance.yaml",
        ),
    ] {
        let mut needs: BTreeMap<String, usize> = BTreeMap::new();
        for check in of(report, Outcome::Skip) {
            match &check.skip {
                Some(skip) if skip.lacking == lacking => {
                    *needs.entry(safe(&skip.need, MAX_TEXT)).or_default() += 1;
                }
                None if lacking == Lacking::Host => {
                    *needs.entry("(no reason given)".to_owned()).or_default() += 1;
                }
                _ => {}
            }
        }
        let all: usize = needs.values().sum();
        if all == 0 {
            continue;
        }
        let mut section = Section::new(&format!("{title}: {}", count(all, "check")), width);
        if lacking == Lacking::Driver {
            let needs: Vec<String> = needs
                .iter()
                .map(|(need, n)| format!("{need} ({n})"))
                .collect();
            section.item(&needs.join(", "));
        } else {
            for (need, n) in &needs {
                section.item(&format!("{need}: {}", count(*n, "check")));
            }
            section.hint(hint);
        }
        parts.push(section.out);
    }
    parts.join("\n")
}

/// How many checks each finding kept from being made.
fn blocked(report: &Report, width: usize) -> String {
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for check in of(report, Outcome::Blocked) {
        let by_whom = match &check.blocked_by {
            Some(id) => safe(id, MAX_TEXT),
            None if check.message.is_empty() => "an earlier failure".to_owned(),
            None => safe(&check.message, MAX_TEXT),
        };
        *by.entry(by_whom).or_default() += 1;
    }
    let all: usize = by.values().sum();
    if all == 0 {
        return String::new();
    }
    let mut section = Section::new(&format!("blocked: {}", count(all, "check")), width);
    for (finding, n) in &by {
        section.item(&format!("blocked by {finding}: {}", count(*n, "check")));
    }
    section.out
}

fn expected(report: &Report, width: usize) -> String {
    let checks: Vec<&Settled> = of(report, Outcome::ExpectedFail).collect();
    if checks.is_empty() {
        return String::new();
    }
    let title = format!("failed as expected: {}", count(checks.len(), "check"));
    let mut section = Section::new(&title, width);
    for check in checks {
        let reason = check.expected.as_deref().unwrap_or(&check.message);
        let (id, reason) = (safe(&check.id, MAX_TEXT), safe(reason, MAX_TEXT));
        section.item(&format!("{id}: {reason}"));
    }
    section.out
}

fn left_behind(report: &Report, width: usize) -> String {
    if report.ledger.is_empty() {
        return String::new();
    }
    let title = format!(
        "left behind by the driver: {}",
        count(report.ledger.len(), "thing")
    );
    let mut section = Section::new(&title, width);
    for entry in report.ledger.iter().take(MAX_LEFTOVERS) {
        let object = safe(&entry.object, MAX_TEXT);
        let then = safe(&entry.then, MAX_TEXT);
        let (what, check) = (safe(&entry.what, MAX_TEXT), safe(&entry.check, MAX_TEXT));
        section.item(&format!("{what} {object} ({check}): {then}"));
    }
    if let Some(more @ 1..) = report.ledger.len().checked_sub(MAX_LEFTOVERS) {
        section.hint(&format!("{more} more in report.json"));
    }
    section.out
}

/// `187 of 203 checks ran: 184 pass, 1 fail, 2 warn; 16 not offered. nonconformant`
fn closing(report: &Report, ways: &Ways, width: usize) -> String {
    let totals = &report.totals;
    let skips = Skips::of(&report.checks);
    let ran = [
        (totals.pass, "pass", Role::Good),
        (totals.fail, "fail", Role::Bad),
        (totals.warn, "warn", Role::Warn),
        (totals.expected_fail, "failed as expected", Role::Warn),
        (totals.unknown, "unknown", Role::Doubt),
        (totals.error, "error", Role::Doubt),
    ];
    let not = [
        (skips.driver, "not offered", Role::Faint),
        (skips.host, "not possible here", Role::Warn),
        (skips.user, "not allowed or configured", Role::Warn),
        (totals.blocked, "blocked", Role::Warn),
    ];
    let filtered = report
        .scope
        .checks_in_suite
        .saturating_sub(report.scope.selected);
    let mut tokens = vec![(
        format!("{} of {} ran", totals.ran(), count(totals.all(), "check")),
        Role::Strong,
    )];
    let mut add = |before: &str, group: &[(usize, &str, Role)]| {
        let mut before = before.to_owned();
        for (n, what, role) in group.iter().filter(|(n, _, _)| *n > 0) {
            if let Some((last, _)) = tokens.last_mut() {
                last.push_str(&before);
            }
            tokens.push((format!("{n} {what}"), *role));
            ", ".clone_into(&mut before);
        }
    };
    add(": ", &ran);
    add("; ", &not);
    add("; ", &[(filtered, "left out by a filter", Role::Warn)]);
    if let Some((last, _)) = tokens.last_mut() {
        last.push_str(". ");
    }
    tokens.push((report.verdict.to_string(), style::verdict(report.verdict)));

    let mut out = painted_line(&tokens, width);
    if let Some(path) = &ways.report {
        out.push_str(&format!(
            "report   {}\n",
            safe(&path.display().to_string(), usize::MAX)
        ));
    }
    let took = seconds(report.duration_ms);
    out.push_str(&format!("took     {took}, {}\n", count_calls(report.calls)));
    out
}

fn count_calls(calls: u64) -> String {
    count(usize::try_from(calls).unwrap_or(usize::MAX), "call")
}

/// The tokens one after another, broken between tokens where they do not fit;
/// the punctuation at a token's end stays plain.
fn painted_line(tokens: &[(String, Role)], width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for (token, role) in tokens {
        let words = token.trim_end_matches([' ', ',', ';', ':', '.']);
        if used > 0 && used + columns(token.trim_end()) > width {
            out.truncate(out.trim_end().len());
            out.push_str("\n  ");
            used = 2;
        }
        out.push_str(&paint(*role, words));
        out.push_str(&token[words.len()..]);
        used += columns(token);
    }
    out.push('\n');
    out
}
