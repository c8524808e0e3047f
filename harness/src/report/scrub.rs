//! Secret values, taken out wherever a driver echoed them.
//!
//! Secret *fields* are masked where a message is recorded; this is the second
//! net, for what a driver puts into its error messages, ids and contexts.

use super::Report;
use crate::check::{CallRecord, Evidence, LedgerEntry, Settled};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

mod forms;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// Values shorter than this, in bytes, are masked only where they are a whole
/// string: `no` or `42` would otherwise be cut out of ordinary words.
const SHORTEST_PART: usize = 4;

/// Masks secret values: as they are, and as they look in JSON, base64 and
/// percent encoding.
pub struct Scrubber {
    /// Masked wherever they occur.
    parts: Vec<String>,
    /// Masked where they are the whole string.
    wholes: BTreeSet<String>,
}

impl fmt::Debug for Scrubber {
    /// Says how many values it knows, and none of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, wholes) = (self.parts.len(), self.wholes.len());
        write!(f, "Scrubber({parts} forms, {wholes} short values)")
    }
}

impl Scrubber {
    /// A scrubber of these values; empty ones are no secret.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut parts = BTreeSet::new();
        let mut wholes = BTreeSet::new();
        for secret in secrets {
            match secret.as_ref() {
                "" => {}
                short if short.len() < SHORTEST_PART => {
                    wholes.insert(short.to_owned());
                }
                secret => parts.extend(forms::of(secret)),
            }
        }
        Self {
            parts: parts.into_iter().collect(),
            wholes,
        }
    }

    /// Masks the secrets within a text.
    pub fn scrub_str(&self, text: &mut String) {
        if self.wholes.contains(text.as_str()) {
            MASK.clone_into(text);
            return;
        }
        let found = self.spans(text);
        if found.is_empty() {
            return;
        }
        let mut clean = String::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in found {
            clean.push_str(&text[from..start]);
            clean.push_str(MASK);
            from = end;
        }
        clean.push_str(&text[from..]);
        *text = clean;
    }

    /// Where secrets stand, sorted, overlapping ones made one: of two secrets
    /// that share bytes, neither may leave its end standing.
    fn spans(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for part in &self.parts {
            // A secret may overlap itself (`abab` in `ababab`), so the next
            // search begins one character later, not behind the find.
            let step = part.chars().next().map_or(1, char::len_utf8);
            let mut from = 0;
            while let Some(at) = text[from..].find(part.as_str()) {
                let start = from + at;
                found.push((start, start + part.len()));
                from = start + step;
            }
        }
        found.sort_unstable();
        found.dedup_by(|next, kept| {
            let overlaps = next.0 < kept.1;
            if overlaps {
                kept.1 = kept.1.max(next.1);
            }
            overlaps
        });
        found
    }

    /// Masks the secrets in every string of a JSON value, keys of objects and
    /// numbers too: a driver may echo a secret as either.
    pub fn scrub_json(&self, value: &mut Value) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::String(text) => self.scrub_str(text),
            Value::Number(number) => {
                let text = number.to_string();
                if self.parts.contains(&text) {
                    *value = Value::from(MASK);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.scrub_json(item)),
            Value::Object(fields) => {
                *fields = std::mem::take(fields).into_iter().fold(
                    Map::new(),
                    |mut clean, (mut key, mut value)| {
                        self.scrub_str(&mut key);
                        self.scrub_json(&mut value);
                        // Two keys that are both masked remain two entries.
                        while clean.contains_key(&key) {
                            key.push('\'');
                        }
                        clean.insert(key, value);
                        clean
                    },
                );
            }
        }
    }

    /// Masks the secrets in a call and its answer.
    pub fn scrub_call(&self, call: &mut CallRecord) {
        self.scrub_json(&mut call.request);
        self.scrub_str(&mut call.message);
        self.scrub_json(&mut call.response);
    }

    /// Masks the secrets in a settled check. Ids, headlines, clauses and the
    /// bugs seen elsewhere are the suite's own words and stay as they are.
    pub fn scrub_settled(&self, check: &mut Settled) {
        self.scrub_str(&mut check.message);
        if let Some(skip) = &mut check.skip {
            self.scrub_str(&mut skip.need);
        }
        if let Some(reason) = &mut check.expected {
            self.scrub_str(reason);
        }
        check
            .evidence
            .iter_mut()
            .for_each(|e| self.scrub_evidence(e));
    }

    fn scrub_evidence(&self, evidence: &mut Evidence) {
        match evidence {
            Evidence::TakenBack => {}
            Evidence::Call(call) => self.scrub_call(call),
            Evidence::Mounts {
                path,
                when: _,
                lines,
                expected,
            } => {
                self.scrub_str(path);
                lines
                    .iter_mut()
                    .chain(expected)
                    .for_each(|t| self.scrub_str(t));
            }
            Evidence::Fact { label: _, text } => self.scrub_str(text),
        }
    }

    fn scrub_ledger(&self, entry: &mut LedgerEntry) {
        self.scrub_str(&mut entry.object);
        self.scrub_str(&mut entry.then);
    }

    /// Masks the secrets in a whole report.
    pub fn scrub_report(&self, report: &mut Report) {
        let driver = &mut report.driver;
        for text in [&mut driver.name, &mut driver.version, &mut driver.endpoint] {
            self.scrub_str(text);
        }
        for names in driver.capabilities.values_mut() {
            names.iter_mut().for_each(|name| self.scrub_str(name));
        }
        for text in report.host.features.values_mut() {
            self.scrub_str(text);
        }
        self.scrub_str(&mut report.scope.driver_namespace);
        self.scrub_json(&mut report.scope.config);
        report.checks.iter_mut().for_each(|c| self.scrub_settled(c));
        report.ledger.iter_mut().for_each(|e| self.scrub_ledger(e));
    }
}
