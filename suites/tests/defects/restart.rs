//! Rows about a driver that is killed and started again, and calls that are cut short.

use csi_harness::check::Outcome::Fail;

use crate::table::{Row, caught};

pub(crate) const ROWS: &[Row] = &[
    caught(
        "formatted-in-memory",
        &[("driver-restart.data-is-kept", Fail)],
        // Copies come with a file system that this process did not make, and other volumes
        // with what was written before a restart.
        &[
            "delete-volume.leaves-copies-and-sources",
            "create-volume.*",
            "create-snapshot.*",
            "delete-snapshot.*",
            "delete-volume.keeps-its-snapshots",
            "driver-killed.*",
            "driver-restart.*",
            "node-stage.repeat-grows-what-the-first-did-not",
        ],
    ),
    caught(
        "cancelled-work-continues",
        &[("call-cut.stage-can-be-taken-back", Fail)],
        &["call-cut.*", "disk-hangs.*", "driver-stopped.*", "driver.*"],
    ),
    caught(
        "crash-mid-publish-no-converge",
        &[("driver-killed.publish-can-be-taken-back", Fail)],
        &["driver-killed.publish-converges", "driver.leaves-nothing"],
    ),
    caught(
        "create-leaks-on-cancel",
        &[("call-cut.create-makes-one", Fail)],
        &["driver-killed.create-makes-one"],
    ),
    caught(
        "stale-socket-crashloop",
        &[("driver-restart.comes-back", Fail)],
        &[],
    ),
    caught(
        "state-on-private-path",
        &[("driver-restart.unpublish-and-unstage-work", Fail)],
        &[
            "driver-restart.*",
            "driver-killed.*",
            "driver.leaves-nothing",
        ],
    ),
];
