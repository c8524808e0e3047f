//! What has changed from one report to another of the same driver?

use std::collections::BTreeMap;

use super::markdown::{code, escaped};
use super::text::{count, seconds};
use super::{Report, Verdict, style};
use crate::check::{Outcome, Settled};

/// Slower is what takes at least this many times as long …
const SLOWER_TIMES: u64 = 2;

/// … and this much longer, in milliseconds: a busy machine is no regression.
const SLOWER_BY_MS: u64 = 1_000;

/// What has changed, each sorted by id.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    old: &'a Report,
    new: &'a Report,
    /// Found now and not before, or found to be graver.
    pub new_findings: Vec<Change<'a>>,
    /// Found before; it holds now.
    pub gone_findings: Vec<Change<'a>>,
    /// Was checked before, and is not any more.
    pub newly_skipped: Vec<Change<'a>>,
    /// Takes much longer than before.
    pub slower: Vec<Change<'a>>,
}

/// A check that has changed. One that a report lacks was left out of its run.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Its id.
    pub id: &'a str,
    /// As it was.
    pub old: Option<&'a Settled>,
    /// As it is.
    pub new: Option<&'a Settled>,
}

/// Compares two reports, check by check.
pub fn compare<'a>(old: &'a Report, new: &'a Report) -> Comparison<'a> {
    let mut all: BTreeMap<&str, (Option<&Settled>, Option<&Settled>)> = BTreeMap::new();
    for check in &old.checks {
        all.entry(&check.id).or_default().0 = Some(check);
    }
    for check in &new.checks {
        all.entry(&check.id).or_default().1 = Some(check);
    }
    let changes: Vec<Change<'_>> = all
        .into_iter()
        .map(|(id, (old, new))| Change { id, old, new })
        .collect();
    let those = |is: fn(&Change<'a>) -> bool| -> Vec<Change<'a>> {
        changes
            .iter()
            .filter(|change| is(change))
            .copied()
            .collect()
    };
    Comparison {
        old,
        new,
        new_findings: those(Change::is_new_finding),
        gone_findings: those(Change::is_gone),
        newly_skipped: those(Change::is_skipped),
        slower: those(Change::is_slower),
    }
}

/// How bad it is; none: its body said nothing.
fn weight(check: Option<&Settled>) -> Option<u8> {
    match check?.outcome {
        Outcome::Pass => Some(0),
        // The user knows of it.
        Outcome::ExpectedFail => Some(1),
        Outcome::Warn => Some(2),
        Outcome::Unknown | Outcome::Error => Some(3),
        Outcome::Fail => Some(4),
        Outcome::Skip | Outcome::Blocked => None,
    }
}

/// From here on it is a finding.
const FINDING: u8 = 2;

impl Change<'_> {
    fn is_new_finding(&self) -> bool {
        let (old, new) = (weight(self.old), weight(self.new));
        new.is_some_and(|new| new >= FINDING) && new > old
    }

    fn is_gone(&self) -> bool {
        let (old, new) = (weight(self.old), weight(self.new));
        old.is_some_and(|old| old >= FINDING) && new.is_some_and(|new| new < FINDING)
    }

    fn is_skipped(&self) -> bool {
        weight(self.old).is_some() && weight(self.new).is_none()
    }

    fn is_slower(&self) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else {
            return false;
        };
        weight(self.old).is_some()
            && weight(self.new).is_some()
            && new.duration_ms >= old.duration_ms.saturating_mul(SLOWER_TIMES)
            && new.duration_ms >= old.duration_ms.saturating_add(SLOWER_BY_MS)
    }
}

impl Comparison<'_> {
    /// The exit code: 0 nothing is worse, 1 there are new findings, 2 less was checked.
    /// That something is slower is told, and no more: machines differ.
    pub fn exit_code(&self) -> u8 {
        match (self.new_findings.is_empty(), self.newly_skipped.is_empty()) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 0,
        }
    }

    /// All of it, as Markdown.
    pub fn markdown(&self) -> String {
        let (old, new) = (self.old, self.new);
        let mut text = format!("# {}\n\n", self.headline());
        text += &format!(
            "| | old | new |\n|---|---|---|\n| driver | {} | {} |\n",
            of(old),
            of(new)
        );
        text += &format!(
            "| suite | {} | {} |\n",
            old.suite.version, new.suite.version
        );
        let verdict = |verdict: Verdict| verdict.to_string();
        text += &format!(
            "| verdict | {} | {} |\n",
            verdict(old.verdict),
            verdict(new.verdict)
        );
        let ran = |report: &Report| format!("{} of {}", report.totals.ran(), report.totals.all());
        text += &format!("| checks that ran | {} | {} |\n", ran(old), ran(new));
        if old.driver.name != new.driver.name {
            text += "\nThese are reports of two drivers.\n";
        }
        text += &list("New findings", &self.new_findings, |change| {
            let was = change
                .old
                .map_or("not run", |old| style::outcome(old.outcome).0);
            let now = change.new.map_or("", |new| style::outcome(new.outcome).0);
            let what = change.new.map_or("", says);
            format!("**{now}** (was {was}): {}", escaped(what))
        });
        text += &list("Gone findings", &self.gone_findings, |change| {
            let what = change.old.map_or("", says);
            format!("no more: {}", escaped(what))
        });
        text += &list("Not checked any more", &self.newly_skipped, |change| {
            let was = change.old.map_or("", |old| style::outcome(old.outcome).0);
            format!("was {was}, now {}", escaped(&why_not(change.new)))
        });
        text += &list("Slower", &self.slower, |change| {
            let time = |check: Option<&Settled>| check.map_or(0, |check| check.duration_ms);
            format!(
                "{}, was {}",
                seconds(time(change.new)),
                seconds(time(change.old))
            )
        });
        text
    }

    fn headline(&self) -> String {
        let parts: Vec<String> = [
            (self.new_findings.len(), "new finding"),
            (self.gone_findings.len(), "gone finding"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| count(n, what))
        .chain(match self.newly_skipped.len() {
            0 => None,
            n => Some(format!("{n} not checked any more")),
        })
        .chain(match self.slower.len() {
            0 => None,
            n => Some(format!("{n} slower")),
        })
        .collect();
        match parts.is_empty() {
            true => "Nothing has changed".to_owned(),
            false => parts.join(", "),
        }
    }
}

fn of(report: &Report) -> String {
    let driver = &report.driver;
    format!("{} {}", code(&driver.name), code(&driver.version))
        .trim_end()
        .to_owned()
}

fn says(check: &Settled) -> &str {
    match check.message.as_str() {
        "" => &check.headline,
        message => message,
    }
}

fn why_not(check: Option<&Settled>) -> String {
    let Some(check) = check else {
        return "left out of the run".to_owned();
    };
    match (&check.skip, &check.blocked_by) {
        (Some(skip), _) => format!("skipped: {}", skip.need),
        (None, Some(by)) => format!("blocked by {by}"),
        (None, None) => style::outcome(check.outcome).0.to_owned(),
    }
}

fn list(title: &str, changes: &[Change<'_>], tell: impl Fn(&Change<'_>) -> String) -> String {
    let mut text = String::new();
    if !changes.is_empty() {
        text += &format!("\n## {title}\n\n");
    }
    for change in changes {
        text += &format!("- {}: {}\n", code(change.id), tell(change));
    }
    text
}
