//! What was called in this run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::record::CallRecord;
use super::reply::Answer;

/// What is no finding of a call, since it is our doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// Nothing is excused.
    Nothing,
    /// We broke what it depends on: that it is not answered.
    Silence,
    /// We give it up, kill the driver or freeze it meanwhile: that it has no answer,
    /// nor a connection.
    NoAnswer,
}

/// A call that was sent and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlight {
    /// Its number.
    pub n: u64,
    /// Others were in flight when it was sent.
    pub behind_others: bool,
    /// What it need not come to.
    pub excuse: Excuse,
    /// The method.
    pub rpc: String,
    /// The check that made it.
    pub check: String,
}

/// A call that had no answer by its deadline.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    /// The call.
    pub call: CallRecord,
    /// What the deadline was.
    pub deadline: Duration,
}

/// The driver died.
#[derive(Debug, Clone, PartialEq)]
pub struct Death {
    /// How it ended, in words: `killed by SIGSEGV`, `exit code 2`.
    pub how: String,
    /// The calls that were in flight.
    pub suspects: Vec<CallRecord>,
    /// We killed it, and it does not come back: no call ended it.
    pub by_us: bool,
}

/// The record of a run's calls; shared by all that call.
#[derive(Debug)]
pub struct History {
    began: Instant,
    inner: Mutex<Inner>,
    /// Called with each call that ended.
    on_call: Mutex<Option<tokio::sync::mpsc::UnboundedSender<CallRecord>>>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: u64,
    by_check: BTreeMap<String, u64>,
    in_flight: BTreeMap<u64, InFlight>,
    missed: Vec<Missed>,
    /// Checks whose call missed its deadline, perhaps behind others in a queue.
    queued: Vec<String>,
    /// Checks that gave calls up or broke what they depend on.
    excused: BTreeSet<String>,
    /// The last call that was answered, by number.
    answered: u64,
    garbled: Vec<CallRecord>,
    broken: Vec<CallRecord>,
    wordless: Vec<CallRecord>,
    leaks: Vec<CallRecord>,
    deaths: Vec<Death>,
    peers: BTreeSet<i32>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            inner: Mutex::default(),
            on_call: Mutex::default(),
        }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends each call that ends from now on to `listener`.
    pub fn listen(&self, listener: tokio::sync::mpsc::UnboundedSender<CallRecord>) {
        *self.on_call.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn begin(&self, rpc: &str, check: &str, excuse: Excuse) -> (u64, u64) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.lock();
        inner.calls += 1;
        let n = inner.calls;
        *inner.by_check.entry(check.to_owned()).or_default() += 1;
        let behind_others = !inner.in_flight.is_empty();
        let (rpc, check) = (rpc.to_owned(), check.to_owned());
        if excuse != Excuse::Nothing {
            inner.excused.insert(check.clone());
        }
        inner.in_flight.insert(
            n,
            InFlight {
                n,
                behind_others,
                excuse,
                rpc,
                check,
            },
        );
        (n, at_ms)
    }

    pub(super) fn end(&self, record: &CallRecord, answer: &Answer<()>) {
        let mut inner = self.lock();
        let call = inner.in_flight.remove(&record.n);
        if matches!(answer, Answer::Ok(()) | Answer::Refused(_)) {
            inner.answered = inner.answered.max(record.n);
        }
        let last = inner.answered;
        let excuse = call.as_ref().map_or(Excuse::Nothing, |call| call.excuse);
        let waited = |call: InFlight| call.behind_others && last < record.n;
        match answer {
            Answer::Silent(_) if excuse != Excuse::Nothing => {}
            Answer::Broken(_) | Answer::Unreachable(_) if excuse == Excuse::NoAnswer => {}
            // A driver of few threads may not have come to it yet: it answered
            // nothing that was sent later.
            Answer::Silent(_) if call.is_some_and(waited) => {
                inner.queued.push(record.check.clone())
            }
            Answer::Silent(deadline) => {
                inner.missed.push(Missed {
                    call: record.clone(),
                    deadline: *deadline,
                });
            }
            Answer::Garbled(_) => inner.garbled.push(record.clone()),
            Answer::Broken(_) | Answer::Unreachable(_) => inner.broken.push(record.clone()),
            Answer::Refused(refusal) if refusal.message.is_empty() => {
                inner.wordless.push(record.clone());
            }
            Answer::Refused(_) | Answer::Ok(()) => {}
        }
        drop(inner);
        if let Some(listener) = &*self.on_call.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody listens any more: the run is over.
            let _ = listener.send(record.clone());
        }
    }

    pub(super) fn saw_peer(&self, pid: Option<i32>) {
        if let Some(pid) = pid {
            self.lock().peers.insert(pid);
        }
    }

    /// Writes down that the driver died, with the calls that broke since the
    /// last death.
    pub fn died(&self, how: String) {
        // What we killed, and has not come back since, does not die again.
        let is_away = self.lock().deaths.last().is_some_and(|death| death.by_us);
        if !is_away {
            self.note_death(how, false);
        }
    }

    /// Writes down that the driver, which we killed, does not come back.
    pub fn stays_away(&self, why: String) {
        self.note_death(why, true);
    }

    fn note_death(&self, how: String, by_us: bool) {
        let mut inner = self.lock();
        let broken = std::mem::take(&mut inner.broken);
        // A call that found nobody listening came after the death, and one
        // without a check is our own look whether it is there.
        let cut = |call: &&CallRecord| call.code == "broken" && !call.check.is_empty();
        let suspects = broken.iter().filter(cut).cloned().collect();
        inner.deaths.push(Death {
            how,
            suspects,
            by_us,
        });
    }

    /// Whether the driver died or left a call unanswered.
    pub fn disturbed(&self) -> bool {
        let inner = self.lock();
        !inner.deaths.is_empty() || !inner.missed.is_empty()
    }

    /// The driver is gone for good: that explains every call that broke.
    pub fn gone(&self) {
        self.lock().broken.clear();
    }

    /// Calls made so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Calls made so far by checks, and not by the harness itself.
    pub fn calls_by_checks(&self) -> u64 {
        let inner = self.lock();
        inner.calls - inner.by_check.get("").copied().unwrap_or_default()
    }

    /// Calls made so far by one check.
    pub fn calls_of(&self, check: &str) -> u64 {
        self.lock().by_check.get(check).copied().unwrap_or_default()
    }

    /// Calls that missed their deadline.
    pub fn missed(&self) -> Vec<Missed> {
        self.lock().missed.clone()
    }

    /// Whether a call of this check missed its deadline, perhaps behind others in
    /// a queue: asked alone, it shows.
    pub fn was_queued(&self, check: &str) -> bool {
        self.lock().queued.iter().any(|queued| queued == check)
    }

    /// Whether a check gave calls up, or broke what they depend on.
    pub fn has_excused(&self, check: &str) -> bool {
        self.lock().excused.contains(check)
    }

    /// How often a method missed its deadline.
    pub fn missed_by(&self, rpc: &str) -> usize {
        self.lock()
            .missed
            .iter()
            .filter(|m| m.call.rpc == rpc)
            .count()
    }

    /// Answers that were no messages of their type.
    pub fn garbled(&self) -> Vec<CallRecord> {
        self.lock().garbled.clone()
    }

    /// Calls whose connection was refused or broke, and no death explains it.
    pub fn broken(&self) -> Vec<CallRecord> {
        self.lock().broken.clone()
    }

    /// Refusals without a word.
    pub fn wordless(&self) -> Vec<CallRecord> {
        self.lock().wordless.clone()
    }

    /// Answers in which a secret that we sent came back.
    pub fn leaks(&self) -> Vec<CallRecord> {
        self.lock().leaks.clone()
    }

    pub(super) fn leaked(&self, record: &CallRecord) {
        self.lock().leaks.push(record.clone());
    }

    /// The driver's deaths that nobody of ours caused.
    pub fn deaths(&self) -> Vec<Death> {
        self.lock().deaths.clone()
    }

    /// Who bound the sockets that accepted us.
    pub fn peers(&self) -> Vec<i32> {
        self.lock().peers.iter().copied().collect()
    }
}
