//! The arguments of many processes, of which some may hang.
//!
//! The kernel takes arguments from a process's memory. That waits for one that hangs while
//! it changes its mappings, for as long as its disk or server does, and it may be anybody's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ProcessId;

/// How long one process may take. An honest answer takes a few microseconds, and on a
/// crowded machine its turn to be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The processes whose arguments are being read, since when.
static ASKED: Mutex<BTreeMap<ProcessId, Instant>> = Mutex::new(BTreeMap::new());

/// Their arguments, in the same order; none for one that has ended, or hangs.
pub(super) fn cmdlines(ids: &[ProcessId]) -> Vec<Vec<OsString>> {
    each(ids, PATIENCE, |id| match begin(id) {
        Asked::Hangs => Vec::new(),
        Asked::ByAnother => id.cmdline().unwrap_or_default(),
        Asked::ByUs => {
            let words = id.cmdline().unwrap_or_default();
            asked(|all| {
                all.remove(&id);
            });
            words
        }
    })
}

/// Who waits for a process.
enum Asked {
    /// Another thread, in vain.
    Hangs,
    /// Another thread, for a moment.
    ByAnother,
    /// This thread from now on.
    ByUs,
}

fn begin(id: ProcessId) -> Asked {
    asked(|all| match all.get(&id) {
        Some(since) if since.elapsed() > PATIENCE => Asked::Hangs,
        Some(_) => Asked::ByAnother,
        None => {
            all.insert(id, Instant::now());
            Asked::ByUs
        }
    })
}

fn asked<T>(change: impl FnOnce(&mut BTreeMap<ProcessId, Instant>) -> T) -> T {
    change(&mut ASKED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is read of each, in the same order; a default for one that takes longer. A thread
/// that waits for one is left to it, and the next begins behind it.
fn each<I, T>(
    ids: &[I],
    patience: Duration,
    read: impl Fn(I) -> T + Copy + Send + 'static,
) -> Vec<T>
where
    I: Copy + Send + 'static,
    T: Default + Send + 'static,
{
    let mut all = Vec::with_capacity(ids.len());
    while let Some(rest) = ids.get(all.len()..).filter(|rest| !rest.is_empty()) {
        let rest = rest.to_vec();
        let (tell, told) = mpsc::channel();
        let reader = std::thread::Builder::new().name("csi-cmdline".to_owned());
        let begun = reader.spawn(move || {
            for id in rest {
                if tell.send(read(id)).is_err() {
                    return;
                }
            }
        });
        if begun.is_err() {
            break;
        }
        loop {
            match told.recv_timeout(patience) {
                Ok(found) => all.push(found),
                Err(RecvTimeoutError::Timeout) => {
                    all.push(T::default());
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }
    all.resize_with(ids.len(), T::default);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_hangs_is_left_out() {
        let read = |number: u32| match number {
            // As long as this test runs.
            2 | 3 => {
                std::thread::park();
                number
            }
            _ => number,
        };
        let found = each(&[1, 2, 3, 4], Duration::from_millis(100), read);
        assert_eq!(found, [1, 0, 0, 4]);
        assert_eq!(each(&[], PATIENCE, read), [0; 0]);
    }
}
