//! report.json, the source of all other formats.

use crate::check::{LedgerEntry, Outcome, Settled};
use serde::{Deserialize, Serialize};

/// What a run says of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All that the driver offers was checked, and holds.
    Conformant,
    /// Nothing failed, but something was filtered, blocked, expected to fail,
    /// or skipped for want of host or user.
    Partial,
    /// An `unknown` or an `error` stands.
    Unknown,
    /// Something failed.
    Nonconformant,
}

/// How many checks came to which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of Outcome")]
pub struct Totals {
    pub pass: usize,
    pub warn: usize,
    pub fail: usize,
    pub skip: usize,
    pub blocked: usize,
    pub expected_fail: usize,
    pub unknown: usize,
    pub error: usize,
}

/// The driver as it describes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverInfo {
    /// `GetPluginInfo.name`.
    pub name: String,
    /// `GetPluginInfo.vendor_version`.
    pub version: String,
    /// Where it was asked.
    pub endpoint: String,
    /// Plugin, controller and node capabilities, by service.
    pub capabilities: std::collections::BTreeMap<String, Vec<String>>,
}

/// What made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteInfo {
    /// The version of this crate.
    pub version: String,
    /// The commit it was built from, or `unknown`.
    pub commit: String,
    /// The newest CSI release that it speaks.
    pub spec: String,
}

/// The machine that the run was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostInfo {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// Facts by name: `root`, `loop`, `ext4`, …: `yes`, or why not.
    pub features: std::collections::BTreeMap<String, String>,
}

/// What the run could see and was allowed to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Checks that the suite has, cases counted.
    pub checks_in_suite: usize,
    /// Checks that were selected.
    pub selected: usize,
    /// The filters that were given, in words.
    pub filters: Vec<String>,
    /// What the user allowed (`restart`, `hang`, …).
    pub allowed: Vec<String>,
    /// Whether the driver's mount namespace could be read, and whose it is.
    pub driver_namespace: String,
    /// How mounts and unmounts were watched, and whose.
    #[serde(default)]
    pub mounts_watched: String,
    /// Deadline of a call, in milliseconds, where not set for the method.
    pub deadline_ms: u64,
    /// How long was waited, at the end, for what comes late, in milliseconds.
    pub quiet_period_ms: u64,
    /// What the user said, secrets masked.
    pub config: serde_json::Value,
}

/// A whole run: the content of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this format.
    pub schema: u32,
    /// What the run says.
    pub verdict: Verdict,
    /// Whom it says it of.
    pub driver: DriverInfo,
    /// What made it.
    pub suite: SuiteInfo,
    /// Where.
    pub host: HostInfo,
    /// What was asked and what could be seen.
    pub scope: Scope,
    /// The command that runs one check again, with its id put behind it; empty
    /// where nobody said.
    #[serde(default)]
    pub rerun: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: u64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Calls made.
    pub calls: u64,
    /// Outcomes, counted.
    pub totals: Totals,
    /// Every check, sorted by id.
    pub checks: Vec<Settled>,
    /// What the driver left behind.
    pub ledger: Vec<LedgerEntry>,
}

impl Totals {
    /// Counts.
    pub fn of(checks: &[Settled]) -> Self {
        let mut totals = Self::default();
        for check in checks {
            *match check.outcome {
                Outcome::Pass => &mut totals.pass,
                Outcome::Warn => &mut totals.warn,
                Outcome::Fail => &mut totals.fail,
                Outcome::Skip => &mut totals.skip,
                Outcome::Blocked => &mut totals.blocked,
                Outcome::ExpectedFail => &mut totals.expected_fail,
                Outcome::Unknown => &mut totals.unknown,
                Outcome::Error => &mut totals.error,
            } += 1;
        }
        totals
    }
}
