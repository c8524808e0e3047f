//! Calls that worked only when they were made again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Session;

/// How the calls that take something back fared, by RPC.
#[derive(Debug, Default)]
pub(super) struct SecondTries(Mutex<BTreeMap<&'static str, SecondTry>>);

/// How the calls of one RPC fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecondTry {
    /// The RPC.
    pub rpc: &'static str,
    /// How many were OK in the end.
    pub ok: usize,
    /// How many of these were refused before.
    pub refused_first: usize,
    /// The first refusal, in words.
    pub refusal: String,
}

impl Session {
    /// A call was OK in the end; `refusal`: what the first of equal calls was refused with.
    pub(in crate::check) fn was_ok(&self, rpc: &'static str, refusal: Option<String>) {
        let mut tries = self
            .second_tries
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tried = tries.entry(rpc).or_default();
        (tried.rpc, tried.ok) = (rpc, tried.ok + 1);
        if let Some(refusal) = refusal {
            tried.refused_first += 1;
            if tried.refusal.is_empty() {
                tried.refusal = refusal;
            }
        }
    }

    /// RPCs of which most calls were refused at first, and OK when they were made again
    /// with nothing changed by us. A few may have met something that was busy.
    pub fn second_tries(&self) -> Vec<SecondTry> {
        let tries = self
            .second_tries
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_rule = |tried: &&SecondTry| tried.is_the_rule();
        tries.values().filter(is_rule).cloned().collect()
    }
}

impl SecondTry {
    /// Whether this is how the driver works, and no accident.
    fn is_the_rule(&self) -> bool {
        const FEW: usize = 3;
        self.refused_first >= FEW && self.refused_first * 2 > self.ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_that_were_busy_are_no_rule() {
        let tried = |ok, refused_first| SecondTry {
            ok,
            refused_first,
            ..SecondTry::default()
        };
        assert!(!tried(2, 2).is_the_rule());
        assert!(!tried(40, 20).is_the_rule());
        assert!(tried(40, 21).is_the_rule());
        assert!(tried(3, 3).is_the_rule());
    }
}
