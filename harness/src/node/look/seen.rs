//! What a look showed.

use crate::node::block::DiskId;
use crate::node::loops::BackingId;
use std::ffi::OsString;

/// What a look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Of `Stat` and `StatFollow`.
    Stat(FileStat),
    /// Of `StatFs`.
    StatFs(FsStat),
    /// Of `ReadDir`.
    Names(Listing),
    /// Of `ReadFile` and `ReadDevice`: fewer than asked for at the end. Of `ReadLink`
    /// and `ReadTag`: all.
    Bytes(Vec<u8>),
    /// Of `WriteFile`, `WriteDevice`, `SetMode` and `Leave`: all of it was done.
    Written,
    /// Of `Remove`.
    Removed,
    /// Of `OpenDevice`.
    Device(DeviceSeen),
    /// Of `LoopStatus`.
    Loop(LoopSeen),
    /// Of `FileSystem`.
    FileSystem {
        /// It is in use.
        there: bool,
    },
    /// Of `OpenExclusive`.
    Exclusive {
        /// Nobody else uses the device; false for `EBUSY`.
        free: bool,
    },
}

/// stat(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Type and permissions.
    pub mode: u32,
    /// The device of the file system: major, minor.
    pub dev: (u32, u32),
    /// The device that a device file stands for: major, minor.
    pub rdev: (u32, u32),
    /// The inode's number.
    pub ino: u64,
    /// In bytes.
    pub size: u64,
    /// What it takes on disk, in bytes.
    pub allocated: u64,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of hard links.
    pub nlink: u64,
}

impl FileStat {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFLNK
    }

    /// Whether it is a block device.
    pub fn is_block_device(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFBLK
    }

    /// In words, with the article: `a directory`.
    pub fn kind(&self) -> &'static str {
        match self.mode & libc::S_IFMT {
            libc::S_IFDIR => "a directory",
            libc::S_IFREG => "a regular file",
            libc::S_IFLNK => "a symbolic link",
            libc::S_IFBLK => "a block device",
            libc::S_IFCHR => "a character device",
            libc::S_IFIFO => "a FIFO",
            libc::S_IFSOCK => "a socket",
            _ => "something of no known kind",
        }
    }
}

/// statfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsStat {
    /// The type's magic number, e.g. 0xEF53 for ext4.
    pub magic: u64,
    /// The unit of the three counts of blocks, in bytes.
    pub block_size: u64,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for others than root.
    pub blocks_available: u64,
    /// All inodes; 0 where the file system makes them as it goes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// The id of the file system, as far as it has one.
    pub fsid: [i32; 2],
}

/// The names in a directory, without `.` and `..`, in its own order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// What was seen.
    pub names: Vec<Name>,
    /// There are more names than were asked for.
    pub truncated: bool,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: OsString,
    /// `libc::DT_DIR` and its like; `DT_UNKNOWN` where the file system does not tell.
    pub kind: u8,
}

/// An opened (and closed) block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceSeen {
    /// Which disk it is; `diskseq` by `BLKGETDISKSEQ` (Linux 5.15).
    pub disk: DiskId,
    /// Its size in bytes (`BLKGETSIZE64`).
    pub size: u64,
    /// It refuses writes (`BLKROGET`).
    pub read_only: bool,
}

/// What a loop device says of the file behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopSeen {
    /// Which disk it is.
    pub disk: DiskId,
    /// The very file, whatever its name is by now.
    pub backing: BackingId,
    /// Where in the file the device begins, in bytes.
    pub offset: u64,
    /// `LO_FLAGS_*`.
    pub flags: u32,
}
