//! What came of a check, and what was seen on the way.

use serde::{Deserialize, Serialize};

use crate::client::CallRecord;

/// What came of one check (or one case of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// A SHOULD was broken.
    Warn,
    /// A MUST was broken.
    Fail,
    /// A need is missing: [`Skip`] says which, and who lacks it.
    Skip,
    /// A step that the check only needed failed; another finding tells of it.
    Blocked,
    /// It failed, and the user had said so, with a reason.
    ExpectedFail,
    /// We could not tell.
    Unknown,
    /// Our own fault.
    Error,
}

/// Who would have to provide what a skipped check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lacking {
    /// The driver does not offer it: nothing is lost for the verdict.
    Driver,
    /// This machine cannot do it.
    Host,
    /// The user has not allowed or configured it.
    User,
}

/// Why a check did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// What was lacking, in words.
    pub need: String,
    /// Who lacks it.
    pub lacking: Lacking,
}

/// How much a clause asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Recommended: a breach is a warning.
    #[serde(rename = "SHOULD")]
    Should,
    /// Required: a breach is a failure.
    #[serde(rename = "MUST")]
    Must,
}

/// Where the strength of a clause comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The CSI specification says so, or it follows from what it says.
    Specification,
    /// The kubelet or a sidecar needs it beyond the specification.
    Kubernetes,
    /// Stated nowhere, but whoever breaks it loses or exposes data.
    Integrity,
}

/// One requirement on a driver, in our own words.
#[derive(Debug, PartialEq, Eq)]
pub struct Clause {
    /// Its id in the matrix of requirements, e.g. `node.publish.mount_at_target`.
    pub id: &'static str,
    /// How much it asks.
    pub level: Level,
    /// Who asks it.
    pub basis: Basis,
    /// The requirement, in our own words.
    pub text: &'static str,
    /// The section of the specification.
    pub section: &'static str,
    /// Where to read it.
    pub url: &'static str,
}

/// A clause as it stands in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClauseRef {
    /// See [`Clause::id`].
    pub id: String,
    /// See [`Clause::level`].
    pub level: Level,
    /// See [`Clause::basis`].
    pub basis: Basis,
    /// See [`Clause::text`].
    pub text: String,
    /// See [`Clause::section`].
    pub section: String,
    /// See [`Clause::url`].
    pub url: String,
}

/// A real bug of the kind that a check looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenIn {
    /// `owner/repo#number`.
    pub issue: String,
    /// What happened there.
    pub what: String,
    /// Its address.
    pub url: String,
}

/// One thing that was seen, in the order of seeing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Evidence {
    /// A call and its answer.
    Call(CallRecord),
    /// The mounts at one path.
    Mounts {
        /// Where we looked.
        path: String,
        /// When: `before`, `at OK`, `after unpublish`, `+3.10 s`.
        when: String,
        /// The lines of mountinfo, unescaped for reading; none: nothing mounted.
        lines: Vec<String>,
        /// What was expected instead, where it was not this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<String>,
    },
    /// The body ended here: what follows was asked and seen while everything was
    /// taken back.
    TakenBack,
    /// Anything else that was seen.
    Fact {
        /// A word or two: `marker`, `device`, `driver's namespace`.
        label: String,
        /// What was seen.
        text: String,
    },
}

/// One thing that an honest driver would have taken away again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The check in whose negation it stayed.
    pub check: String,
    /// `mount`, `target path`, `loop device`, `volume`, …
    pub what: String,
    /// The path, device or volume id.
    pub object: String,
    /// The check that owns findings of this kind, where there is one.
    pub owner: Option<String>,
    /// What became of it: `removed by force`, `left: not ours any more`, ….
    pub then: String,
}

/// A check that is settled: nothing will change its outcome any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The check's id, with its case: `node-publish.read-only[xfs]`.
    pub id: String,
    /// The first line of its doc comment.
    pub headline: String,
    /// The strongest level among its clauses.
    pub level: Level,
    /// Where that strength comes from.
    pub basis: Basis,
    /// What came of it.
    pub outcome: Outcome,
    /// One sentence: what was found, skipped or blocked; empty for a pass.
    pub message: String,
    /// Milliseconds from the start of its body to the end of its cleaning.
    pub duration_ms: u64,
    /// Calls that it made, cleaning included.
    #[serde(default)]
    pub calls: u64,
    /// Volumes that its body took or created.
    #[serde(default)]
    pub volumes: u64,
    /// The clauses that it stands for.
    pub clauses: Vec<ClauseRef>,
    /// Why it did not run, for `skip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    /// The check whose finding explains it, for `blocked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// The user's reason, for `expected_fail` and for an unexpected pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen, in order.
    pub evidence: Vec<Evidence>,
    /// Real bugs of this kind.
    pub seen_in: Vec<SeenIn>,
    /// What the driver's author should look at.
    pub look_at: String,
}

impl Settled {
    /// What was seen until the body ended; or all, where the finding is what was
    /// left after it.
    pub fn evidence_of_body(&self) -> &[Evidence] {
        let end = self
            .evidence
            .iter()
            .position(|seen| *seen == Evidence::TakenBack);
        match end {
            Some(end) if !self.message.starts_with("left behind") => &self.evidence[..end],
            _ => &self.evidence,
        }
    }
}
