//! Those of the FUSE driver.

use super::Reason;

pub(super) const FUSE: &[Reason] = &[(
    "DeleteVolume:rm:1=skip|late|lie",
    "the files stay in the driver's own place, and no call leads to them any more",
)];
