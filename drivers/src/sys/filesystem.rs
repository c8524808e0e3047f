//! File systems: which we can make, what is on a device, making, growing, measuring.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::unistd::{Whence, lseek64};
use serde::{Deserialize, Serialize};

use super::command::{program, run};
use super::kernel::{Opened, Pretend, call};
use super::{Doing, SysError};
use crate::mutation::Call;

const MIB: u64 = 1 << 20;

/// A file system that this driver can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Filesystem {
    /// The default.
    Ext4,
    /// Where `mkfs.xfs` and the kernel's support are there.
    Xfs,
    /// Where `mkfs.btrfs` and the kernel's support are there.
    Btrfs,
}

impl Filesystem {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// The name that `fs_type` has for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The file system of this name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fs| fs.name() == name)
    }

    /// The smallest device, in bytes, that its mkfs takes.
    pub(crate) fn smallest(self) -> u64 {
        match self {
            Self::Ext4 => 16 * MIB,
            Self::Xfs => 300 * MIB,
            Self::Btrfs => 128 * MIB,
        }
    }

    /// Whether this machine can make and mount it.
    pub(crate) fn is_supported(self) -> bool {
        let listed = fs::read_to_string("/proc/filesystems").is_ok_and(|list| {
            list.lines()
                .any(|line| line.split_whitespace().next_back() == Some(self.name()))
        });
        program(&format!("mkfs.{}", self.name())).is_some() && (listed || self.is_module())
    }

    /// Whether the kernel could load it when it is first mounted.
    fn is_module(self) -> bool {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let folder = Path::new("/lib/modules").join(release.trim());
        folder.join("kernel/fs").join(self.name()).is_dir()
    }
}

/// What is on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing was ever written to it, or nothing but zeros.
    Blank,
    /// A file system that we know.
    Filesystem(Filesystem),
    /// Something else, which is somebody's data.
    Unknown,
}

/// Looks what is on a device, `image` being the file behind it. A device that
/// cannot be read is an error, and never blank.
pub(crate) fn probe(device: &Path, image: &Path) -> Result<Content, SysError> {
    let disk = Opened::read(device).doing("open", device)?;
    let mut head = Vec::new();
    disk.file()
        .take(128 * 1024)
        .read_to_end(&mut head)
        .doing("read", device)?;
    if let Some(filesystem) = recognise(&head) {
        return Ok(Content::Filesystem(filesystem));
    }
    if head.iter().any(|byte| *byte != 0) {
        return Ok(Content::Unknown);
    }
    // What was written to the device may not have reached the file yet.
    disk.call(Call::Fsync, |disk| disk.sync_all())
        .doing("flush", device)?;
    let blank = is_all_zeros(image).doing("read", image)?;
    Ok(if blank {
        Content::Blank
    } else {
        Content::Unknown
    })
}

/// The file system that begins with these bytes, by its magic number: ext4 and
/// its ancestors at 1080, XFS at 0, btrfs at 65600.
fn recognise(head: &[u8]) -> Option<Filesystem> {
    let has = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if has(0x438, &[0x53, 0xef]) {
        Some(Filesystem::Ext4)
    } else if has(0, b"XFSB") {
        Some(Filesystem::Xfs)
    } else if has(0x1_0040, b"_BHRfS_M") {
        Some(Filesystem::Btrfs)
    } else {
        None
    }
}

/// Whether a sparse file holds nothing but zeros; only what was ever written is read.
fn is_all_zeros(path: &Path) -> io::Result<bool> {
    let opened = Opened::read(path)?;
    let mut file = opened.file();
    let length = file.metadata()?.len();
    let mut buffer = vec![0; MIB as usize];
    let mut position: u64 = 0;
    while position < length {
        let from = i64::try_from(position).map_err(io::Error::other)?;
        let data = match lseek64(file, from, Whence::SeekData) {
            Ok(data) => data.unsigned_abs(),
            Err(nix::errno::Errno::ENXIO) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        file.seek(SeekFrom::Start(data))?;
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(true);
        }
        if buffer.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        position = data + read as u64;
    }
    Ok(true)
}

/// Makes a file system. Without `force`, mkfs itself refuses where it finds one.
pub(crate) fn make(filesystem: Filesystem, device: &Path, force: bool) -> Result<(), SysError> {
    let (quiet, forced): (&[&str], &str) = match filesystem {
        // Tables are cleared later by the kernel; the device reads as zeros anyway.
        Filesystem::Ext4 => (
            &[
                "-q",
                "-m",
                "0",
                "-E",
                "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            ],
            "-F",
        ),
        Filesystem::Xfs => (&["-q", "-K"], "-f"),
        Filesystem::Btrfs => (&["-q", "-K"], "-f"),
    };
    let mut arguments: Vec<&str> = quiet.to_vec();
    if force {
        arguments.push(forced);
    }
    let program = format!("mkfs.{}", filesystem.name());
    match filesystem {
        Filesystem::Btrfs => run_btrfs(&program, &arguments, device),
        _ => run(&program, &arguments, device),
    }
    .doing("make a file system on", device)
}

/// Runs a program of btrfs-progs. They look at every loop device that is mounted
/// first, and give up where one of them goes away meanwhile; then again.
pub(crate) fn run_btrfs(name: &str, arguments: &[&str], device: &Path) -> io::Result<()> {
    const TRIES: u32 = 20;
    let mut done = run(name, arguments, device);
    for _ in 1..TRIES {
        match &done {
            Err(error) if error.to_string().contains("mount status") => {
                done = run(name, arguments, device);
            }
            _ => break,
        }
    }
    done
}

/// Grows a mounted file system to the size of its device.
pub(crate) fn grow(
    filesystem: Filesystem,
    device: &Path,
    bytes: u64,
    at: &Path,
) -> Result<(), SysError> {
    match filesystem {
        Filesystem::Ext4 => grow_ext4(device, bytes, at),
        Filesystem::Xfs => run("xfs_growfs", &["-d"], at),
        Filesystem::Btrfs => run("btrfs", &["filesystem", "resize", "max"], at),
    }
    .doing("grow the file system at", at)
}

/// Grows an ext4 that is not mounted, which needs no more than write access to
/// the device; one that has its size already is left alone.
pub(crate) fn grow_unmounted_ext4(device: &Path, bytes: u64) -> Result<(), SysError> {
    let (block, blocks) = ext4_size(device).doing("read the superblock of", device)?;
    if blocks >= bytes / block {
        return Ok(());
    }
    // resize2fs insists on a check first.
    run("e2fsck", &["-f", "-p"], device)
        .and_then(|()| run("resize2fs", &[], device))
        .doing("grow the file system on", device)
}

/// Online growth of ext4, as resize2fs asks for it; the kernel wants
/// CAP_SYS_RESOURCE, even where there is nothing to grow.
fn grow_ext4(device: &Path, bytes: u64, at: &Path) -> io::Result<()> {
    /// `EXT4_IOC_RESIZE_FS`: `_IOW('f', 16, __u64)`, the wanted size in blocks.
    const RESIZE_FS: u64 = nix::request_code_write!(b'f', 16, std::mem::size_of::<u64>());
    let (block, blocks) = ext4_size(device)?;
    let wanted: u64 = bytes / block;
    if blocks >= wanted {
        return Ok(());
    }
    Opened::read(at)?.call(Call::Grow, move |root| {
        // SAFETY: the request reads one u64, which lives throughout the call.
        let answer = unsafe {
            libc::ioctl(
                root.as_raw_fd(),
                RESIZE_FS as libc::Ioctl,
                &raw const wanted,
            )
        };
        nix::errno::Errno::result(answer).map(drop)?;
        Ok(())
    })
}

/// The block size in bytes and the number of blocks, from the superblock of an ext4.
fn ext4_size(device: &Path) -> io::Result<(u64, u64)> {
    let mut superblock = [0; 1024];
    Opened::read(device)?
        .file()
        .read_exact_at(&mut superblock, 1024)?;
    let word = |offset: usize| {
        let bytes = superblock.get(offset..offset + 4).unwrap_or(&[0; 4]);
        bytes
            .iter()
            .rev()
            .fold(0, |word, byte| (word << 8) | u64::from(*byte))
    };
    /// s_feature_incompat has this bit where the upper half of the count is used.
    const INCOMPAT_64BIT: u64 = 0x80;
    let upper = if word(0x60) & INCOMPAT_64BIT != 0 {
        word(0x150)
    } else {
        0
    };
    let block = 1024_u64.checked_shl(u32::try_from(word(0x18)).unwrap_or(u32::MAX));
    match block {
        Some(block) if block > 0 => Ok((block, (upper << 32) | word(0x4))),
        _ => Err(io::Error::other("it has no block size")),
    }
}

/// How full a file system is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// Bytes that are free for a user.
    pub(crate) available: u64,
    /// Bytes that are taken.
    pub(crate) used: u64,
    /// Inodes: all and free. btrfs has no fixed number of them and tells 0.
    pub(crate) inodes: (u64, u64),
}

/// Asks a mounted file system how full it is (statvfs(3)).
pub(crate) fn usage(path: &Path) -> Result<Usage, SysError> {
    let answer = call(Call::Statfs, path, |path| {
        let answer = nix::sys::statvfs::statvfs(path)?;
        let unit = answer.fragment_size();
        Ok::<_, io::Error>(Usage {
            bytes: answer.blocks() * unit,
            available: answer.blocks_available() * unit,
            used: answer.blocks().saturating_sub(answer.blocks_free()) * unit,
            inodes: (answer.files(), answer.files_free()),
        })
    });
    answer.doing("ask for the usage of", path)
}

/// A third full, and of a size that no test asks for.
impl Pretend for Usage {
    fn pretend() -> io::Result<Self> {
        Ok(Self {
            bytes: 333 * MIB,
            available: 222 * MIB,
            used: 111 * MIB,
            inodes: (999, 666),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(content: &[(u64, &[u8])]) -> Content {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        file.as_file().set_len(8 * MIB).expect("a sparse file");
        for (offset, bytes) in content {
            file.as_file()
                .write_all_at(bytes, *offset)
                .expect("written");
        }
        probe(file.path(), file.path()).expect("probed")
    }

    #[test]
    fn file_systems_are_known_by_their_magic() {
        let ext4 = probed(&[(0x438, &[0x53, 0xef])]);
        assert_eq!(ext4, Content::Filesystem(Filesystem::Ext4));
        assert_eq!(
            probed(&[(0, b"XFSB")]),
            Content::Filesystem(Filesystem::Xfs)
        );
        let btrfs = probed(&[(0x1_0040, b"_BHRfS_M")]);
        assert_eq!(btrfs, Content::Filesystem(Filesystem::Btrfs));
    }

    #[test]
    fn only_zeros_are_blank() {
        assert_eq!(probed(&[]), Content::Blank);
        assert_eq!(probed(&[(4096, &[0; 4096])]), Content::Blank);
        assert_eq!(probed(&[(510, &[0x55, 0xaa])]), Content::Unknown);
        assert_eq!(probed(&[(5 * MIB + 7, b"x")]), Content::Unknown);
        assert_eq!(
            probed(&[(2 * MIB, &[0; 4096]), (8 * MIB - 1, b"x")]),
            Content::Unknown
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_blank() {
        let gone = Path::new("/nonexistent/device");
        assert!(probe(gone, gone).is_err());
    }
}
