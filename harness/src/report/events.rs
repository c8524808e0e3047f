//! `events.jsonl`: the whole run, one event a line.
//!
//! Each line is an object with `event`, and with `at_ms`, the milliseconds since the
//! run began. The calls of a check stand before the line that settles it, with the
//! times at which they were made.
//!
//! | event | tells |
//! |---|---|
//! | `started` | `schema`, `checks`, `driver`, `endpoint` |
//! | `check_started` | `id` |
//! | `call` | a call as in report.json |
//! | `note` | `text` |
//! | `check_settled` | `id`, `outcome`, `message`, `duration_ms` |
//! | `ended` | `verdict`, `totals`, `calls`, `duration_ms` |

use std::io::{self, Write};
use std::time::Instant;

use serde::Serialize;

use super::json::SCHEMA;
use super::{Event, Report, Totals, Verdict};
use crate::check::{CallRecord, Evidence, Outcome, Settled};

/// The name of the file within the report's folder.
pub const FILE_NAME: &str = "events.jsonl";

/// Writes events as they come.
#[derive(Debug)]
pub struct Events<W> {
    out: W,
    began: Instant,
}

impl<W: Write> Events<W> {
    /// From now on.
    pub fn new(out: W) -> Self {
        let began = Instant::now();
        Self { out, began }
    }

    /// Writes what happened just now.
    ///
    /// # Errors
    /// The writer's own.
    pub fn handle(&mut self, event: &Event) -> io::Result<()> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.out.write_all(lines(event, now).as_bytes())?;
        self.out.flush()
    }
}

/// What can be told of a run when it is over: as it was told while it ran, without
/// the notes and the starts of the checks.
pub fn of_report(report: &Report) -> String {
    let mut text = lines(
        &Event::Started {
            total: report.checks.len(),
            driver: format!("{} {}", report.driver.name, report.driver.version),
            endpoint: report.driver.endpoint.clone(),
        },
        0,
    );
    let mut checks: Vec<_> = report.checks.iter().map(|c| (settled_at(c), c)).collect();
    checks.sort_by(|(at, a), (bt, b)| (at, &a.id).cmp(&(bt, &b.id)));
    for (at, check) in checks {
        text += &lines(&Event::CheckSettled(Box::new(check.clone())), at);
    }
    text + &lines(&Event::Ended(Box::new(report.clone())), report.duration_ms)
}

/// The end of its last call, as good as anything that is known.
fn settled_at(check: &Settled) -> u64 {
    let ends = calls(check).map(|call| call.at_ms + call.duration_ms);
    ends.max().unwrap_or(0)
}

fn calls(check: &Settled) -> impl Iterator<Item = &CallRecord> {
    check.evidence.iter().filter_map(|seen| match seen {
        Evidence::Call(call) => Some(call),
        _ => None,
    })
}

/// One line, as it is written.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Started {
        at_ms: u64,
        schema: u32,
        checks: usize,
        driver: &'a str,
        endpoint: &'a str,
    },
    CheckStarted {
        at_ms: u64,
        id: &'a str,
    },
    /// With its own time.
    Call(&'a CallRecord),
    Note {
        at_ms: u64,
        text: &'a str,
    },
    CheckSettled {
        at_ms: u64,
        id: &'a str,
        outcome: Outcome,
        message: &'a str,
        duration_ms: u64,
    },
    Ended {
        at_ms: u64,
        verdict: Verdict,
        totals: &'a Totals,
        calls: u64,
        duration_ms: u64,
    },
}

fn lines(event: &Event, at_ms: u64) -> String {
    match event {
        Event::Started {
            total,
            driver,
            endpoint,
        } => line(&Line::Started {
            at_ms,
            schema: SCHEMA,
            checks: *total,
            driver,
            endpoint,
        }),
        Event::CheckStarted { id } => line(&Line::CheckStarted { at_ms, id }),
        Event::Called(record) => line(&Line::Call(record)),
        Event::Note(text) => line(&Line::Note { at_ms, text }),
        Event::CheckSettled(check) => {
            let calls: String = calls(check).map(|call| line(&Line::Call(call))).collect();
            calls
                + &line(&Line::CheckSettled {
                    at_ms,
                    id: &check.id,
                    outcome: check.outcome,
                    message: &check.message,
                    duration_ms: check.duration_ms,
                })
        }
        Event::Ended(report) => line(&Line::Ended {
            at_ms,
            verdict: report.verdict,
            totals: &report.totals,
            calls: report.calls,
            duration_ms: report.duration_ms,
        }),
    }
}

fn line(line: &Line<'_>) -> String {
    // Nothing in it can fail: its keys are all strings.
    serde_json::to_string(line).map_or_else(|_| String::new(), |text| text + "\n")
}
