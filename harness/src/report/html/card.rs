//! One finding on the page.

use super::timeline::Timeline;
use super::{anchor, outcome, shown};
use crate::check::{CallRecord, ClauseRef, Evidence, SeenIn, Settled};
use crate::report::Report;
use crate::report::finding::strength_words;
use crate::report::summary::quoted;
use crate::report::text::{brief_time, count, seconds};

pub(super) struct Card {
    pub(super) id: String,
    pub(super) anchor: String,
    pub(super) class: &'static str,
    pub(super) word: &'static str,
    pub(super) level: &'static str,
    pub(super) basis: &'static str,
    pub(super) time: String,
    pub(super) message: String,
    pub(super) headline: String,
    pub(super) expected: Option<String>,
    pub(super) timeline: Option<Timeline>,
    pub(super) looks: Vec<Looks>,
    pub(super) facts: Vec<(String, String)>,
    pub(super) calls: Vec<Call>,
    /// `3 calls`.
    pub(super) counted: String,
    pub(super) clauses: Vec<Clause>,
    pub(super) seen_in: Vec<SeenIn>,
    pub(super) look_at: String,
    pub(super) rerun: String,
}

/// What was mounted at one path, look by look.
pub(super) struct Looks {
    pub(super) path: String,
    pub(super) looks: Vec<Look>,
}

pub(super) struct Look {
    pub(super) when: String,
    pub(super) lines: Vec<String>,
    pub(super) expected: Option<String>,
}

pub(super) struct Call {
    pub(super) n: u64,
    pub(super) rpc: String,
    pub(super) code: String,
    pub(super) is_ok: bool,
    pub(super) at: String,
    pub(super) time: String,
    pub(super) message: String,
    pub(super) request: String,
    pub(super) response: String,
}

pub(super) struct Clause {
    pub(super) level: &'static str,
    pub(super) basis: &'static str,
    pub(super) of: ClauseRef,
}

impl Card {
    pub(super) fn of(report: &Report, check: &Settled) -> Self {
        let (word, class) = outcome(check.outcome);
        let (level, basis) = strength_words(check.level, check.basis);
        let rerun = match report.rerun.as_str() {
            "" => "csi-conformance run --exact",
            again => again,
        };
        Self {
            id: shown(&check.id),
            anchor: anchor(&check.id),
            class,
            word,
            level,
            basis,
            time: seconds(check.duration_ms),
            message: shown(match check.message.as_str() {
                "" => &check.headline,
                message => message,
            }),
            headline: check.headline.replace('`', ""),
            expected: check.expected.as_deref().map(shown),
            timeline: Timeline::of(&check.evidence),
            looks: looks(&check.evidence),
            facts: facts(&check.evidence),
            counted: count(calls(&check.evidence).len(), "call"),
            calls: calls(&check.evidence),
            clauses: check.clauses.iter().map(clause).collect(),
            seen_in: check.seen_in.iter().map(seen_in).collect(),
            look_at: check.look_at.replace('`', ""),
            rerun: format!("{} {}", shown(rerun), quoted(&check.id)),
        }
    }
}

fn clause(of: &ClauseRef) -> Clause {
    let (level, basis) = strength_words(of.level, of.basis);
    Clause {
        level,
        basis,
        of: ClauseRef {
            url: web(&of.url),
            ..of.clone()
        },
    }
}

fn seen_in(seen: &SeenIn) -> SeenIn {
    SeenIn {
        url: web(&seen.url),
        ..seen.clone()
    }
}

/// An address that may be followed; a report may have come from anywhere.
fn web(url: &str) -> String {
    match url.starts_with("https://") || url.starts_with("http://") {
        true => url.to_owned(),
        false => String::new(),
    }
}

fn looks(evidence: &[Evidence]) -> Vec<Looks> {
    let mut all: Vec<Looks> = Vec::new();
    for seen in evidence {
        let Evidence::Mounts {
            path,
            when,
            lines,
            expected,
        } = seen
        else {
            continue;
        };
        let path = shown(path);
        let look = Look {
            when: shown(when),
            lines: lines.iter().map(|line| shown(line)).collect(),
            expected: expected.as_deref().map(shown),
        };
        match all.iter_mut().find(|known| known.path == path) {
            Some(known) => known.looks.push(look),
            None => all.push(Looks {
                path,
                looks: vec![look],
            }),
        }
    }
    all
}

/// With each label once, where several in a row have it.
fn facts(evidence: &[Evidence]) -> Vec<(String, String)> {
    let mut last = "";
    let mut facts = Vec::new();
    for seen in evidence {
        if let Evidence::Fact { label, text } = seen {
            let named = if label == last { "" } else { label };
            facts.push((shown(named), shown(text)));
            last = label;
        }
    }
    facts
}

fn calls(evidence: &[Evidence]) -> Vec<Call> {
    let calls = evidence.iter().filter_map(|seen| match seen {
        Evidence::Call(call) => Some(shown_call(call)),
        _ => None,
    });
    calls.collect()
}

fn shown_call(call: &CallRecord) -> Call {
    let pretty = |value: &serde_json::Value| match value {
        serde_json::Value::Null => String::new(),
        // Line by line, so that the form stays.
        value => format!("{value:#}")
            .lines()
            .map(shown)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    Call {
        n: call.n,
        rpc: shown(&call.rpc),
        code: shown(&call.code),
        is_ok: call.code == "OK",
        at: seconds(call.at_ms),
        time: brief_time(call.duration_ms),
        message: shown(&call.message),
        request: pretty(&call.request),
        response: pretty(&call.response),
    }
}
