//! The requirements by service and level: what holds, and what does not.

use std::collections::BTreeMap;

use super::{anchor, outcome, shown};
use crate::check::{Basis, Level, Outcome, Settled};
use crate::report::finding::strength_words;
use crate::report::service::Service;

/// A row for each service, a column for each strength that is asked for.
pub(super) struct Matrix {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<MatrixRow>,
}

pub(super) struct MatrixRow {
    pub(super) service: String,
    pub(super) cells: Vec<Cell>,
}

/// The requirements of one service and strength.
pub(super) struct Cell {
    pub(super) holds: usize,
    pub(super) all: usize,
    pub(super) clauses: Vec<Mark>,
}

/// One requirement: the worst that any check says of it.
pub(super) struct Mark {
    pub(super) class: &'static str,
    /// A letter, since colours are not for everybody.
    pub(super) letter: &'static str,
    /// The check that says so.
    pub(super) anchor: String,
    pub(super) title: String,
}

const STRENGTHS: [(Level, Basis); 6] = [
    (Level::Must, Basis::Specification),
    (Level::Must, Basis::Kubernetes),
    (Level::Must, Basis::Integrity),
    (Level::Should, Basis::Specification),
    (Level::Should, Basis::Kubernetes),
    (Level::Should, Basis::Integrity),
];

impl Matrix {
    pub(super) fn of(checks: &[&Settled]) -> Self {
        // A requirement stands where its first check stands.
        let mut worst: BTreeMap<&str, (Service, usize, &Settled, usize)> = BTreeMap::new();
        for &check in checks {
            for (at, clause) in check.clauses.iter().enumerate() {
                let service = Service::of(&check.id);
                let strength = STRENGTHS
                    .iter()
                    .position(|of| *of == (clause.level, clause.basis))
                    .unwrap_or(0);
                let entry = worst
                    .entry(&clause.id)
                    .or_insert((service, strength, check, at));
                if gravity(check.outcome) > gravity(entry.2.outcome) {
                    (entry.2, entry.3) = (check, at);
                }
            }
        }
        let used: Vec<usize> = (0..STRENGTHS.len())
            .filter(|strength| worst.values().any(|entry| entry.1 == *strength))
            .collect();
        let rows = Service::ALL.into_iter().filter_map(|service| {
            let cell = |strength: &usize| {
                let here = worst
                    .iter()
                    .filter(|(_, entry)| (entry.0, entry.1) == (service, *strength));
                let clauses: Vec<Mark> = here
                    .map(|(id, (_, _, check, at))| mark(id, check, *at))
                    .collect();
                Cell {
                    holds: clauses.iter().filter(|mark| mark.class == "pass").count(),
                    all: clauses.len(),
                    clauses,
                }
            };
            let cells: Vec<Cell> = used.iter().map(cell).collect();
            cells.iter().any(|cell| cell.all > 0).then(|| MatrixRow {
                service: service.to_string(),
                cells,
            })
        });
        Self {
            rows: rows.collect(),
            columns: used
                .iter()
                .map(|strength| {
                    let (level, basis) = STRENGTHS[*strength];
                    let (level, basis) = strength_words(level, basis);
                    format!("{level}, {basis}")
                })
                .collect(),
        }
    }
}

/// What was not asked tells less than what holds.
fn gravity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Skip | Outcome::Blocked => 0,
        Outcome::Pass => 1,
        Outcome::ExpectedFail => 2,
        Outcome::Warn => 3,
        Outcome::Unknown | Outcome::Error => 4,
        Outcome::Fail => 5,
    }
}

fn mark(id: &str, check: &Settled, at: usize) -> Mark {
    let (word, class) = outcome(check.outcome);
    let text = check
        .clauses
        .get(at)
        .map_or("", |clause| clause.text.as_str());
    Mark {
        class,
        letter: match class {
            "pass" => "✓",
            "fail" => "✗",
            "warn" => "!",
            "expected" => "e",
            "unknown" => "?",
            _ => "–",
        },
        anchor: anchor(&check.id),
        title: format!("{word}: {text} ({id}, by {})", shown(&check.id)),
    }
}
