//! Rows about what volumes, copies and snapshots keep, and whose names they have.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Row, caught};

pub(crate) const ROWS: &[Row] = &[
    caught(
        "chown-on-publish",
        &[("node-publish.keeps-all-that-was-left", Warn)],
        &[
            "node-expand.keeps-all-and-stays",
            "node-stage.keeps-all-that-was-left",
            "create-volume.copy-is-whole",
        ],
    ),
    caught(
        "context-lost-on-repeat",
        &[("create-volume.repeat-is-the-same-volume", Fail)],
        // What is cut off is asked for again, and used with what the repeat told.
        &["call-cut.*", "driver-killed.*", "at-once.*"],
    ),
    caught(
        "copy-cut-short",
        &[("create-volume.copy-is-whole", Fail)],
        &[],
    ),
    caught(
        "delete-empties-copies",
        &[("delete-volume.leaves-copies-and-sources", Fail)],
        &[],
    ),
    caught(
        "delete-empties-source",
        &[("delete-volume.leaves-copies-and-sources", Fail)],
        &[],
    ),
    caught(
        "delete-takes-all-snapshots",
        &[("create-snapshot.each-holds-its-own-moment", Fail)],
        &["group-snapshot.*"],
    ),
    caught(
        "expand-only-once",
        &[("node-expand.keeps-all-and-stays", Fail)],
        &["call-cut.*", "driver-killed.*", "driver-restart.*"],
    ),
    caught(
        "expand-tells-old-size",
        &[("controller-expand.tells-the-new-size", Fail)],
        &[],
    ),
    caught(
        "label-at-the-end",
        &[("node-stage.keeps-all-that-was-left", Fail)],
        &[
            "create-volume.copy-is-whole",
            "node-expand.keeps-all-and-stays",
        ],
    ),
    caught(
        "list-skips-at-page",
        &[("list-snapshots.pages-show-all", Fail)],
        // Which volume is left out there is chance: not always one of the check's own.
        &["list-volumes.shows-what-there-is"],
    ),
    caught(
        "stats-leave-a-descriptor",
        &[("driver.gathers-nothing", Warn)],
        &[],
    ),
    caught(
        "names-cut-short",
        &[
            ("create-snapshot.similar-names-are-two-snapshots", Fail),
            ("create-volume.similar-names-are-two-volumes", Fail),
        ],
        &[],
    ),
    caught(
        "restore-writes-into-snapshot",
        &[("create-volume.copies-of-one-snapshot-are-apart", Fail)],
        &[],
    ),
    caught(
        "snapshots-of-one-moment",
        &[("create-snapshot.each-holds-its-own-moment", Fail)],
        &[],
    ),
    caught(
        "unsynced-lost-on-unstage",
        &[("node-unstage.what-was-not-synced-is-there", Fail)],
        // What was made and not synced is no file by then.
        &[
            "create-snapshot.*",
            "create-volume.*",
            "group-snapshot.*",
            "node-expand.*",
            "controller-expand.*",
            "node-stage.*",
        ],
    ),
];
