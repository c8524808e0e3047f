//! Rows about what is watched during the whole run, and the stories.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Row, caught};

pub(crate) const ROWS: &[Row] = &[
    Row {
        // By itself: of many errors at once the kernel tells only some.
        only: &["delete-volume.in-use", "log-is-silent"],
        ..caught(
            "delete-empties-disk-in-use",
            &[("disk-gone.kernel-log-is-silent", Fail)],
            &["delete-volume.*"],
        )
    },
    caught(
        "stats-of-the-first",
        &[("node-stats.used-and-free-are-true", Warn)],
        // Of the same size, but another file system.
        &["node-stats.numbers-are-true"],
    ),
    caught(
        "read-only-for-a-moment",
        &[("node-publish.read-only-stays", Fail)],
        &[
            "node-publish.read-only-takes-no-write",
            "node-publish.read-only-leaves-the-writer",
        ],
    ),
    caught(
        "lazy-umount-hides-busy",
        &[("in-use.ok-means-the-device-is-free", Fail)],
        &[],
    ),
    caught(
        "same-handle-context-ignored",
        &[
            ("one-handle.second-context-is-not-ignored", Fail),
            ("node-publish.context-decides", Fail),
        ],
        &[],
    ),
    caught(
        "secret-in-argv",
        &[
            ("driver.keeps-canaries", Fail),
            ("driver.keeps-secrets", Fail),
        ],
        &[],
    ),
];
