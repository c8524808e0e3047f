//! Those of the NFS driver.

use super::Reason;

pub(super) const NFS: &[Reason] = &[];
