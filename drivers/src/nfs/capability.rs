//! Which ways of use this driver can serve: any mode, as a file system.

use crate::common::capability::Capability;

/// The types of file system that may be asked for, beside the empty one.
const FS_TYPES: [&str; 3] = ["nfs", "nfs3", "nfs4"];

/// Why no volume can be used in this way, or that it can.
pub(super) fn check(capability: &Capability) -> Result<(), String> {
    if capability.is_block() {
        return Err("a share is no block device".to_owned());
    }
    if capability.has_mount_group() {
        return Err("volume_mount_group is not supported".to_owned());
    }
    match capability.fs_type() {
        Some(name) if !FS_TYPES.contains(&name) => Err(format!(
            "the fs_type is none of {}, and not empty",
            FS_TYPES.join(", ")
        )),
        _ => Ok(()),
    }
}
