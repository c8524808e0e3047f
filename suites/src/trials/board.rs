//! Where trials wait for what the engine settles.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use csi_harness::check::Settled;
use csi_harness::report::Event;

/// What is known so far of a run that goes on in another thread.
#[derive(Debug, Default)]
pub(super) struct Board {
    known: Mutex<Known>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Known {
    settled: BTreeMap<String, Settled>,
    begun: bool,
    ended: bool,
}

impl Board {
    /// Takes note of what happened.
    pub(super) fn note(&self, event: Event) {
        let mut known = self.lock();
        match event {
            Event::Started { .. } => known.begun = true,
            Event::CheckSettled(settled) => {
                known.settled.insert(settled.id.clone(), *settled);
            }
            _ => return,
        }
        self.changed.notify_all();
    }

    /// Nothing more will be settled.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits until the run has begun; false where it ended before.
    pub(super) fn wait_begun(&self) -> bool {
        self.wait(|known| known.begun.then_some(())).is_some()
    }

    /// Waits for what came of one case; none where the run ended without it.
    pub(super) fn wait_settled(&self, id: &str) -> Option<Settled> {
        self.wait(|known| known.settled.get(id).cloned())
    }

    fn wait<T>(&self, look: impl Fn(&Known) -> Option<T>) -> Option<T> {
        let mut known = self.lock();
        loop {
            let found = look(&known);
            if found.is_some() || known.ended {
                return found;
            }
            known = self
                .changed
                .wait(known)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the board however the engine's thread ends, so that nobody waits for
/// ever.
pub(super) struct EndsWith<'a>(pub(super) &'a Board);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_waits_is_told_of_the_end() {
        let board = Arc::new(Board::default());
        let waiting = {
            let board = board.clone();
            std::thread::spawn(move || board.wait_settled("never.settled"))
        };
        drop(EndsWith(&board));
        assert_eq!(waiting.join().expect("no panic"), None);
        assert!(!board.wait_begun());
    }
}
