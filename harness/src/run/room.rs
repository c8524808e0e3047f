//! Whether one more case finds room on the node, and volumes to work with.

use std::collections::HashMap;

use super::plan::Planned;
use crate::check::{Access, Facts};

/// The volumes of the cases that run.
#[derive(Debug)]
pub(super) struct Room<'a> {
    facts: &'a Facts,
    /// On the node at once.
    most: u32,
    used: HashMap<Access, u32>,
}

impl<'a> Room<'a> {
    /// With nothing in it.
    pub(super) fn new(facts: &'a Facts, most: u32) -> Self {
        Self {
            facts,
            most,
            used: HashMap::new(),
        }
    }

    /// Whether this case can run beside those that do. Of volumes that the user
    /// named, a case that finds none free could only be skipped.
    pub(super) fn has(&self, case: &Planned) -> bool {
        let wanted = case.check.volumes;
        let used: u32 = self.used.values().sum();
        if used == 0 || wanted == 0 {
            return true;
        }
        let given = self.facts.given(None);
        let of_kind = self.access(case).and_then(|access| {
            let used = self.used.get(&access).copied().unwrap_or_default();
            Some(used + wanted <= self.facts.given(Some(access))?)
        });
        used + wanted <= self.most
            && given.is_none_or(|given| used + wanted <= given)
            && of_kind.unwrap_or(true)
    }

    /// It runs.
    pub(super) fn take(&mut self, case: &Planned) {
        if let Some(access) = self.access(case) {
            *self.used.entry(access).or_default() += case.check.volumes;
        }
    }

    /// It ended.
    pub(super) fn give(&mut self, case: &Planned) {
        if let Some(used) = self
            .access(case)
            .and_then(|access| self.used.get_mut(&access))
        {
            *used = used.saturating_sub(case.check.volumes);
        }
    }

    /// A case without a kind takes the first that there is.
    fn access(&self, case: &Planned) -> Option<Access> {
        let first = || self.facts.kinds().into_iter().next();
        case.kind.clone().or_else(first).map(|kind| kind.access())
    }
}
