//! What the suite has to say of each defect.

use csi_drivers::defect::Kind;
use csi_harness::check::Outcome;

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) driver: Driver,
    /// The defect; empty: the honest driver.
    pub(crate) defect: &'static str,
    pub(crate) expect: Expect,
    /// The checks that are run; empty: all of them.
    pub(crate) only: &'static [&'static str],
}

/// A reference driver, and the way it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// The loop driver.
    Loop,
    /// The same, on a kernel that tells of mounts by mountinfo alone.
    LoopOldKernel,
    /// The same, with a device-mapper device over each loop device.
    Mapped,
    /// The NFS driver: it creates its volumes, and mounts them at publish.
    Nfs,
    /// The same, but it mounts at stage.
    NfsStaging,
    /// The NFS driver, with volumes that it did not create.
    NfsGiven,
    /// The FUSE driver.
    Fuse,
}

impl Driver {
    /// What it is told beside its defect.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Mapped => &["--driver-arg=--device-mapper"],
            Self::NfsStaging => &["--driver-arg=--stage"],
            _ => &[],
        }
    }

    /// In the name of a trial.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::LoopOldKernel => "loop-old-kernel",
            Self::Mapped => "mapped",
            Self::Nfs => "nfs",
            Self::NfsStaging => "nfs-staging",
            Self::NfsGiven => "nfs-given",
            Self::Fuse => "fuse",
        }
    }
}

impl Row {
    /// Which reference driver it is about.
    pub(crate) fn kind(&self) -> Kind {
        match self.driver {
            Driver::Loop | Driver::LoopOldKernel | Driver::Mapped => Kind::Loop,
            Driver::Fuse => Kind::Fuse,
            Driver::Nfs | Driver::NfsStaging | Driver::NfsGiven => Kind::Nfs,
        }
    }

    /// Whether a mount may come late, when a server is back: then the whole quiet
    /// period is waited for.
    pub(crate) fn waits_for_servers(&self) -> bool {
        let late = |filter: &&str| filter.starts_with("nfs-bg") || filter.starts_with("nfs-pub");
        self.only.is_empty() || self.only.iter().any(late)
    }

    /// The checks that are run: those that are to see the defect, those that own a step,
    /// and some that have nothing to do with it. For the honest driver, and where
    /// `CSI_DEFECTS_ALL` is set, all there are.
    pub(crate) fn filters(&self) -> Vec<&'static str> {
        let all = std::env::var_os("CSI_DEFECTS_ALL").is_some();
        match &self.expect {
            _ if !self.only.is_empty() => self.only.to_vec(),
            Expect::Caught { must, .. } if !all => {
                let must = must.iter().map(|(id, _)| *id);
                must.chain(OTHERS.iter().copied()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The name of its trial: `nfs/chmod-on-publish`.
    pub(crate) fn name(&self) -> String {
        let defect = match self.defect {
            "" => "honest",
            defect => defect,
        };
        format!("{}/{defect}", self.driver.name())
    }
}

/// What is due.
#[derive(Debug)]
pub(crate) enum Expect {
    /// Nothing is found.
    Clean,
    /// It is caught.
    Caught {
        /// Checks (without their case) of which at least one case has this
        /// outcome.
        must: &'static [(&'static str, Outcome)],
        /// Checks that look at the same thing from another side. A star at the
        /// end stands for anything.
        may: &'static [&'static str],
    },
}

pub(crate) const fn caught(
    defect: &'static str,
    must: &'static [(&'static str, Outcome)],
    may: &'static [&'static str],
) -> Row {
    Row {
        driver: Driver::Loop,
        defect,
        expect: Expect::Caught { must, may },
        only: &[],
    }
}

/// Those that own a step, those that judge the run, and some from all over the suite.
const OTHERS: &[&str] = &[
    "capability-is-required",
    "controller-publish.attaches",
    "controller-unpublish.detaches",
    "create-volume.creates",
    "delete-volume.",
    "disk-gone.kernel-log",
    "driver.answers",
    "driver.explains",
    "driver.keeps",
    "driver.leaves",
    "driver.mounts",
    "driver.no-helper",
    "driver.serves",
    "driver.speaks",
    "driver.stays",
    "get-plugin",
    "node-get",
    "node-publish.data-stays",
    "node-publish.mount-reaches-the-node",
    "node-publish.repeat",
    "node-publish.target-is",
    "node-publish.volumes-are-apart",
    "node-publish.writer-can-write",
    "node-stage.stages",
    "node-stats.numbers",
    "node-unpublish.mount-is-gone",
    "node-unpublish.target-is-removed",
    "node-unstage.device-is-released",
    "node-unstage.mount-is-gone",
    "not-offered",
    "pod-came-back",
    "probe",
];

use Outcome::{Fail, Warn};

/// Every defect of the loop driver, and the honest driver.
pub(crate) const LOOP: &[Row] = &[
    Row {
        driver: Driver::Loop,
        defect: "",
        expect: Expect::Clean,
        only: &[],
    },
    Row {
        driver: Driver::LoopOldKernel,
        defect: "",
        expect: Expect::Clean,
        only: &[],
    },
    // The defects that the suite was first made for.
    caught(
        "publish-binds-unmounted-staging",
        &[("node-publish.without-stage-is-refused", Fail)],
        &[
            "mount-lost.staging-is-missed",
            "node-unstage.failed-once-is-repaired",
        ],
    ),
    caught(
        "mount-error-swallowed",
        &[("node-stage.failed-mount-is-an-error", Fail)],
        // What it believes to be staged, it publishes.
        &[
            "mount-lost.staging-is-missed",
            "node-stage.failed-once-is-not-ok-later",
            "node-unstage.failed-once-is-repaired",
        ],
    ),
    caught(
        "unpublish-ok-still-mounted",
        &[("node-unpublish.busy-is-not-ok", Fail)],
        &["node-unpublish.data-survives-a-second-mount"],
    ),
    caught(
        "unstage-ok-still-mounted",
        &[("node-unstage.busy-is-not-ok", Fail)],
        &["at-once.stage-beside-unstage"],
    ),
    caught(
        "stack-on-repeat-publish",
        &[("node-publish.repeat-mounts-once", Fail)],
        &["node-publish.twice-at-once-mounts-once"],
    ),
    caught(
        "loop-left-after-unstage",
        &[("node-unstage.device-is-released", Fail)],
        &[],
    ),
    caught(
        "readonly-flag-ignored",
        &[("node-publish.read-only-takes-no-write", Fail)],
        &[
            "node-publish.read-only-leaves-the-writer",
            // Another `readonly` is one of the arguments it tries.
            "node-publish.other-arguments-are-not-ok",
        ],
    ),
    caught(
        "ro-bind-single-call",
        &[("node-publish.read-only-takes-no-write", Fail)],
        &["node-publish.read-only-leaves-the-writer"],
    ),
    caught(
        "mount-flags-dropped",
        &[("node-publish.mount-flags-are-in-force", Fail)],
        // It makes the mount fail by a flag that nobody knows.
        &["node-stage.failed-mount-is-an-error"],
    ),
    caught(
        "target-dir-left",
        &[("node-unpublish.target-is-removed", Fail)],
        &["mount-lost.is-undone-all-the-same"],
    ),
    caught(
        "umount-once-then-removeall",
        &[("node-unpublish.data-survives-a-second-mount", Fail)],
        // What is busy is emptied as well.
        &["node-unpublish.busy-is-not-ok"],
    ),
    caught(
        "mount-in-private-namespace",
        &[("node-publish.mount-reaches-the-node", Fail)],
        &[],
    ),
    caught(
        "repeat-unpublish-fails",
        &[
            ("node-unpublish.repeat-is-ok", Fail),
            ("node-unstage.repeat-is-ok", Fail),
        ],
        // Whatever has to be taken back twice.
        &["*"],
    ),
    caught(
        "stats-of-parent-fs",
        &[("node-stats.not-of-the-nodes-disk", Fail)],
        &[
            "node-stats.numbers-are-true",
            "mount-lost.stats-are-not-the-nodes",
        ],
    ),
    caught(
        "published-nothing",
        &[("node-publish.target-is-mounted", Fail)],
        &["node-publish.target-is-a-block-device"],
    ),
    caught(
        "wrong-volume",
        &[("node-publish.volumes-are-apart", Fail)],
        // Whatever is written, read or measured belongs to another volume, and
        // whose unmount is answered is as little told.
        &["delete-volume.leaves-copies-and-sources", "*"],
    ),
    caught("never-answers", &[("driver.answers-every-call", Fail)], &[]),
    caught("dies", &[("driver.stays-alive", Fail)], &[]),
    // Others, for which there is a check already.
    caught(
        "delete-in-use-ok",
        &[("delete-volume.in-use-is-refused", Fail)],
        // The device of a disk that is gone cannot be found any more.
        &["driver.leaves-nothing"],
    ),
    caught("edge-request-panics", &[("driver.stays-alive", Fail)], &[]),
    caught(
        "expand-noop-ok",
        &[
            ("node-expand.grows-and-keeps-the-data", Fail),
            ("node-expand.staged-volume-grows", Fail),
        ],
        &["node-expand.keeps-all-and-stays"],
    ),
    caught(
        "no-per-volume-lock",
        &[("node-stage.twice-at-once-mounts-once", Fail)],
        // Whichever of two at once comes second finds what the first is making.
        &[
            "node-publish.twice-at-once-mounts-once",
            "node-unstage.device-is-released",
            "driver.leaves-nothing",
            "driver.serves-many-at-once",
        ],
    ),
    caught(
        "ro-block-bind-only",
        &[("node-publish.read-only-takes-no-write", Warn)],
        &[],
    ),
    caught(
        "secret-in-log",
        &[
            ("driver.keeps-secrets", Fail),
            ("driver.keeps-canaries", Fail),
        ],
        &[],
    ),
    caught(
        "size-rounded-down",
        &[("create-volume.odd-size-is-not-rounded-down", Fail)],
        &[],
    ),
    caught(
        "snsw-not-enforced",
        &[("node-publish.single-writer-is-single", Warn)],
        &[],
    ),
    caught(
        "unadvertised-rpc-panics",
        &[("driver.stays-alive", Fail)],
        &[],
    ),
    caught(
        "wipes-on-stage",
        &[("node-stage.keeps-the-data", Fail)],
        &[
            "delete-volume.leaves-copies-and-sources",
            "node-expand.grows-and-keeps-the-data",
            "node-stage.repeat-mounts-once",
            "pod-came-back.stage-again-at-once",
            "delete-volume.*",
        ],
    ),
    caught(
        "chmod-on-publish",
        &[("node-publish.mode-is-kept", Warn)],
        &[
            "create-volume.copy-is-whole",
            "node-expand.keeps-all-and-stays",
            "node-publish.keeps-all-that-was-left",
            "node-stage.keeps-all-that-was-left",
        ],
    ),
    caught("wrong-stats", &[("node-stats.numbers-are-true", Fail)], &[]),
    caught(
        "block-formatted-as-mount",
        &[("node-publish.new-block-volume-is-raw", Fail)],
        &[
            "create-volume.copy-is-whole",
            "node-stage.keeps-all-that-was-left",
            "node-publish.new-volume-is-empty",
        ],
    ),
    caught("zombie-children", &[("driver.gathers-nothing", Fail)], &[]),
    // Caught by its consequences: every check that has a call refused on its way.
    caught(
        "lock-not-released",
        &[("node-unpublish.busy-is-not-ok", Fail)],
        &["*"],
    ),
];
