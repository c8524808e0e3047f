//! One call at a time for each volume; the next is told ABORTED, and comes again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Status;

/// The volumes that a call is at work on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Locks(Arc<Mutex<HashSet<String>>>);

impl Locks {
    /// Claims a volume until the guard is dropped. The guard goes with the work
    /// and not with the call, so a caller that gave up does not set it free.
    ///
    /// # Errors
    ///
    /// ABORTED while another call holds it.
    pub(crate) fn hold(&self, key: &str) -> Result<Held, Status> {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(key.to_owned()) {
            return Err(Status::aborted("another call for this volume is under way"));
        }
        Ok(Held {
            locks: self.clone(),
            key: key.to_owned(),
        })
    }
}

/// A claim on one volume.
#[derive(Debug)]
pub(crate) struct Held {
    locks: Locks,
    key: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut busy = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_until_the_first_ends() {
        let locks = Locks::default();
        let first = locks.hold("a").expect("free");
        let refused = locks.hold("a").expect_err("held");
        assert_eq!(refused.code(), tonic::Code::Aborted);
        assert!(locks.hold("b").is_ok());
        drop(first);
        assert!(locks.hold("a").is_ok());
    }
}
