//! Rows about disks that fail, and mounts that outlive them.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Row, caught};

pub(crate) const ROWS: &[Row] = &[
    caught(
        "already-mounted-no-health-check",
        &[("disk-gone.repeat-is-not-ok", Warn)],
        &[],
    ),
    caught(
        "already-mounted-no-identity-check",
        &[
            ("stranger.at-staging-is-not-the-volume", Fail),
            ("stranger.other-volume-at-staging-is-not-this-one", Fail),
            ("stranger.at-target-is-not-the-volume", Fail),
        ],
        &[],
    ),
    caught(
        "condition-always-well",
        &[("disk-gone.condition-is-told", Warn)],
        &[],
    ),
    Row {
        // By itself: a disk that is attached twice does not always mount.
        only: &["stranger.device-alias"],
        ..caught(
            "device-alias-trusted",
            &[("stranger.device-alias-is-not-trusted", Fail)],
            &[],
        )
    },
    caught(
        "estale-blocks-unpublish",
        &[("disk-gone.unpublish-works", Warn)],
        // A file system that does not come back with its disk is never unmounted.
        &["disk-gone.unpublish-works", "disk-gone.repeat-is-not-ok"],
    ),
    caught(
        "format-on-unreadable",
        &[("disk-unreadable.is-not-formatted", Fail)],
        &[],
    ),
    caught(
        "format-when-mount-fails",
        &[("disk-shrunk.is-not-formatted", Fail)],
        &[],
    ),
    caught("global-mutex", &[("disk-hangs.others-go-on", Warn)], &[]),
    caught(
        "stage-error-dir-then-ok",
        &[("node-stage.failed-once-is-not-ok-later", Fail)],
        // What it believes to be staged, it publishes.
        &[
            "mount-lost.staging-is-missed",
            "node-unstage.failed-once-is-repaired",
        ],
    ),
    caught(
        "stage-error-leaves-device",
        &[("node-stage.failed-stage-holds-no-device", Warn)],
        &[],
    ),
    // Each of its unstages is asked twice: all checks take their time with it.
    Row {
        only: &["disk-", "mount-lost", "stranger", "failed-"],
        ..caught(
            "unstage-error-after-umount",
            &[("node-unstage.failed-once-is-repaired", Fail)],
            &["mount-lost.staging-is-missed"],
        )
    },
];
