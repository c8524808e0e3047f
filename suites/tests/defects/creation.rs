//! Rows about where volumes come from, and how they grow.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Driver, Expect, Row, caught};

pub(crate) const ROWS: &[Row] = &[
    caught(
        "restore-ignores-source",
        &[
            ("create-volume.from-snapshot-has-the-data", Fail),
            ("create-volume.from-volume-has-the-data", Fail),
        ],
        // Each looks for its marker in a volume that was made from another.
        &[
            "delete-volume.leaves-copies-and-sources",
            "create-volume.*",
            "create-snapshot.*",
            "create-snapshot.holds-what-was-written",
            "create-volume.copy-and-source-side-by-side",
            "create-volume.larger-copy-has-grown",
            "delete-snapshot.leaves-what-was-made-from-it",
            "delete-volume.keeps-its-snapshots",
            "group-snapshot.*",
        ],
    ),
    caught(
        "group-cut-one-by-one",
        &[("group-snapshot.is-of-one-moment", Fail)],
        &[],
    ),
    caught(
        "group-delete-keeps-members",
        &[("group-snapshot.deletes", Fail)],
        &[],
    ),
    caught(
        "group-members-swapped",
        &[("group-snapshot.members-hold-their-volumes-data", Fail)],
        &["group-snapshot.is-of-one-moment"],
    ),
    caught(
        "snapshot-without-sync",
        &[("create-snapshot.holds-what-was-written", Warn)],
        // A copy from the middle of a change may be no file system at all.
        &[
            "create-volume.from-snapshot-has-the-data",
            "create-volume.copy-and-source-side-by-side",
            "create-volume.larger-copy-has-grown",
            "delete-snapshot.leaves-what-was-made-from-it",
            "delete-volume.keeps-its-snapshots",
            "group-snapshot.*",
            "node-stage.repeat-grows-what-the-first-did-not",
        ],
    ),
    caught(
        "clone-same-xfs-uuid",
        &[("create-volume.copy-and-source-side-by-side", Fail)],
        &[],
    ),
    caught(
        "host-fs-op-after-mount-lost",
        &[("driver.leaves-the-node-alone-where-a-mount-is-lost", Fail)],
        &[],
    ),
    caught(
        "expand-xfs-wrong-path",
        &[("node-expand.grows-and-keeps-the-data", Fail)],
        &[
            "node-expand.keeps-all-and-stays",
            "controller-expand.shows-when-it-is-used-again",
            "node-expand.staged-volume-grows",
        ],
    ),
    caught(
        "capacity-overstated",
        &[
            ("node-publish.size-is-as-told", Fail),
            ("controller-get-volume.tells-what-there-is", Warn),
            ("list-volumes.shows-what-there-is", Warn),
        ],
        // What is asked for by the size that was told is not what there is either.
        &[
            "delete-volume.leaves-copies-and-sources",
            "node-publish.target-is-a-block-device",
            "create-volume.*",
            "create-snapshot.*",
            "delete-snapshot.*",
            "delete-volume.keeps-its-snapshots",
            "group-snapshot.*",
            "node-expand.*",
            "controller-expand.*",
            "node-stats.*",
            "node-stage.repeat-grows-what-the-first-did-not",
        ],
    ),
    caught(
        "delete-does-nothing",
        &[
            ("delete-snapshot.data-is-gone", Fail),
            ("delete-volume.data-is-gone", Fail),
            ("delete-volume.name-is-free-again", Fail),
        ],
        &[
            "at-once.*",
            "call-cut.*",
            "driver-killed.*",
            "delete-snapshot.*",
            "delete-volume.*",
            "list-snapshots.*",
            "list-volumes.*",
            "controller-get-volume.*",
            "driver-restart.*",
        ],
    ),
    caught(
        "deleted-stay-listed",
        &[
            ("list-volumes.shows-what-there-is", Fail),
            ("controller-get-volume.deleted-is-not-found", Warn),
        ],
        &[
            "at-once.*",
            "call-cut.*",
            "driver-killed.*",
            "delete-volume.*",
        ],
    ),
    caught(
        "failed-repeat-unmounts",
        &[
            ("node-publish.failed-repeat-harms-nothing", Fail),
            ("node-stage.failed-repeat-harms-nothing", Fail),
        ],
        &[
            "node-publish.other-arguments-are-not-ok",
            "disk-gone.*",
            "stranger.*",
            "one-handle.*",
        ],
    ),
    caught(
        "list-token-ignored",
        &[
            ("list-volumes.unknown-token-is-aborted", Fail),
            ("list-volumes.shows-what-there-is", Fail),
        ],
        &[],
    ),
    caught(
        "published-nodes-forgotten",
        &[("list-volumes.published-nodes-are-true", Fail)],
        &[],
    ),
    caught(
        "attach-readonly-ignored",
        &[("controller-publish.read-only-takes-no-write", Fail)],
        &[],
    ),
    caught(
        "detach-from-any-node",
        &[("controller-unpublish.leaves-other-nodes", Fail)],
        &[],
    ),
    caught(
        "stage-retry-skips-grow",
        &[("node-stage.repeat-grows-what-the-first-did-not", Fail)],
        &[],
    ),
    caught(
        "limit-ignored",
        &[("create-volume.limit-is-kept", Fail)],
        &[],
    ),
    Row {
        driver: Driver::Fuse,
        defect: "",
        expect: Expect::Clean,
        only: &[],
    },
    Row {
        driver: Driver::Fuse,
        defect: "delete-does-nothing",
        expect: Expect::Caught {
            must: &[("delete-volume.data-is-gone", Fail)],
            // Its name makes the old volume again.
            may: &[
                "delete-volume.name-is-free-again",
                "driver-restart.deleted-volumes-stay-deleted",
                "driver-killed.delete-converges",
                "call-cut.*",
            ],
        },
        only: &[],
    },
    Row {
        driver: Driver::Fuse,
        defect: "deleted-names-stay-known",
        expect: Expect::Caught {
            must: &[("delete-volume.name-is-free-again", Fail)],
            may: &["driver-restart.deleted-volumes-stay-deleted"],
        },
        only: &[],
    },
    Row {
        driver: Driver::Fuse,
        defect: "fuse-dies-with-plugin",
        expect: Expect::Caught {
            must: &[("driver-restart.published-volumes-stay-usable", Warn)],
            // What is staged when the driver is killed is dead then.
            may: &["driver-killed.*", "driver-restart.*"],
        },
        only: &[],
    },
];
