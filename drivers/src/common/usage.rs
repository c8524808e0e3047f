//! What `NodeGetVolumeStats` says of a file system.

use csi_proto::v1 as csi;
use csi_proto::v1::volume_usage::Unit;

use crate::sys::filesystem::Usage;

/// Its bytes and its inodes.
pub(crate) fn of_filesystem(usage: Usage) -> Vec<csi::VolumeUsage> {
    let bytes = csi::VolumeUsage {
        available: signed(usage.available),
        total: signed(usage.bytes),
        used: signed(usage.used),
        unit: Unit::Bytes.into(),
    };
    let (total, free) = usage.inodes;
    let inodes = csi::VolumeUsage {
        available: signed(free),
        total: signed(total),
        used: signed(total.saturating_sub(free)),
        unit: Unit::Inodes.into(),
    };
    // A file system without a fixed number of inodes says that it has none.
    if total == 0 {
        vec![bytes]
    } else {
        vec![bytes, inodes]
    }
}

/// As the messages have numbers; what does not fit is as large as fits.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
