//! mount(2) and umount(2).

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::kernel::{call, call_from};
use super::{Doing, SysError};
use crate::mutation::Call;

/// Mount flags, as a capability lists them, in the three forms that the kernel takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// Of one mount: they can differ between two mounts of one file system.
    pub(crate) mount: MsFlags,
    /// Of the file system: set when it is first mounted.
    pub(crate) superblock: MsFlags,
    /// What only the file system itself understands (`discard`, `errors=…`).
    pub(crate) data: Vec<String>,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            mount: MsFlags::empty(),
            superblock: MsFlags::empty(),
            data: Vec::new(),
        }
    }
}

impl MountOptions {
    /// Sorts mount flags by who understands them. Nothing is refused here: what
    /// is in none of the tables is handed to the file system, and the kernel
    /// refuses what that does not know.
    pub(crate) fn parse(flags: &[String]) -> Self {
        let mut options = Self::default();
        for flag in flags.iter().flat_map(|flags| flags.split(',')) {
            match flag {
                "" | "defaults" | "rw" => {}
                "ro" => options.mount |= MsFlags::MS_RDONLY,
                "nosuid" => options.mount |= MsFlags::MS_NOSUID,
                "nodev" => options.mount |= MsFlags::MS_NODEV,
                "noexec" => options.mount |= MsFlags::MS_NOEXEC,
                "noatime" => options.mount |= MsFlags::MS_NOATIME,
                "nodiratime" => options.mount |= MsFlags::MS_NODIRATIME,
                "relatime" => options.mount |= MsFlags::MS_RELATIME,
                "strictatime" => options.mount |= MsFlags::MS_STRICTATIME,
                "suid" => options.mount -= MsFlags::MS_NOSUID,
                "dev" => options.mount -= MsFlags::MS_NODEV,
                "exec" => options.mount -= MsFlags::MS_NOEXEC,
                "atime" => options.mount -= MsFlags::MS_NOATIME,
                "sync" => options.superblock |= MsFlags::MS_SYNCHRONOUS,
                "dirsync" => options.superblock |= MsFlags::MS_DIRSYNC,
                "lazytime" => options.superblock |= MsFlags::MS_LAZYTIME,
                other => options.data.push(other.to_owned()),
            }
        }
        options
    }
}

/// Mounts a file system from a device.
pub(crate) fn mount_device(
    device: &Path,
    target: &Path,
    fs_type: &str,
    options: &MountOptions,
) -> Result<(), SysError> {
    let data = (!options.data.is_empty()).then(|| options.data.join(","));
    let flags = options.mount | options.superblock;
    let fs_type = fs_type.to_owned();
    call_from(Call::Mount, device, target, move |device, target| {
        let (fs_type, data) = (Some(fs_type.as_str()), data.as_deref());
        mount(Some(device), target, fs_type, flags, data).map_err(io::Error::from)
    })
    .doing("mount the volume at", target)
}

/// Shows at `target` what is at `source`. The new mount has the flags of the
/// one it was made from: the kernel ignores all others at this step.
pub(crate) fn bind(source: &Path, target: &Path, ignored: MsFlags) -> Result<(), SysError> {
    let flags = MsFlags::MS_BIND | ignored;
    call_from(Call::Mount, source, target, move |source, target| {
        mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(io::Error::from)
    })
    .doing("bind-mount at", target)
}

/// Gives a bind mount its own flags, which needs a second call to mount(2).
pub(crate) fn set_flags(target: &Path, flags: MsFlags) -> Result<(), SysError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
    call(Call::Mount, target, move |target| {
        let none = None::<&str>;
        mount(none, target, none, flags, none).map_err(io::Error::from)
    })
    .doing("set the mount flags of", target)
}

/// Takes away the mount on top at this path. Never lazily: a busy mount is an error.
pub(crate) fn unmount(target: &Path) -> Result<(), SysError> {
    unmount_with(target, MntFlags::UMOUNT_NOFOLLOW)
}

/// Takes the mount out of sight, whoever still uses it. No honest driver does this.
pub(crate) fn unmount_lazily(target: &Path) -> Result<(), SysError> {
    unmount_with(target, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)
}

fn unmount_with(target: &Path, flags: MntFlags) -> Result<(), SysError> {
    call(Call::Umount, target, move |target| {
        umount2(target, flags).map_err(io::Error::from)
    })
    .doing("unmount", target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_sorted_by_who_understands_them() {
        let flags = ["noexec,nosuid", "sync", "errors=continue", "rw", "noload"];
        let options = MountOptions::parse(&flags.map(str::to_owned));
        assert_eq!(options.mount, MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID);
        assert_eq!(options.superblock, MsFlags::MS_SYNCHRONOUS);
        assert_eq!(options.data, ["errors=continue", "noload"]);
    }
}
