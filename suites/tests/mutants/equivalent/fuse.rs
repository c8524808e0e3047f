//! Those of the FUSE driver.

use super::Reason;

pub(super) const FUSE: &[Reason] = &[];
