//! The run itself: owners first, then all side by side, then those that need
//! the driver to themselves, then the judgement of the run as a whole.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use super::plan::{Plan, Planned};
use super::rounds::Rounds;
use super::settle::{Book, Next, skipped};
use super::wave::{Ended, run_case, side_by_side};
use crate::check::{
    Check, Evidence, Lacking, LedgerEntry, Phase, Session, Settled, Skip, Step, Stop, without_round,
};
use crate::report::Event;

/// A run that is about to begin.
#[derive(Debug)]
pub struct Engine {
    session: Arc<Session>,
    jobs: usize,
    most_volumes: u32,
    events: UnboundedSender<Event>,
    book: Book,
    rounds: Rounds,
    /// Cases that hold unless something comes late.
    waiting: Vec<Ended>,
    /// The driver is gone, and nobody can start it again.
    gone: Option<String>,
}

/// A run that ended.
#[derive(Debug)]
pub struct Finished {
    /// Every check, sorted by id.
    pub checks: Vec<Settled>,
    /// What stayed behind.
    pub ledger: Vec<LedgerEntry>,
}

impl Engine {
    /// A run of these checks. `most_volumes`: on the node at once.
    pub fn new(
        session: Arc<Session>,
        checks: &[&'static Check],
        jobs: usize,
        most_volumes: u32,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            session,
            jobs: jobs.max(1),
            most_volumes,
            events,
            book: Book::new(checks),
            rounds: Rounds::default(),
            waiting: Vec::new(),
            gone: None,
        }
    }

    /// Runs what is planned, and tells of each check as soon as it is settled.
    pub async fn run(mut self, plan: Plan) -> Finished {
        self.rounds = Rounds::of(&plan);
        let mut phases: [VecDeque<Planned>; 5] = Default::default();
        for case in plan.cases {
            match &case.skip {
                Some(skip) => {
                    let settled = skipped(&case, skip);
                    self.tell(settled);
                }
                None => phases[case.check.phase as usize].push_back(case),
            }
        }
        let [first, together, mut alone, quiet, last] = phases;
        // One after the other, so the owners come first here too.
        alone
            .make_contiguous()
            .sort_by_key(|case| case.check.owns.is_empty());
        self.phase(first, self.jobs, Phase::First).await;
        self.phase(together, self.jobs, Phase::Together).await;
        self.phase(alone, 1, Phase::Alone).await;
        self.close(quiet).await;
        // What judges the run is asked even of a driver that is gone.
        if self.gone.take().is_some() {
            self.session.history().gone();
        }
        self.phase(last, 1, Phase::Last).await;
        self.book.settled.sort_by(|a, b| a.id.cmp(&b.id));
        Finished {
            checks: self.book.settled,
            ledger: self.book.ledger,
        }
    }

    async fn phase(&mut self, mut queue: VecDeque<Planned>, jobs: usize, phase: Phase) {
        // Owners are judged by one another, so only when all of them ended.
        let mut held = Vec::new();
        let mut again = Vec::new();
        while !queue.is_empty() {
            if self.session.is_interrupted() {
                for case in queue.drain(..) {
                    self.tell(skipped(&case, &interrupted()));
                }
                break;
            }
            if let Some(why) = &self.gone {
                held.extend(queue.drain(..).map(|case| abandoned(case, why)));
                break;
            }
            let mut ended = Vec::new();
            let session = self.session.clone();
            let events = self.events.clone();
            side_by_side(
                &session,
                &mut queue,
                jobs,
                self.most_volumes,
                &events,
                |case| {
                    // With the owners judged, what can be settled at once is.
                    if phase != Phase::First && !case.is_casualty() {
                        again.extend(self.judge(case));
                    } else {
                        ended.push(case);
                    }
                },
            )
            .await;
            let (casualties, others): (Vec<_>, Vec<_>) =
                ended.into_iter().partition(Ended::is_casualty);
            held.extend(others);
            if !casualties.is_empty() {
                held.extend(self.after_death(casualties).await);
            }
        }
        for case in &mut held {
            self.decide_on_refusal(case);
            self.book.note(case);
        }
        for case in held {
            again.extend(self.judge(case));
        }
        for case in again {
            self.once_more(*case).await;
        }
    }

    /// Judges a case; what has to be asked again comes back.
    fn judge(&mut self, mut ended: Ended) -> Option<Box<Ended>> {
        self.decide_on_refusal(&mut ended);
        if ended.before.is_none() && self.waited_in_a_queue(&ended) {
            ended.before = ended.checked.clone().err();
            return Some(Box::new(ended));
        }
        if ended.worked_alone() {
            self.session.doubt(without_round(&ended.case.id).to_owned());
        }
        self.book.note(&ended);
        if !ended.watched.is_empty() {
            // Its outcome is settled when the quiet period is over.
            self.waiting.push(ended);
            return None;
        }
        match self.book.judge(ended, &self.session.config().expected) {
            Next::Settled(settled) => {
                self.tell(*settled);
                None
            }
            Next::Again(ended) => Some(ended),
        }
    }

    /// Whether a call of the case missed its deadline, perhaps behind others.
    fn waited_in_a_queue(&self, ended: &Ended) -> bool {
        matches!(
            ended.checked,
            Err(Stop::Blocked {
                step: Step::Answers,
                ..
            })
        ) && self.session.history().was_queued(&ended.case.id)
    }

    /// A refusal of a step: not offered, if other volumes came through and none of
    /// this kind ever did; else the failure of the step.
    fn decide_on_refusal(&self, ended: &mut Ended) {
        let Err(Stop::Declined { access, step, why }) = &ended.checked else {
            return;
        };
        let (access, step, why) = (*access, *step, why.clone());
        ended.checked = Err(if self.session.is_not_offered(step, access) {
            Stop::not_offered(format!("{access} volumes ({why})"))
        } else if ended.case.check.owns.contains(&step) {
            Stop::Fail(why)
        } else {
            Stop::Blocked {
                step,
                why,
                refused: true,
            }
        });
    }

    fn tell(&mut self, settled: Settled) {
        let Some(settled) = self.rounds.take(settled) else {
            return;
        };
        let _ = self
            .events
            .send(Event::CheckSettled(Box::new(settled.clone())));
        self.book.settled.push(settled);
    }

    /// Asks a case again with the driver to itself.
    async fn once_more(&mut self, before: Ended) {
        let mut ended = self.alone(before.case).await;
        if ended.checked.is_ok() {
            // What is told is of the first time.
            let again = Evidence::Fact {
                label: "again".to_owned(),
                text: "asked once more, with the driver to itself".to_owned(),
            };
            let first = before.trail.into_iter().chain([again]);
            ended.trail = first.chain(ended.trail).collect();
        }
        ended.before = before.before;
        self.judge(ended);
    }

    /// The driver died with these in flight: it is started again, what they made
    /// is taken back, and each is asked by itself, so that the finding names the
    /// one that kills it.
    async fn after_death(&mut self, casualties: Vec<Ended>) -> Vec<Ended> {
        if let [only] = casualties.as_slice() {
            self.name_the_killer(only);
        }
        self.revive().await;
        let mut all = Vec::new();
        for mut casualty in casualties {
            self.settle_debts(&mut casualty).await;
            if !casualty.body_died() || self.gone.is_some() {
                all.push(casualty);
                continue;
            }
            let stop = casualty.checked.clone().err();
            let mut ended = self.alone(casualty.case).await;
            ended.before = stop;
            all.push(ended);
        }
        all
    }

    /// Runs a case with the driver to itself; if it dies, that call is the one.
    async fn alone(&mut self, case: Planned) -> Ended {
        if let Some(why) = &self.gone {
            return abandoned(case, why);
        }
        let mut ended = run_case(self.session.clone(), case, self.events.clone()).await;
        if ended.is_casualty() {
            self.name_the_killer(&ended);
            self.revive().await;
            self.settle_debts(&mut ended).await;
        }
        ended
    }

    /// Takes back what a dead driver left undone. A negation that kills it again
    /// is done without it.
    async fn settle_debts(&mut self, ended: &mut Ended) {
        ended.pay(self.gone.is_some()).await;
        if ended.owed.is_some() && self.gone.is_none() {
            self.revive().await;
            ended.pay(true).await;
        }
    }

    /// What broke with nothing else in flight is not asked again.
    fn name_the_killer(&self, ended: &Ended) {
        let broke = ended.trail.iter().find_map(|seen| match seen {
            Evidence::Call(call) if call.code == "broken" => Some(call.rpc.clone()),
            _ => None,
        });
        if let Some(rpc) = broke {
            self.session.is_deadly(rpc, ended.case.kind.clone());
        }
    }

    async fn revive(&mut self) {
        let _ = self.events.send(Event::Note(
            "the driver died; waiting for it to come back".into(),
        ));
        if let Err(why) = self.session.revive().await {
            let _ = self
                .events
                .send(Event::Note(format!("the driver is gone: {why}")));
            self.gone = Some(why);
        }
    }

    /// Settles the cases that waited for the quiet period to pass.
    async fn judge_what_came_late(&mut self) {
        for mut ended in std::mem::take(&mut self.waiting) {
            for watched in std::mem::take(&mut ended.watched) {
                if let Some((what, seen)) = self.session.came_late(&watched).await {
                    // Seen after all was taken back, and what the finding is about.
                    let trail = &mut ended.trail;
                    let end = trail.iter().position(|e| *e == Evidence::TakenBack);
                    trail.splice(end.unwrap_or(trail.len())..end.unwrap_or(trail.len()), seen);
                    if ended.checked.is_ok() {
                        ended.checked = Err(Stop::Fail(what));
                    }
                }
            }
            self.book.note(&ended);
            let config = self.session.config().clone();
            // Nobody is asked again by now: a doubt is judged as it is.
            let settled = match self.book.judge(ended, &config.expected) {
                Next::Again(ended) => self.book.judge(*ended, &config.expected),
                settled => settled,
            };
            if let Next::Settled(settled) = settled {
                self.tell(*settled);
            }
        }
    }

    /// After the last case: a quiet period passes, and shows what came late; the
    /// volumes that served many are deleted, and one more look shows what is left.
    async fn close(&mut self, quiet: VecDeque<Planned>) {
        let session = self.session.clone();
        let at_once = quiet.len().max(1);
        // Nobody waits for what nothing could bring.
        if session.history().calls_by_checks() > 0 || !quiet.is_empty() {
            let waiting = self.phase(quiet, at_once, Phase::Quiet);
            tokio::join!(session.quiet_period(), waiting);
        }
        self.judge_what_came_late().await;
        self.session.settle_accounts().await;
        let stayed = self.session.close(self.gone.is_some()).await;
        for (step, mut entry) in stayed {
            entry.owner = step
                .and_then(|step| self.book.owners.owner(step))
                .map(|c| c.id.to_owned());
            self.book.ledger.push(entry);
        }
        // What a driver that died or hangs holds is no finding of its own, nor
        // is more of what was found already.
        let excused = self.gone.is_some()
            || self.session.history().disturbed()
            || self.book.has_finding(Step::DeviceGone);
        for mut entry in self.session.release_all().await {
            if !excused {
                let left = format!("{} {}", entry.what, entry.object);
                self.session.remember_left(left);
            }
            let owner = self.book.owners.owner(Step::DeviceGone);
            entry.owner = owner.map(|check| check.id.to_owned());
            self.book.ledger.push(entry);
        }
    }
}

/// Why a case did not run that was still to come when the user had enough.
fn interrupted() -> Skip {
    Skip {
        need: "a run that is not interrupted".to_owned(),
        lacking: Lacking::User,
    }
}

fn abandoned(case: Planned, why: &str) -> Ended {
    Ended::not_run(
        case,
        Err(Stop::Blocked {
            step: Step::Alive,
            why: why.to_owned(),
            refused: false,
        }),
    )
}

/// Every step has exactly one owner among these checks.
///
/// # Errors
/// The steps that have none, or more than one.
pub fn one_owner_each(checks: &[&'static Check]) -> Result<(), String> {
    let owners = |step: Step| checks.iter().filter(|c| c.owns.contains(&step)).count();
    let wrong: Vec<_> = Step::ALL
        .iter()
        .filter(|step| owners(**step) != 1)
        .collect();
    let told: Vec<_> = wrong
        .iter()
        .map(|step| format!("{step}: {}", owners(**step)))
        .collect();
    if told.is_empty() {
        Ok(())
    } else {
        Err(told.join(", "))
    }
}
