//! All that was seen, in order, and those who wait for more.

use super::event::MountEvent;
use super::{Cursor, Ended, WatchError};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many events are kept. A million mounts are not what a run looks at, and
/// a node gone mad must not fill our memory.
const MOST: usize = 1_000_000;

/// What was counted beside the events that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Changes elsewhere than at the paths that are looked at.
    pub elsewhere: u64,
    /// Changes that found no room any more.
    pub over_limit: u64,
    /// How often the kernel had dropped events, so that the table was read
    /// instead: what came and went in between is unknown, and so is who did
    /// the rest.
    pub losses: u64,
    /// Lines of mountinfo that cannot be understood, at the last reading.
    pub odd: usize,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<MountEvent>,
    counts: Counts,
    /// How many have asked for all that has happened by then, and how many of
    /// them have it.
    asked: u64,
    answered: u64,
    stopping: bool,
    ended: Option<Ended>,
    /// Counts what was told, so that nobody misses it.
    turn: u64,
}

/// Shared by a watch and its thread.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    state: Mutex<State>,
    turned: Condvar,
    changed: watch::Sender<()>,
}

impl Timeline {
    /// Nothing here can panic half way, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, mut state: MutexGuard<'_, State>) {
        state.turn += 1;
        drop(state);
        self.turned.notify_all();
        self.changed.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The events since a cursor, and the cursor behind them.
    pub(super) fn since(&self, Cursor(from): Cursor) -> (Vec<MountEvent>, Cursor) {
        let state = self.state();
        let events = state.events.get(from..).unwrap_or_default().to_vec();
        (events, Cursor(state.events.len()))
    }

    pub(super) fn cursor(&self) -> Cursor {
        Cursor(self.state().events.len())
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        self.state().ended.clone()
    }

    /// Asks for all that has happened by now; the number of the question.
    pub(super) fn ask(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        state.asked
    }

    /// Where the timeline stood when the question was answered; none yet.
    pub(super) fn answer(&self, question: u64) -> Option<Result<Cursor, WatchError>> {
        let state = self.state();
        let cursor = Cursor(state.events.len());
        match &state.ended {
            _ if state.answered >= question => Some(Ok(cursor)),
            Some(Ended::Failed(why)) => Some(Err(WatchError::Failed(why.clone()))),
            Some(Ended::NamespaceGone | Ended::Stopped) => Some(Ok(cursor)),
            None => None,
        }
    }

    /// Waits until `ready` gives something; none when the time is up.
    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        mut ready: impl FnMut(&Self) -> Option<T>,
    ) -> Option<T> {
        let begun = Instant::now();
        loop {
            // Before the look, so that a turn in between is noticed.
            let turn = self.state().turn;
            if let Some(it) = ready(self) {
                return Some(it);
            }
            let mut state = self.state();
            while state.turn == turn {
                let left = limit.checked_sub(begun.elapsed())?;
                let waited = self.turned.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    // What follows is for the thread.

    /// The questions that the next look answers.
    pub(super) fn questions(&self) -> u64 {
        self.state().asked
    }

    pub(super) fn answered(&self, questions: u64) {
        let mut state = self.state();
        if state.answered < questions {
            state.answered = questions;
            self.told(state);
        }
    }

    pub(super) fn add(&self, batch: &mut Batch) {
        let mut state = self.state();
        let room = MOST.saturating_sub(state.events.len());
        let over = batch.events.len().saturating_sub(room);
        let news = batch.events.len() > over;
        state.events.extend(batch.events.drain(..).take(room));
        state.counts.over_limit += over as u64;
        state.counts.elsewhere += std::mem::take(&mut batch.elsewhere);
        state.counts.losses += std::mem::take(&mut batch.losses);
        state.counts.odd = batch.odd;
        if news {
            self.told(state);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    pub(super) fn stop(&self) {
        self.state().stopping = true;
    }

    /// The first end is the one that counts.
    pub(super) fn end(&self, how: Ended) {
        let mut state = self.state();
        state.ended.get_or_insert(how);
        self.told(state);
    }
}

/// What one look brought.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<MountEvent>,
    pub(super) elsewhere: u64,
    pub(super) losses: u64,
    pub(super) odd: usize,
}

/// Which mount points matter; all, if none is named.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Vec<PathBuf>);

impl Places {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        Self(paths.iter().map(|p| p.components().collect()).collect())
    }

    /// At such a path, below it, or above it: a mount above hides all of it.
    pub(super) fn matter(&self, point: &Path) -> bool {
        let near = |p: &PathBuf| point.starts_with(p) || p.starts_with(point);
        self.0.is_empty() || self.0.iter().any(near)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_mount_matters_at_below_and_above() {
        let places = Places::new(&["/var/lib/kubelet/".into(), "/tmp/x".into()]);
        for near in [
            "/",
            "/var",
            "/var/lib/kubelet",
            "/var/lib/kubelet/pods/1",
            "/tmp/x/y",
        ] {
            assert!(places.matter(Path::new(near)), "{near}");
        }
        for far in ["/var/lib/kubelet2", "/var/log", "/tmp/xy", "/tmp/y"] {
            assert!(!places.matter(Path::new(far)), "{far}");
        }
        assert!(Places::default().matter(Path::new("/anything")));
    }

    #[test]
    fn a_question_is_answered_by_a_look_that_begins_after_it() {
        let timeline = Timeline::default();
        let seen = timeline.questions();
        let question = timeline.ask();
        timeline.answered(seen);
        assert!(timeline.answer(question).is_none(), "a look begun before");
        timeline.answered(timeline.questions());
        assert!(matches!(timeline.answer(question), Some(Ok(Cursor(0)))));
        let next = timeline.ask();
        timeline.end(Ended::Failed("no more".into()));
        timeline.end(Ended::NamespaceGone);
        assert!(matches!(
            timeline.answer(next),
            Some(Err(WatchError::Failed(_)))
        ));
    }

    #[test]
    fn the_time_is_up_for_who_waits_in_vain() {
        let timeline = Timeline::default();
        assert_eq!(timeline.wait(Duration::ZERO, |_| None::<()>), None);
        assert_eq!(timeline.wait(Duration::ZERO, |_| Some(1)), Some(1));
        let timeline = Arc::new(timeline);
        let other = Arc::clone(&timeline);
        let waiting =
            std::thread::spawn(move || other.wait(Duration::from_secs(60), |t| t.ended()));
        timeline.end(Ended::Stopped);
        assert_eq!(waiting.join().ok().flatten(), Some(Ended::Stopped));
    }
}
