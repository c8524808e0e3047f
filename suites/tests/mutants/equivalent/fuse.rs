//! Those of the FUSE driver.

use super::Reason;

pub(super) const FUSE: &[Reason] = &[
    (
        "DeleteVolume:rm:1=skip|late|lie",
        "the files stay in the driver's own place, and no call leads to them any more",
    ),
    (
        "NodePublishVolume:mount:2=twice",
        "the second mount(2) sets flags, and they are set already",
    ),
];
