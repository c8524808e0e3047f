//! The memory in which the child leaves its answer.

use super::seen::{DeviceSeen, FileStat, FsStat, LoopSeen};
use std::io;
use std::mem::size_of;
use std::ptr::NonNull;

/// The call that an error came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Call {
    CloseRange,
    Chdir,
    Stat,
    StatFs,
    Open,
    Getdents,
    Read,
    Write,
    Fsync,
    Unlink,
    Ioctl,
    OpenTree,
    Chmod,
    Ustat,
    Mkdir,
    Symlink,
    ReadLink,
    Chown,
    SetXattr,
    GetXattr,
}

impl Call {
    pub(super) fn name(self) -> &'static str {
        match self {
            Call::CloseRange => "close_range",
            Call::Chdir => "chdir",
            Call::Stat => "stat",
            Call::StatFs => "statfs",
            Call::Open => "open",
            Call::Getdents => "getdents64",
            Call::Read => "read",
            Call::Write => "write",
            Call::Fsync => "fsync",
            Call::Unlink => "unlink",
            Call::Ioctl => "ioctl",
            Call::OpenTree => "open_tree",
            Call::Chmod => "fchmod",
            Call::Ustat => "ustat",
            Call::Mkdir => "mkdir",
            Call::Symlink => "symlink",
            Call::ReadLink => "readlink",
            Call::Chown => "fchown",
            Call::SetXattr => "lsetxattr",
            Call::GetXattr => "lgetxattr",
        }
    }
}

/// Why the child let the path be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Not {
    RegularFile,
    BlockDevice,
    ThatDevice,
}

impl Not {
    pub(super) fn name(self) -> &'static str {
        match self {
            Not::RegularFile => "is not a regular file",
            Not::BlockDevice => "is not a block device",
            Not::ThatDevice => "is another block device than it should be",
        }
    }
}

/// What the child says; the bytes and names that it read follow in the slate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// It did not get to an answer.
    Nothing,
    Os(Call, i32),
    Not(Not),
    Done,
    Stat(FileStat),
    StatFs(FsStat),
    Device(DeviceSeen),
    Loop(LoopSeen),
    Exclusive {
        free: bool,
    },
    FileSystem {
        there: bool,
    },
    /// So many bytes follow.
    Bytes(usize),
    /// So many bytes of packed names follow: kind, length, name.
    Names {
        len: usize,
        truncated: bool,
    },
}

/// A piece of memory that is shared with a forked child.
///
/// The child has a mapping of its own, so an abandoned one may go on writing
/// after ours is gone.
pub(super) struct Slate {
    memory: NonNull<u8>,
    room: usize,
}

const HEAD: usize = size_of::<Reply>().next_multiple_of(64);

impl Slate {
    /// Maps a slate with room for so many bytes behind the reply.
    pub(super) fn new(room: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice
        // touches no memory that is in use.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                HEAD + room,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let slate = Self { memory, room };
        slate.put(Reply::Nothing);
        Ok(slate)
    }

    /// Writes the reply.
    pub(super) fn put(&self, reply: Reply) {
        // SAFETY: the mapping is page-aligned and has HEAD bytes for a `Reply`.
        // One process writes at a time: ours before the fork, then the child.
        unsafe { self.memory.as_ptr().cast::<Reply>().write(reply) }
    }

    /// The reply. To be asked when the child is gone.
    pub(super) fn reply(&self) -> Reply {
        // SAFETY: `new` wrote a valid reply, and the child, whose code is ours,
        // writes nothing but whole ones; it is gone, so no write is under way.
        unsafe { self.memory.as_ptr().cast::<Reply>().read() }
    }

    /// How many bytes fit behind the reply.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Where the bytes behind the reply begin.
    pub(super) fn bytes(&self) -> *mut u8 {
        // SAFETY: the mapping has HEAD + room bytes.
        unsafe { self.memory.as_ptr().add(HEAD) }
    }

    /// A copy of the first bytes behind the reply. To be asked when the child
    /// is gone.
    pub(super) fn copy(&self, len: usize) -> Vec<u8> {
        let len = len.min(self.room);
        // SAFETY: `len` bytes lie within the mapping; the kernel zeroed them,
        // and the only one who wrote them since is gone.
        unsafe { std::slice::from_raw_parts(self.bytes(), len) }.to_vec()
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing
        // borrowed from it outlives the slate.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), HEAD + self.room) };
    }
}
