//! Cases that are run more than once: one outcome of all their rounds.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::check::{Outcome, Settled, without_round};

/// The rounds that are settled so far.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    due: BTreeMap<String, usize>,
    settled: BTreeMap<String, Vec<Settled>>,
}

impl Rounds {
    pub(super) fn of(plan: &Plan) -> Self {
        let mut due = BTreeMap::new();
        for case in &plan.cases {
            *due.entry(without_round(&case.id).to_owned()).or_default() += 1;
        }
        Self {
            due,
            settled: BTreeMap::new(),
        }
    }

    /// Takes one round; gives the outcome of all, with the last of them.
    pub(super) fn take(&mut self, mut round: Settled) -> Option<Settled> {
        let id = without_round(&round.id).to_owned();
        round.id.clone_from(&id);
        let due = self.due.get(&id).copied().unwrap_or(1);
        let rounds = self.settled.entry(id.clone()).or_default();
        rounds.push(round);
        if rounds.len() < due {
            return None;
        }
        all_of(self.settled.remove(&id)?)
    }
}

/// The worst of the rounds, and how many there were like it.
fn all_of(rounds: Vec<Settled>) -> Option<Settled> {
    let times = rounds.len();
    // A known failure that shows itself now and then is known all the same.
    let known = rounds.iter().any(|r| r.outcome == Outcome::ExpectedFail);
    let rank = |round: &Settled| match round.outcome {
        Outcome::Fail if known && round.expected.is_some() => 8,
        Outcome::Fail => 0,
        Outcome::Error => 1,
        Outcome::Unknown => 2,
        Outcome::Warn => 3,
        Outcome::Blocked => 4,
        Outcome::ExpectedFail => 5,
        Outcome::Pass => 6,
        Outcome::Skip => 7,
    };
    let worst = rounds.iter().map(rank).min()?;
    let duration_ms = rounds.iter().map(|round| round.duration_ms).sum();
    let calls = rounds.iter().map(|round| round.calls).sum();
    let volumes = rounds.iter().map(|round| round.volumes).max()?;
    let like = rounds.iter().filter(|round| rank(round) == worst).count();
    let first = rounds.into_iter().find(|round| rank(round) == worst)?;
    let message = match (times, told(first.outcome)) {
        (2.., Some(word)) => format!("{word} {like} of {times} times: {}", first.message),
        _ => first.message.clone(),
    };
    Some(Settled {
        message,
        duration_ms,
        calls,
        volumes,
        ..first
    })
}

/// What is said of an outcome that not every round has; none: nothing.
fn told(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Fail | Outcome::ExpectedFail => Some("failed"),
        Outcome::Warn => Some("a warning"),
        Outcome::Error => Some("our own fault"),
        Outcome::Unknown => Some("unknown"),
        Outcome::Blocked => Some("blocked"),
        Outcome::Pass | Outcome::Skip => None,
    }
}
