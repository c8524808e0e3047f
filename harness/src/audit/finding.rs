//! One thing found wrong, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::facts::{Facts, Volume};

/// The version of the JSON that [`Audit`] makes. A change that breaks readers
/// makes it greater.
pub const SCHEMA: u32 = 1;

/// What an audit found.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who looked.
    pub tool: Tool,
    /// The folder that was looked at.
    pub kubelet_root: String,
    /// How many mounts are below it.
    pub mounts: usize,
    /// What is wrong: sorted by kind, then by path.
    pub findings: Vec<Finding>,
    /// What could not be looked at, and why.
    pub lacking: Vec<String>,
}

/// Who looked.
#[derive(Debug, Clone, Serialize)]
pub struct Tool {
    /// `csi-conformance`.
    pub name: &'static str,
    /// Of this crate.
    pub version: &'static str,
}

/// What kind of trouble it is. The words are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A mount whose device the kernel no longer has.
    DeviceGone,
    /// A mount that answers with an error, or whose device cannot be read.
    DeadMount,
    /// A mount that does not answer.
    HangingMount,
    /// Mounts that lie on one another at one point.
    StackedMounts,
    /// A staging mount that no pod has.
    OrphanedStaging,
    /// Two volumes that are staged from one device and root.
    TwinVolumes,
    /// A loop device whose file was removed.
    LoopWithoutFile,
    /// Errors in the kernel log, of a device that is mounted here.
    KernelLog,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::DeviceGone,
        Self::DeadMount,
        Self::HangingMount,
        Self::StackedMounts,
        Self::OrphanedStaging,
        Self::TwinVolumes,
        Self::LoopWithoutFile,
        Self::KernelLog,
    ];

    /// Its word in the format.
    pub fn word(self) -> &'static str {
        match self {
            Self::DeviceGone => "device-gone",
            Self::DeadMount => "dead-mount",
            Self::HangingMount => "hanging-mount",
            Self::StackedMounts => "stacked-mounts",
            Self::OrphanedStaging => "orphaned-staging",
            Self::TwinVolumes => "twin-volumes",
            Self::LoopWithoutFile => "loop-without-file",
            Self::KernelLog => "kernel-log",
        }
    }

    /// What it leads to, and where it comes from.
    pub fn means(self) -> &'static str {
        match self {
            Self::DeviceGone => {
                "the mount point outlived its disk: every access ends in an error, and the volume \
                 was detached before it was unstaged"
            }
            Self::DeadMount => {
                "pods get errors from it, and the kubelet cannot stage there again: a process that \
                 served it has ended, or its disk or server is gone"
            }
            Self::HangingMount => {
                "whoever touches it waits in the kernel and cannot be killed: its server or disk \
                 does not answer"
            }
            Self::StackedMounts => {
                "one unmount uncovers the next: the kubelet counts the volume as gone, and it stays \
                 mounted; a publish or stage was repeated without a look"
            }
            Self::OrphanedStaging => {
                "nobody will ever unstage it: the volume stays mounted here, and a detach pulls the \
                 disk from under it"
            }
            Self::TwinVolumes => {
                "the kubelet takes each for a reference to the other, and never unstages either"
            }
            Self::LoopWithoutFile => {
                "the space of the file comes back only when the device is let go; a delete came \
                 before the unstage, or an unstage forgot its device"
            }
            Self::KernelLog => "the kernel met errors on a device that is mounted here",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// In one sentence.
    pub headline: String,
    /// Where: mount points, or a device.
    pub paths: Vec<String>,
    /// The volumes that it is about, as far as the kubelet wrote it down.
    pub volumes: Vec<Volume>,
    /// The UIDs of the pods that it is about.
    pub pods: Vec<String>,
    /// What was seen besides.
    pub facts: Vec<String>,
    /// The lines of mountinfo, from the bottom to the top where they are stacked.
    pub mounts: Vec<String>,
    /// The lines of the kernel log that name the device, with seconds since boot.
    pub kernel_log: Vec<String>,
    /// What makes it the same one at the second look.
    #[serde(skip)]
    pub(super) subject: String,
    /// The kernel's words for its device.
    #[serde(skip)]
    pub(super) devices: Vec<String>,
}

impl Finding {
    /// Nothing but a headline yet.
    pub(super) fn new(kind: Kind, subject: impl fmt::Display, headline: impl Into<String>) -> Self {
        Self {
            kind,
            headline: headline.into(),
            paths: Vec::new(),
            volumes: Vec::new(),
            pods: Vec::new(),
            facts: Vec::new(),
            mounts: Vec::new(),
            kernel_log: Vec::new(),
            subject: subject.to_string(),
            devices: Vec::new(),
        }
    }

    /// Whether it is the same thing, at another time.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.subject == other.subject
    }
}

impl Audit {
    pub(super) fn new(facts: &Facts, findings: Vec<Finding>) -> Self {
        Self {
            schema: SCHEMA,
            tool: Tool {
                name: "csi-conformance",
                version: env!("CARGO_PKG_VERSION"),
            },
            kubelet_root: facts.root.to_string_lossy().into_owned(),
            mounts: facts.table.under(&facts.root).len(),
            findings,
            lacking: facts.lacking.clone(),
        }
    }

    /// How many there are of each kind, in the order of the kinds.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(finding.kind).or_default() += 1;
        }
        counts
    }
}
