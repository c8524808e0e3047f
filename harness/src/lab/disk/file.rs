//! The one file of a disk of ours, as FUSE asks for it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek64};

use super::{Mood, Shared};

impl Shared {
    fn attributes(&self) -> io::Result<FileAttr> {
        let found = self.image.metadata()?;
        let end = match self.state().mood {
            Mood::Short(end) => end,
            _ => u64::MAX,
        };
        let then = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(FileAttr {
            ino: INodeNo::ROOT,
            size: found.len().min(end),
            blocks: found.blocks(),
            atime: then(found.accessed()),
            mtime: then(found.modified()),
            ctime: then(found.modified()),
            crtime: SystemTime::UNIX_EPOCH,
            kind: FileType::RegularFile,
            perm: u16::try_from(found.mode() & 0o7777).unwrap_or(0o600),
            nlink: 1,
            uid: found.uid(),
            gid: found.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn tell(&self, reply: ReplyAttr) {
        match self.attributes() {
            // Never kept: the image may be made longer beneath us.
            Ok(attributes) => reply.attr(&Duration::ZERO, &attributes),
            Err(error) => reply.error(error.into()),
        }
    }
}

/// The file system: its root is the one file.
pub(super) struct OneFile(pub(super) Arc<Shared>);

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::ENOTDIR);
    }

    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.0.tell(reply);
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let longer = |size| {
            let mut state = self.0.state();
            if matches!(state.mood, Mood::Short(end) if size > end) {
                state.mood = Mood::Well;
            }
            drop(state);
            self.0.image.set_len(size)
        };
        match size.map_or(Ok(()), longer) {
            Ok(()) => self.0.tell(reply),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.0.state().opened = true;
        // Nothing is cached: each read and write comes to us.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.0.read(offset, size, reply);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.0.write(offset, data, reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // What we wrote is in the image; to survive the machine is not asked of it. It is
        // answered while the disk hangs too: the kernel asks while it attaches a device.
        match self.0.state().mood {
            Mood::Fails => reply.error(Errno::EIO),
            Mood::Well | Mood::Unreadable | Mood::Hangs | Mood::Short(_) => reply.ok(),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.0.other(reply, || {
            let place = |n: u64| i64::try_from(n).map_err(io::Error::other);
            let mode = FallocateFlags::from_bits_truncate(mode);
            fallocate(self.0.image.as_fd(), mode, place(offset)?, place(length)?)?;
            Ok(())
        });
    }

    fn lseek(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let whence = match whence {
            libc::SEEK_DATA => Whence::SeekData,
            libc::SEEK_HOLE => Whence::SeekHole,
            _ => return reply.error(Errno::ENOSYS),
        };
        // Nobody else uses the place of this descriptor.
        match lseek64(self.0.image.as_fd(), offset, whence) {
            Ok(found) => reply.offset(found),
            Err(error) => reply.error(io::Error::from(error).into()),
        }
    }
}
