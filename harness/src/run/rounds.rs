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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Basis, Level};

    fn round(n: u32, outcome: Outcome, message: &str) -> Settled {
        Settled {
            id: format!("a.b[ext4]#{n}"),
            headline: String::new(),
            level: Level::Must,
            basis: Basis::Specification,
            outcome,
            message: message.to_owned(),
            duration_ms: 10,
            calls: 2,
            volumes: 1,
            clauses: Vec::new(),
            skip: None,
            blocked_by: None,
            expected: None,
            evidence: Vec::new(),
            seen_in: Vec::new(),
            look_at: String::new(),
        }
    }

    fn of_three() -> Rounds {
        Rounds {
            due: BTreeMap::from([("a.b[ext4]".to_owned(), 3)]),
            settled: BTreeMap::new(),
        }
    }

    #[test]
    fn the_worst_is_told_with_how_often_it_was() {
        let mut rounds = of_three();
        assert!(rounds.take(round(2, Outcome::Fail, "two mounts")).is_none());
        assert!(rounds.take(round(1, Outcome::Pass, "")).is_none());
        let all = rounds.take(round(3, Outcome::Fail, "three mounts"));
        let all = all.expect("all are there");
        assert_eq!((all.id.as_str(), all.outcome), ("a.b[ext4]", Outcome::Fail));
        assert_eq!(all.message, "failed 2 of 3 times: two mounts");
        assert_eq!((all.duration_ms, all.calls, all.volumes), (30, 6, 1));
    }

    #[test]
    fn a_known_failure_may_pass_now_and_then() {
        let known = |n, outcome| Settled {
            expected: Some("a race".to_owned()),
            ..round(n, outcome, "two mounts")
        };
        let mut rounds = of_three();
        for n in 1..3 {
            assert!(rounds.take(known(n, Outcome::Fail)).is_none());
        }
        let all = rounds.take(known(3, Outcome::ExpectedFail));
        let all = all.expect("all are there");
        assert_eq!(all.outcome, Outcome::ExpectedFail);
        assert_eq!(all.message, "failed 1 of 3 times: two mounts");
    }

    #[test]
    fn one_round_is_told_as_it_is() {
        let mut rounds = Rounds::default();
        let one = rounds.take(round(1, Outcome::Warn, "slow")).expect("one");
        assert_eq!(one.message, "slow");
    }
}
