//! From what ended to what is settled: who is to blame, and for what.

use std::collections::BTreeMap;

use super::wave::Ended;
use crate::check::{Check, LedgerEntry, Level, Outcome, Settled, Skip, Step, Stop, without_round};
use crate::config::Expected;

/// Who owns which step.
#[derive(Debug, Default)]
pub(super) struct Owners {
    of: BTreeMap<Step, &'static Check>,
}

impl Owners {
    pub(super) fn of(checks: &[&'static Check]) -> Self {
        let pairs = checks
            .iter()
            .flat_map(|check| check.owns.iter().map(|step| (*step, *check)));
        Self {
            of: pairs.collect(),
        }
    }

    pub(super) fn owner(&self, step: Step) -> Option<&'static Check> {
        self.of.get(&step).copied()
    }
}

/// What to do with a case that ended.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing will change it any more.
    Settled(Box<Settled>),
    /// It has to be asked again by itself: its step works elsewhere.
    Again(Box<Ended>),
}

/// What is settled so far.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) owners: Owners,
    pub(super) settled: Vec<Settled>,
    pub(super) ledger: Vec<LedgerEntry>,
    /// How each owner stands: its cases so far.
    standing: BTreeMap<&'static str, Vec<(String, Standing)>>,
}

/// How the case of an owner ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Well,
    Found,
    BlockedBy(Step),
    Unjudged,
}

impl Book {
    pub(super) fn new(checks: &[&'static Check]) -> Self {
        Self {
            owners: Owners::of(checks),
            ..Self::default()
        }
    }

    /// Notes how an owner's case ended, so that others can be judged by it.
    pub(super) fn note(&mut self, ended: &Ended) {
        let check = ended.case.check;
        if check.owns.is_empty() {
            return;
        }
        let own_residue = ended.stayed.iter().any(|r| check.owns.contains(&r.step));
        let standing = match &ended.checked {
            Ok(()) if own_residue => Standing::Found,
            Ok(()) => Standing::Well,
            Err(Stop::Fail(_) | Stop::Warn(_)) => Standing::Found,
            Err(Stop::Blocked { step, .. }) => Standing::BlockedBy(*step),
            Err(_) => Standing::Unjudged,
        };
        let cases = self.standing.entry(check.id).or_default();
        cases.retain(|(id, _)| *id != ended.case.id);
        cases.push((ended.case.id.clone(), standing));
    }

    /// The finding that explains a failed step: the owner's, or that of the
    /// step which the owner itself was blocked by.
    fn finding_of(&self, step: Step, like: &Ended) -> Option<String> {
        // These are judged last of all, by the history that this case is part of.
        if matches!(step, Step::Answers | Step::Alive | Step::Speaks) {
            return self.owners.owner(step).map(|check| check.id.to_owned());
        }
        let mut step = step;
        for _ in 0..Step::ALL.len() {
            let owner = self.owners.owner(step)?;
            let cases = self.standing.get(owner.id)?;
            let suffix = like
                .case
                .kind
                .as_ref()
                .map(|kind| format!("[{kind}]"))
                .unwrap_or_default();
            let same = cases
                .iter()
                .find(|(id, _)| without_round(id) == format!("{}{suffix}", owner.id));
            let found = same
                .filter(|(_, s)| *s == Standing::Found)
                .or_else(|| cases.iter().find(|(_, s)| *s == Standing::Found));
            if let Some((id, _)) = found {
                return Some(without_round(id).to_owned());
            }
            let deeper = cases.iter().find_map(|(_, s)| match s {
                Standing::BlockedBy(step) => Some(*step),
                _ => None,
            });
            step = deeper?;
            if matches!(step, Step::Answers | Step::Alive | Step::Speaks) {
                return self.owners.owner(step).map(|check| check.id.to_owned());
            }
        }
        None
    }

    /// Whether the owner of a step has found it to fail.
    pub(super) fn has_finding(&self, step: Step) -> bool {
        let owner = self
            .owners
            .owner(step)
            .and_then(|check| self.standing.get(check.id));
        owner.is_some_and(|cases| cases.iter().any(|(_, s)| *s == Standing::Found))
    }

    /// Whether the owner of a step was run and found nothing wrong with it.
    fn works_elsewhere(&self, step: Step) -> bool {
        let owner = self
            .owners
            .owner(step)
            .and_then(|check| self.standing.get(check.id));
        owner.is_some_and(|cases| cases.iter().any(|(_, s)| *s == Standing::Well))
    }

    /// Judges a case that ended.
    pub(super) fn judge(&mut self, mut ended: Ended, expected: &[Expected]) -> Next {
        if ended.before.is_none()
            && let Some(doubt) = self.doubt(&ended)
        {
            self.enter(&ended);
            ended.before = Some(doubt);
            return Next::Again(Box::new(ended));
        }
        let (mut outcome, mut message) = (Outcome::Pass, String::new());
        let (mut skip, mut blocked_by) = (None, None);
        let breach = if ended.case.check.strength().0 == Level::Must {
            Outcome::Fail
        } else {
            Outcome::Warn
        };
        match &ended.checked {
            Ok(()) => match (&ended.before, self.unexplained(&ended)) {
                (_, Some(left)) => (outcome, message) = (breach, left),
                (Some(Stop::Blocked { step, why, .. }), None) if !is_history(*step) => {
                    outcome = Outcome::Warn;
                    message = format!(
                        "{step} failed once, and worked when it was asked again alone: {why}"
                    );
                }
                (Some(Stop::Warn(what)), None) => {
                    outcome = Outcome::Warn;
                    message = format!("{what}; not again when it was asked alone");
                }
                _ => {}
            },
            Err(Stop::Fail(what)) => (outcome, message) = (breach, what.clone()),
            Err(Stop::Warn(what)) => (outcome, message) = (Outcome::Warn, what.clone()),
            Err(Stop::Lack(lack)) => {
                outcome = Outcome::Skip;
                message = lack.need.clone();
                skip = Some(lack.clone());
            }
            Err(Stop::Blocked { step, why, .. }) => {
                blocked_by = self.finding_of(*step, &ended);
                message = format!("{step}: {why}");
                // Its owner is content, and it failed here twice: a finding.
                outcome = if blocked_by.is_none() && self.works_elsewhere(*step) {
                    Outcome::Fail
                } else {
                    Outcome::Blocked
                };
            }
            Err(Stop::Declined { why, .. }) => (outcome, message) = (Outcome::Blocked, why.clone()),
            Err(Stop::Unknown(what)) => (outcome, message) = (Outcome::Unknown, what.clone()),
            Err(Stop::Ours(what)) => (outcome, message) = (Outcome::Error, what.clone()),
        }
        self.enter(&ended);
        let mut settled = settled(&ended, outcome, message);
        settled.skip = skip;
        settled.blocked_by = blocked_by;
        expect(&mut settled, expected);
        Next::Settled(Box::new(settled))
    }

    /// Why a case should be asked once more by itself: a step failed or something
    /// stayed behind, and the check that owns it is content.
    fn doubt(&self, ended: &Ended) -> Option<Stop> {
        match &ended.checked {
            Ok(()) => {
                let owned = |step| ended.case.check.owns.contains(&step);
                let own = ended.stayed.iter().any(|residue| owned(residue.step));
                self.unexplained(ended).filter(|_| !own).map(Stop::Warn)
            }
            Err(Stop::Blocked { step, .. }) => {
                let doubtful =
                    self.finding_of(*step, ended).is_none() && self.works_elsewhere(*step);
                doubtful.then(|| ended.checked.clone().err()).flatten()
            }
            Err(_) => None,
        }
    }

    /// What stayed behind, where no owner tells of it and the case itself did
    /// not stop for a dead or silent driver.
    fn unexplained(&self, ended: &Ended) -> Option<String> {
        if ended.excused {
            return None;
        }
        let check = ended.case.check;
        let mut asked = ended.stayed.iter().filter(|residue| !residue.unasked);
        let residue = asked.find(|residue| {
            check.owns.contains(&residue.step) || self.finding_of(residue.step, ended).is_none()
        })?;
        let entry = &residue.entry;
        Some(format!(
            "left behind after {}: {} {}",
            residue.step, entry.what, entry.object
        ))
    }

    fn enter(&mut self, ended: &Ended) {
        for residue in &ended.stayed {
            let mut entry = residue.entry.clone();
            entry.owner = self
                .owners
                .owner(residue.step)
                .map(|check| check.id.to_owned());
            self.ledger.push(entry);
        }
    }
}

fn is_history(step: Step) -> bool {
    matches!(step, Step::Answers | Step::Alive | Step::Speaks)
}

fn settled(ended: &Ended, outcome: Outcome, message: String) -> Settled {
    let check = ended.case.check;
    let (level, basis) = check.strength();
    Settled {
        id: without_round(&ended.case.id).to_owned(),
        headline: check.headline(),
        level,
        basis,
        outcome,
        message,
        duration_ms: u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        calls: ended.calls,
        volumes: ended.volumes,
        clauses: check.clause_refs(),
        skip: None,
        blocked_by: None,
        expected: None,
        // A pass needs no evidence; the report stays readable without it.
        evidence: if outcome == Outcome::Pass {
            Vec::new()
        } else {
            ended.trail.clone()
        },
        seen_in: check.bugs(),
        look_at: check.look_at.to_owned(),
    }
}

/// A case that the plan skips.
pub(super) fn skipped(case: &super::plan::Planned, skip: &Skip) -> Settled {
    let ended = Ended::not_run(case.clone(), Ok(()));
    Settled {
        skip: Some(skip.clone()),
        ..settled(&ended, Outcome::Skip, skip.need.clone())
    }
}

/// A failure that the user named is expected; a pass that the user named as a
/// failure is a finding: the entry is stale.
fn expect(settled: &mut Settled, expected: &[Expected]) {
    let Some(entry) = expected.iter().find(|entry| entry.is_of(&settled.id)) else {
        return;
    };
    settled.expected = Some(entry.reason.clone());
    match settled.outcome {
        Outcome::Fail | Outcome::Warn => settled.outcome = Outcome::ExpectedFail,
        Outcome::Pass if entry.check == settled.id || !settled.id.contains('[') => {
            settled.outcome = Outcome::Fail;
            settled.message = format!(
                "passed, though it is listed as a known failure: {}",
                entry.reason
            );
        }
        _ => {}
    }
}
