//! Which block device is behind a number, and is it still the same one?
//!
//! From sysfs (Documentation/ABI/stable/sysfs-block): no device is opened, so
//! nobody's umount, mkfs or losetup is disturbed.

use super::loops::LoopDevice;
use std::io;
use std::path::{Path, PathBuf};

/// Asks an open block device for its disk sequence number, a `u64`
/// (linux/fs.h; libc lacks it).
pub(crate) const BLKGETDISKSEQ: libc::Ioctl = nix::request_code_read!(0x12, 128, size_of::<u64>());

/// What tells one disk from another. Names (`loop0`) and numbers are given
/// again at once; the disk sequence number never is until the next boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskId {
    /// Its number: major, minor.
    pub number: (u32, u32),
    /// Its disk sequence number, where the kernel has it (5.15).
    pub diskseq: Option<u64>,
}

/// A block device as sysfs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDevice {
    /// The kernel's name for it, e.g. `vda1`: for evidence, not for identity.
    pub name: String,
    /// Its number, and the sequence number of the disk that it is (part of).
    pub id: DiskId,
    /// In bytes.
    pub size: u64,
    /// It refuses writes.
    pub read_only: bool,
    /// The disk that it is a partition of.
    pub part_of: Option<String>,
    /// What the disk is backed by, if it is a loop device.
    pub on_loop: Option<LoopDevice>,
}

/// The block device with a number, e.g. that of a mount ([`super::Mount::dev`])
/// or of a device file (`rdev`).
///
/// # Errors
/// `NotFound` when there is none: also for the made-up numbers of file systems
/// without a device, or with several (tmpfs, NFS, overlay, btrfs: major 0).
pub fn block_device(major: u32, minor: u32) -> io::Result<BlockDevice> {
    let dir = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    // sysfs is the kernel's own: resolving links in it cannot hang.
    let dir = dir.canonicalize().map_err(|e| about(&dir, &e))?;
    let disk = if dir.join("partition").exists() {
        dir.parent().unwrap_or(&dir).to_path_buf()
    } else {
        dir.clone()
    };
    Ok(BlockDevice {
        name: name(&dir),
        id: DiskId {
            number: (major, minor),
            diskseq: diskseq(&disk)?,
        },
        size: size(&dir)?,
        read_only: number(&dir.join("ro"))? != 0,
        part_of: (disk != dir).then(|| name(&disk)),
        on_loop: LoopDevice::at(&disk)?,
    })
}

/// The last part of a folder's name.
pub(super) fn name(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The size of the device of this folder of sysfs, in bytes.
pub(super) fn size(dir: &Path) -> io::Result<u64> {
    // In sectors of 512 bytes, whatever the device's own are.
    Ok(number(&dir.join("size"))?.saturating_mul(512))
}

/// The disk sequence number, if the kernel has them.
pub(super) fn diskseq(dir: &Path) -> io::Result<Option<u64>> {
    match number(&dir.join("diskseq")) {
        Ok(diskseq) => Ok(Some(diskseq)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A file of sysfs that holds one number.
pub(super) fn number(file: &Path) -> io::Result<u64> {
    let text = std::fs::read_to_string(file).map_err(|e| about(file, &e))?;
    text.trim().parse().map_err(|_| {
        let why = format!("{}: {:?} is no number", file.display(), text.trim());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

/// An error that says which file it is about.
pub(super) fn about(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disks_of_this_machine_are_found_by_their_numbers() -> io::Result<()> {
        let mut seen = 0;
        for entry in std::fs::read_dir("/sys/class/block")? {
            let dir = entry?.path();
            let Ok(number) = std::fs::read_to_string(dir.join("dev")) else {
                continue;
            };
            let Some((major, minor)) = number.trim().split_once(':') else {
                panic!("{number}");
            };
            let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
                panic!("{number}");
            };
            // Others may be taking loop devices away at this moment.
            if let Ok(device) = block_device(major, minor) {
                assert_eq!(device.name, name(&dir));
                assert_eq!(device.part_of.is_some(), dir.join("partition").exists());
                seen += 1;
            }
        }
        assert!(seen > 0, "a machine without block devices");
        Ok(())
    }

    #[test]
    fn a_made_up_number_is_no_device() {
        let error = block_device(0, 1).expect_err("major 0 is for no device");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/sys/dev/block/0:1"));
    }
}
