//! `summary.md`: short enough for a job summary, and the whole below, folded.

use std::collections::BTreeMap;

use super::finding::strength_words;
use super::junit::in_full;
use super::summary::{base, of};
use super::text::{count, safe, seconds};
use super::{Report, Skips, style};
use crate::check::{Lacking, Outcome, Settled};

/// The most bytes shown of one sentence that may hold a driver's words.
const MAX_SENTENCE: usize = 400;

/// GitHub takes 1 MiB for all steps of a job; findings beyond this are only named.
const MAX_BYTES: usize = 300_000;

/// The most leftovers shown.
const MAX_LEFTOVERS: usize = 8;

/// The content of `summary.md`.
pub fn markdown(report: &Report) -> String {
    let mut text = head(report);
    let findings = findings(report);
    text += &told(report, &findings);
    text += &not_run(report);
    text += &left_behind(report);
    text += &in_full_folded(report, &findings);
    text += &all_folded(report);
    text
}

fn head(report: &Report) -> String {
    let driver = &report.driver;
    let totals = &report.totals;
    let scope = &report.scope;
    let mut text = format!(
        "# CSI conformance: {}\n\n**{}** {} at {}: {} of {} ran",
        report.verdict,
        code(&driver.name),
        code(&driver.version),
        code(&driver.endpoint),
        totals.ran(),
        count(totals.all(), "check"),
    );
    for (n, what) in [
        (totals.pass, "pass"),
        (totals.fail, "fail"),
        (totals.warn, "warn"),
        (totals.expected_fail, "failed as expected"),
        (totals.unknown, "unknown"),
        (totals.error, "error"),
    ] {
        if n > 0 {
            text += &format!(", {n} {what}");
        }
    }
    text += &format!(
        ", {} calls in {}.\n\n",
        report.calls,
        seconds(report.duration_ms)
    );
    let mut facts = vec![format!(
        "csi-conformance {}, CSI {}",
        report.suite.version, report.suite.spec
    )];
    let mut fact = |what: &str, value: String| {
        if !value.is_empty() {
            facts.push(format!("{what} {value}"));
        }
    };
    fact("Linux", escaped(&report.host.kernel));
    fact("allowed:", escaped(&scope.allowed.join(", ")));
    fact("filtered by:", escaped(&scope.filters.join(", ")));
    fact("mounts watched:", escaped(&scope.mounts_watched));
    if scope.quiet_period_ms > 0 {
        fact("quiet period", seconds(scope.quiet_period_ms));
    }
    text + &format!("Scope: {}.\n", facts.join("; "))
}

/// What was found, the gravest first; of the cases of one check the first, with the
/// others.
fn findings(report: &Report) -> Vec<Vec<&Settled>> {
    let mut all = Vec::new();
    for outcome in [
        Outcome::Fail,
        Outcome::Error,
        Outcome::Unknown,
        Outcome::Warn,
    ] {
        let found: Vec<&Settled> = of(report, outcome).collect();
        let groups = found.chunk_by(|a, b| base(&a.id) == base(&b.id));
        all.extend(groups.map(<[&Settled]>::to_vec));
    }
    all
}

fn told(report: &Report, findings: &[Vec<&Settled>]) -> String {
    let mut text = String::new();
    if !findings.is_empty() {
        text += "\n## Findings\n\n";
    }
    for group in findings {
        let Some(first) = group.first() else { continue };
        let (word, _) = style::outcome(first.outcome);
        let (level, basis) = strength_words(first.level, first.basis);
        text += &format!(
            "- **{word}** {} ({level}, {basis}): {}",
            code(&first.id),
            escaped(one_line(first))
        );
        if group.len() > 1 {
            text += &format!("; the same in {}", count(group.len() - 1, "more case"));
        }
        let clause = first
            .clauses
            .first()
            .filter(|clause| !clause.url.is_empty());
        let links = clause
            .map(|clause| link(&clause.section, &clause.url))
            .into_iter()
            .chain(
                first
                    .seen_in
                    .iter()
                    .map(|seen| link(&seen.issue, &seen.url)),
            );
        let links: Vec<_> = links.collect();
        if !links.is_empty() {
            text += &format!(" ({})", links.join(", "));
        }
        text.push('\n');
    }
    let known: Vec<&Settled> = of(report, Outcome::ExpectedFail).collect();
    if !known.is_empty() {
        text += "\n## Failed as expected\n\n";
    }
    for check in known {
        let reason = check.expected.as_deref().unwrap_or(&check.message);
        // The user's own words, with a link to the issue among them.
        let reason = escaped(reason).replace(":\u{200b}//", "://");
        text += &format!("- {}: {reason}\n", code(&check.id));
    }
    text
}

/// The one line that explains it.
fn one_line(check: &Settled) -> &str {
    match check.message.as_str() {
        "" => &check.headline,
        message => message,
    }
}

/// What was not run, and who lacks what.
fn not_run(report: &Report) -> String {
    let mut text = String::new();
    for (lacking, who) in [
        (Lacking::Host, "not possible on this host"),
        (Lacking::User, "not allowed or not configured"),
        (Lacking::Driver, "not offered by the driver"),
    ] {
        let mut needs: BTreeMap<String, usize> = BTreeMap::new();
        for check in of(report, Outcome::Skip) {
            match &check.skip {
                Some(skip) if skip.lacking == lacking => {
                    *needs.entry(escaped(&skip.need)).or_default() += 1;
                }
                None if lacking == Lacking::Host => {
                    *needs.entry("(no reason given)".into()).or_default() += 1;
                }
                _ => {}
            }
        }
        if needs.is_empty() {
            continue;
        }
        let all: usize = needs.values().sum();
        let needs: Vec<_> = needs
            .iter()
            .map(|(need, n)| format!("{need} ({n})"))
            .collect();
        text += &format!("- {who}, {}: {}\n", count(all, "check"), needs.join("; "));
    }
    let blocked: Vec<&Settled> = of(report, Outcome::Blocked).collect();
    if !blocked.is_empty() {
        let mut by: Vec<_> = blocked
            .iter()
            .map(|check| code(check.blocked_by.as_deref().unwrap_or("an earlier failure")))
            .collect();
        by.sort();
        by.dedup();
        text += &format!(
            "- blocked, {}: by {}\n",
            count(blocked.len(), "check"),
            by.join(", ")
        );
    }
    let scope = &report.scope;
    match scope.checks_in_suite.saturating_sub(scope.selected) {
        0 => {}
        filtered => text += &format!("- left out by a filter: {}\n", count(filtered, "check")),
    }
    match text.is_empty() {
        true => text,
        false => format!("\n## Not run\n\n{text}"),
    }
}

fn left_behind(report: &Report) -> String {
    if report.ledger.is_empty() {
        return String::new();
    }
    let mut text = "\n## Left behind by the driver\n\n".to_owned();
    for entry in report.ledger.iter().take(MAX_LEFTOVERS) {
        text += &format!(
            "- {} {} ({}): {}\n",
            escaped(&entry.what),
            code(&entry.object),
            code(&entry.check),
            escaped(&entry.then)
        );
    }
    if let Some(more @ 1..) = report.ledger.len().checked_sub(MAX_LEFTOVERS) {
        text += &format!("- {more} more in report.html and report.json\n");
    }
    text
}

fn in_full_folded(report: &Report, findings: &[Vec<&Settled>]) -> String {
    let mut text = String::new();
    for first in findings.iter().filter_map(|group| group.first()) {
        if text.len() > MAX_BYTES {
            text += "\nThe other findings are in report.html and report.json.\n";
            break;
        }
        let whole = in_full(report, first);
        let fence = fence(&whole, 3);
        text += &format!(
            "\n<details><summary>{}</summary>\n\n{fence}text\n{}\n{fence}\n\n</details>\n",
            html(&first.id),
            whole.trim_end()
        );
    }
    match text.is_empty() {
        true => text,
        false => format!("\n## In full\n{text}"),
    }
}

fn all_folded(report: &Report) -> String {
    let mut text = format!(
        "\n<details><summary>All {}</summary>\n\n| check | outcome | level | time |\n|---|---|---|---|\n",
        count(report.checks.len(), "check")
    );
    let mut checks: Vec<&Settled> = report.checks.iter().collect();
    checks.sort_by(|a, b| a.id.cmp(&b.id));
    for check in checks {
        let (word, _) = style::outcome(check.outcome);
        let (level, _) = strength_words(check.level, check.basis);
        text += &format!(
            "| {} | {word} | {level} | {} |\n",
            code(&check.id),
            seconds(check.duration_ms)
        );
    }
    text + "\n</details>\n\n" + &skips_line(report)
}

fn skips_line(report: &Report) -> String {
    let skips = Skips::of(&report.checks);
    format!(
        "Skipped for want of the driver {}, of the host {}, of the user {}; blocked {}.\n",
        skips.driver, skips.host, skips.user, report.totals.blocked
    )
}

/// Words that mean nothing to Markdown: whatever a driver said stays text.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in safe(text, MAX_SENTENCE).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Nobody shall be notified by what a driver says.
            '@' => out.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    // An address becomes a link by itself.
    out.replace("://", ":\u{200b}//")
}

/// A text in a code span, between more backticks than are in it. A pipe would end
/// the cell of a table.
pub(super) fn code(text: &str) -> String {
    let text = safe(text, MAX_SENTENCE).replace('|', "\\|");
    if text.is_empty() {
        return String::new();
    }
    let fence = fence(&text, 1);
    let pad = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// More backticks than stand in a row anywhere in a text.
fn fence(text: &str, least: usize) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(least.max(longest + 1))
}

fn html(text: &str) -> String {
    let text = safe(text, MAX_SENTENCE);
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Both are the suite's own words.
fn link(text: &str, url: &str) -> String {
    let text = if text.is_empty() { url } else { text };
    let plain = text.replace('[', "\\[").replace(']', "\\]");
    format!("[{plain}]({url})")
}
