//! The same for the NFS driver. A run takes its time in a virtual machine, so each
//! defect is met by the checks that have to do with it, and by some that have not.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Driver, Expect, Row, caught};

/// A row of this driver, for these checks.
const fn of(driver: Driver, only: &'static [&'static str], row: Row) -> Row {
    Row {
        driver,
        only,
        ..row
    }
}

const fn honest(driver: Driver, only: &'static [&'static str]) -> Row {
    Row {
        driver,
        defect: "",
        expect: Expect::Clean,
        only,
    }
}

/// The honest driver in each of its ways, and the defects that NFS is known for.
pub(crate) const NFS: &[Row] = &[
    honest(
        Driver::Nfs,
        &[
            "nfs-",
            "delete-volume",
            "driver.",
            "node-publish.mode",
            "node-publish.mount-flags",
            "node-publish.read-only-takes",
            "node-publish.repeat",
            "node-publish.target",
            "node-stats.numbers",
            "node-unpublish",
        ],
    ),
    honest(
        Driver::NfsStaging,
        &[
            "node-stage",
            "node-unstage",
            "node-publish.read-only",
            "node-publish.without",
            "nfs-bg",
            "nfs-stale",
        ],
    ),
    honest(
        Driver::NfsGiven,
        &["node-publish.context", "node-publish.target", "nfs-bg.ok"],
    ),
    of(
        Driver::Nfs,
        &["nfs-bg", "node-publish.target"],
        caught(
            "nfs-bg-trusted",
            &[
                ("nfs-bg.ok-means-mounted", Fail),
                ("nfs-bg.nothing-comes-after-the-answer", Fail),
                ("nfs-bg.nothing-comes-after-unpublish", Fail),
                ("nfs-bg.no-helper-stays", Fail),
            ],
            &[],
        ),
    ),
    of(
        Driver::NfsStaging,
        &["nfs-bg.no", "node-stage.stages"],
        caught(
            "nfs-bg-trusted",
            &[
                ("nfs-bg.nothing-comes-after-unpublish", Fail),
                ("nfs-bg.no-helper-stays", Fail),
            ],
            &["nfs-bg.*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["nfs-publish.frozen", "node-publish.target"],
        caught(
            "publish-timeout-abandons-mount",
            &[("nfs-publish.frozen-server-is-an-error", Fail)],
            &["nfs-publish.*"],
        ),
    ),
    of(
        Driver::Nfs,
        &[
            "nfs-publish.denied",
            "nfs-publish.stopped",
            "nfs-publish.missing",
            "nfs-publish.version",
            "node-publish.target",
        ],
        caught(
            "mount-error-swallowed",
            &[
                ("nfs-publish.denied-access-is-an-error", Fail),
                ("nfs-publish.stopped-server-is-an-error", Fail),
                ("nfs-publish.missing-export-is-an-error", Fail),
                ("nfs-publish.version-not-served-is-an-error", Fail),
            ],
            &["nfs-publish.*", "node-publish.unknown-volume-is-not-found"],
        ),
    ),
    of(
        Driver::Nfs,
        &[
            "nfs-version",
            "node-publish.mount-flags",
            "node-publish.target",
        ],
        caught(
            "mount-flags-dropped",
            &[
                ("node-publish.mount-flags-are-in-force", Fail),
                ("nfs-version.is-as-asked", Fail),
            ],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.read-only", "node-publish.target"],
        caught(
            "readonly-flag-ignored",
            &[("node-publish.read-only-takes-no-write", Fail)],
            &[
                "node-publish.read-only-leaves-the-writer",
                "node-publish.other-arguments-are-not-ok",
            ],
        ),
    ),
    of(
        Driver::Nfs,
        &[
            "node-publish.repeat",
            "node-publish.target",
            "node-unpublish.mount",
        ],
        caught(
            "stack-on-repeat-publish",
            &[("node-publish.repeat-mounts-once", Fail)],
            &["node-publish.twice-at-once-mounts-once"],
        ),
    ),
    of(
        Driver::Nfs,
        &[
            "nfs-frozen.stats",
            "nfs-frozen.others",
            "node-stats.numbers",
        ],
        caught(
            "stats-block-forever",
            &[
                ("nfs-frozen.stats-come-to-an-end", Warn),
                ("nfs-frozen.others-go-on", Warn),
            ],
            &["nfs-frozen.*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["nfs-stale", "node-unpublish.mount"],
        caught(
            "estale-blocks-unpublish",
            &[("nfs-stale.unpublish-works", Warn)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["nfs-stale", "node-publish.repeat"],
        caught(
            "already-mounted-no-health-check",
            &[("nfs-stale.repeat-is-not-ok", Warn)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["nfs-frozen.others", "node-publish.target"],
        caught(
            "global-mutex",
            &[("nfs-frozen.others-go-on", Warn)],
            &["nfs-frozen.*"],
        ),
    ),
    of(
        Driver::NfsGiven,
        &["node-publish.context", "node-publish.target"],
        caught(
            "same-handle-context-ignored",
            &[("node-publish.context-decides", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.mode", "node-publish.target"],
        caught(
            "chmod-on-publish",
            &[("node-publish.mode-is-kept", Warn)],
            &[
                "node-publish.keeps-all-that-was-left",
                "node-stage.keeps-all-that-was-left",
            ],
        ),
    ),
    of(
        Driver::Nfs,
        &["delete-volume.data", "node-publish.target"],
        caught(
            "delete-does-nothing",
            &[("delete-volume.data-is-gone", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["delete-volume.leaves"],
        caught(
            "delete-removes-parent",
            &[("delete-volume.leaves-the-others", Fail)],
            // Whoever deletes a volume deletes all others.
            &["*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver.keeps", "node-publish.target"],
        caught(
            "secret-in-log",
            &[
                ("driver.keeps-canaries", Fail),
                ("driver.keeps-secrets", Fail),
            ],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["delete-volume.stays", "node-publish.target"],
        caught(
            "volume-id-traversal",
            &[("delete-volume.stays-in-its-place", Fail)],
            &[],
        ),
    ),
];

/// Those that the loop driver has too, and the gaps: they are run when somebody asks
/// for them (`ci/nfs`, with CSI_NFS_ALL set), since a virtual machine takes its time.
pub(crate) const MORE: &[Row] = &[
    honest(Driver::Nfs, &[]),
    of(
        Driver::Nfs,
        &["node-unpublish.target", "node-publish.target"],
        caught(
            "target-dir-left",
            &[("node-unpublish.target-is-removed", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-unpublish.busy", "node-unpublish.mount"],
        caught(
            "unpublish-ok-still-mounted",
            &[("node-unpublish.busy-is-not-ok", Fail)],
            &["node-unpublish.data-survives-a-second-mount"],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-unpublish.data", "node-unpublish.mount"],
        caught(
            "umount-once-then-removeall",
            &[("node-unpublish.data-survives-a-second-mount", Fail)],
            &["node-unpublish.busy-is-not-ok"],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-unpublish.repeat", "node-unpublish.mount"],
        caught(
            "repeat-unpublish-fails",
            &[("node-unpublish.repeat-is-ok", Fail)],
            &[],
        ),
    ),
    of(
        Driver::NfsStaging,
        &["node-publish.without", "node-publish.target"],
        caught(
            "publish-binds-unmounted-staging",
            &[("node-publish.without-stage-is-refused", Fail)],
            &[],
        ),
    ),
    of(
        Driver::NfsStaging,
        &["node-unstage.busy", "node-unstage.mount"],
        caught(
            "unstage-ok-still-mounted",
            &[("node-unstage.busy-is-not-ok", Fail)],
            &[],
        ),
    ),
    of(
        Driver::NfsStaging,
        &["node-publish.read-only-takes", "node-publish.target"],
        caught(
            "ro-bind-single-call",
            &[("node-publish.read-only-takes-no-write", Fail)],
            &["node-publish.read-only-leaves-the-writer"],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.target", "node-publish.mount-reaches"],
        caught(
            "mount-in-private-namespace",
            &[("node-publish.mount-reaches-the-node", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.target", "node-publish.mount-reaches"],
        caught(
            "published-nothing",
            &[("node-publish.target-is-mounted", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.volumes-are-apart", "node-publish.target"],
        caught(
            "wrong-volume",
            &[("node-publish.volumes-are-apart", Fail)],
            &["*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-stats"],
        caught("wrong-stats", &[("node-stats.numbers-are-true", Fail)], &[]),
    ),
    of(
        Driver::Nfs,
        &["node-stats"],
        caught(
            "stats-of-parent-fs",
            &[("node-stats.not-of-the-nodes-disk", Fail)],
            &["node-stats.numbers-are-true"],
        ),
    ),
    of(
        Driver::Nfs,
        &["node-publish.single", "node-publish.two"],
        caught(
            "snsw-not-enforced",
            &[("node-publish.single-writer-is-single", Warn)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver.stays", "node-get-capabilities"],
        caught(
            "unadvertised-rpc-panics",
            &[("driver.stays-alive", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver.stays", "node-publish.capability"],
        caught("edge-request-panics", &[("driver.stays-alive", Fail)], &[]),
    ),
    of(
        Driver::Nfs,
        &["driver.answers", "node-publish.target"],
        caught("never-answers", &[("driver.answers-every-call", Fail)], &[]),
    ),
    of(
        Driver::Nfs,
        &["driver.gathers"],
        caught("zombie-children", &[("driver.gathers-nothing", Fail)], &[]),
    ),
    of(
        Driver::Nfs,
        &["node-unpublish.busy", "node-unpublish.mount"],
        caught(
            "lock-not-released",
            &[("node-unpublish.busy-is-not-ok", Fail)],
            &["*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["stranger.at-target"],
        caught(
            "already-mounted-no-identity-check",
            &[("stranger.at-target-is-not-the-volume", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["in-use"],
        caught(
            "lazy-umount-hides-busy",
            &[("in-use.ok-means-the-device-is-free", Warn)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver.keeps"],
        caught(
            "secret-in-argv",
            &[
                ("driver.keeps-canaries", Fail),
                ("driver.keeps-secrets", Fail),
            ],
            &[],
        ),
    ),
    of(
        Driver::NfsStaging,
        &["failed-once"],
        caught(
            "stage-error-dir-then-ok",
            &[("node-stage.failed-once-is-not-ok-later", Fail)],
            &["node-unstage.failed-once-is-repaired"],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver-restart"],
        caught(
            "nfs-in-plugin-netns",
            &[("driver-restart.published-volumes-stay-usable", Warn)],
            &["driver-restart.*"],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver-restart"],
        caught(
            "stale-socket-crashloop",
            &[("driver-restart.comes-back", Fail)],
            &[],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver-restart"],
        caught(
            "state-on-private-path",
            &[("driver-restart.unpublish-and-unstage-work", Fail)],
            &["driver-restart.*", "driver.leaves-nothing"],
        ),
    ),
    of(
        Driver::Nfs,
        &["driver-killed.publish"],
        caught(
            "crash-mid-publish-no-converge",
            &[("driver-killed.publish-can-be-taken-back", Fail)],
            &["driver-killed.*", "driver.leaves-nothing"],
        ),
    ),
];
