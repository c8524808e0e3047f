//! Rows about volumes on device-mapper devices.

use csi_harness::check::Outcome::{Fail, Warn};

use crate::table::{Driver, Expect, Row, caught};

pub(crate) const ROWS: &[Row] = &[
    Row {
        driver: Driver::Mapped,
        defect: "",
        expect: Expect::Clean,
        only: &[
            "disk-",
            "delete-volume.deletes",
            "node-expand.grows",
            "node-publish.read-only-takes-no-write",
            "node-stage.repeat",
            "node-unstage.",
            "driver.leaves",
        ],
    },
    Row {
        driver: Driver::Mapped,
        only: &["disk-unreadable", "disk-shrunk"],
        ..caught(
            "format-on-unreadable",
            &[("disk-unreadable.is-not-formatted", Fail)],
            &[],
        )
    },
    Row {
        driver: Driver::Mapped,
        only: &["disk-gone.repeat"],
        ..caught(
            "already-mounted-no-health-check",
            &[("disk-gone.repeat-is-not-ok", Warn)],
            &[],
        )
    },
];
