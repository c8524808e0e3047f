//! A disk that does as it is told: well, failing, hanging.
//!
//! A FUSE file system with one file, mounted over the disk image of a volume.
//! All that is read and written goes through to the image, as long as the disk
//! is well. A loop device that is attached to it is as ill as it is. What a disk
//! tells of itself without being read (its size) is always told.
//!
//! It is served by threads of ours that touch nothing but the image, which they
//! opened before: nothing of ours ever waits for it. When we die, `/dev/fuse` is
//! closed with us, and everybody who waits gets an error.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyWrite, Request, SessionACL, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Whence, lseek64};

use super::journal::{Entry, Journal};
use crate::node::{DiskId, LoopDevice, MountTable, loops, process};

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// Nothing is wrong with it.
    #[default]
    Well,
    /// Every read and write is an I/O error.
    Fails,
    /// Every read is an I/O error, until something is written to it, or a file system is
    /// to be made on it: with that it is well again, as a disk that comes back at the
    /// wrong moment.
    Unreadable,
    /// Reads and writes are not answered.
    Hangs,
}

/// A disk of ours in place of a disk image, until it is lifted or dropped.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    lifted: Mutex<bool>,
    journal: Option<Arc<Journal>>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Shared {
    image: File,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// Who waits while it hangs.
    waiting: Vec<Waiting>,
    /// When it was last made well again.
    healed: Option<Instant>,
    /// Reads and writes since it is ill.
    asked: u64,
    /// It was written to, or about to be formatted, while it could not be read.
    written: bool,
    /// The loop devices through which it was asked while it was ill.
    seen: Vec<DiskId>,
}

#[derive(Debug)]
enum Waiting {
    Read(u64, u32, ReplyData),
    Write(u64, Vec<u8>, ReplyWrite),
    Other(ReplyEmpty),
}

/// What to do with one request.
enum Now {
    Do,
    Fail,
    Wait,
}

impl Disk {
    /// Mounts one over a disk image that nobody uses. Blocks.
    ///
    /// # Errors
    /// There is no FUSE, or the image cannot be opened.
    pub fn over(path: &Path, journal: Option<Arc<Journal>>) -> io::Result<Self> {
        let image = File::options().read(true).write(true).open(path)?;
        let shared = Arc::new(Shared {
            image,
            path: path.to_owned(),
            state: Mutex::default(),
        });
        let fuse = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!(
            "fd={},rootmode=100000,user_id=0,group_id=0,allow_other",
            fuse.as_raw_fd()
        );
        let write = |entry: &Entry| match &journal {
            Some(journal) => journal.write(entry).map_err(io::Error::other),
            None => Ok(()),
        };
        let intent = Entry::Mount {
            path: path.to_owned(),
            unique_id: None,
        };
        write(&intent)?;
        mount(
            Some("csi-conformance-disk"),
            path,
            Some("fuse"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some(options.as_str()),
        )?;
        let mut disk = Self {
            shared: shared.clone(),
            lifted: Mutex::new(false),
            journal: journal.clone(),
            entries: Vec::new(),
        };
        let file = OneFile(shared);
        let session =
            fuser::Session::from_fd(file, fuse.into(), SessionACL::All, Config::default())?;
        std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(move || session.run())?;
        let made = Entry::mount_at(path);
        write(&made)?;
        disk.entries.push(made);
        // The loop devices on it go with it.
        let on_it = Entry::scratch_at(path)?;
        write(&on_it)?;
        disk.entries.push(on_it);
        Ok(disk)
    }

    /// The image that it stands for.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Lets it be ill, or well again; who waits is answered. Never waits.
    pub fn set(&self, mood: Mood) {
        let waiting = {
            let mut state = self.shared.state();
            if state.mood == Mood::Well {
                (state.asked, state.written) = (0, false);
            }
            if mood == Mood::Well && state.mood != Mood::Well {
                state.healed = Some(Instant::now());
            }
            state.mood = mood;
            match mood {
                Mood::Hangs => Vec::new(),
                _ => std::mem::take(&mut state.waiting),
            }
        };
        for one in waiting {
            match one {
                Waiting::Read(offset, size, reply) => self.shared.read(offset, size, reply),
                Waiting::Write(offset, data, reply) => self.shared.write(offset, &data, reply),
                Waiting::Other(reply) => self.shared.other(reply, || Ok(())),
            }
        }
    }

    /// When it was last made well again.
    pub fn healed(&self) -> Option<Instant> {
        self.shared.state().healed
    }

    /// How it is.
    pub fn mood(&self) -> Mood {
        self.shared.state().mood
    }

    /// Whether it was asked for anything since it is, or last was, ill.
    pub fn was_asked(&self) -> bool {
        self.shared.state().asked > 0
    }

    /// Whether it was written to, or about to be formatted, while it could not be read.
    pub fn was_written(&self) -> bool {
        self.shared.state().written
    }

    /// The loop devices through which it was asked while it was ill.
    pub fn seen(&self) -> Vec<DiskId> {
        self.shared.state().seen.clone()
    }

    /// Lets the kernel forget what it keeps of the loop devices on it and need not
    /// keep. Blocks, and is not to be called while the disk hangs.
    pub fn forget_cached(&self) {
        for device in self.shared.devices() {
            if let Ok(file) = File::open(device.path()) {
                let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
            }
        }
    }

    /// Takes it away, and shows the image again. A loop device that is still
    /// attached to it fails from then on. Blocks for a moment.
    ///
    /// # Errors
    /// It stays.
    pub fn lift(&self) -> io::Result<()> {
        const BUSY: Duration = Duration::from_secs(2);
        let mut lifted = self.lifted.lock().unwrap_or_else(PoisonError::into_inner);
        if *lifted {
            return Ok(());
        }
        self.set(Mood::Well);
        let until = Instant::now() + BUSY;
        loop {
            if !self.is_on_top()? {
                break;
            }
            // A last close may be a moment away.
            let last = Instant::now() > until;
            let flags = match last {
                false => MntFlags::UMOUNT_NOFOLLOW,
                true => MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH,
            };
            match umount2(&self.shared.path, flags) {
                Ok(()) if last => self.set(Mood::Fails),
                Ok(()) => {}
                Err(nix::errno::Errno::EBUSY) if !last => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error.into()),
            }
        }
        *lifted = true;
        if let Some(journal) = &self.journal {
            for entry in &self.entries {
                journal.gone(entry).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }

    fn is_on_top(&self) -> io::Result<bool> {
        let table = MountTable::ours()?;
        let mounts = table.at(&self.shared.path);
        Ok(mounts
            .last()
            .is_some_and(|mount| mount.source == "csi-conformance-disk"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.lift() {
            tracing::warn!(%error, "a disk of ours stays over its image");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop devices that are attached to it.
    fn devices(&self) -> Vec<LoopDevice> {
        let mut all = loops().unwrap_or_default();
        all.retain(|device| device.backing == self.path);
        all
    }

    fn now(&self, writes: bool) -> Now {
        let mut state = self.state();
        if state.mood != Mood::Well {
            state.asked += 1;
            let on_us = self.devices();
            for device in &on_us {
                if !state.seen.contains(&device.id) {
                    state.seen.push(device.id);
                }
            }
            if state.mood == Mood::Unreadable && (writes || is_being_formatted(&on_us)) {
                state.written = true;
                state.mood = Mood::Well;
                state.healed = Some(Instant::now());
            }
        }
        match state.mood {
            Mood::Well => Now::Do,
            Mood::Fails | Mood::Unreadable => Now::Fail,
            Mood::Hangs => Now::Wait,
        }
    }

    fn waits(&self, one: Waiting) {
        let mut state = self.state();
        // It may have been healed since it was looked at.
        if state.mood == Mood::Hangs {
            state.waiting.push(one);
            return;
        }
        drop(state);
        match one {
            Waiting::Read(offset, size, reply) => self.read(offset, size, reply),
            Waiting::Write(offset, data, reply) => self.write(offset, &data, reply),
            Waiting::Other(reply) => self.other(reply, || Ok(())),
        }
    }

    fn read(&self, offset: u64, size: u32, reply: ReplyData) {
        match self.now(false) {
            Now::Wait => self.waits(Waiting::Read(offset, size, reply)),
            Now::Fail => reply.error(Errno::EIO),
            Now::Do => {
                let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
                match self.image.read_at(&mut bytes, offset) {
                    Ok(n) => reply.data(&bytes[..n]),
                    Err(error) => reply.error(error.into()),
                }
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8], reply: ReplyWrite) {
        match self.now(true) {
            Now::Wait => self.waits(Waiting::Write(offset, data.to_vec(), reply)),
            Now::Fail => reply.error(Errno::EIO),
            Now::Do => match self.image.write_all_at(data, offset) {
                Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
                Err(error) => reply.error(error.into()),
            },
        }
    }

    /// A request that has nothing to answer.
    fn other(&self, reply: ReplyEmpty, work: impl FnOnce() -> io::Result<()>) {
        match self.now(true) {
            Now::Wait => self.waits(Waiting::Other(reply)),
            Now::Fail => reply.error(Errno::EIO),
            Now::Do => match work() {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error.into()),
            },
        }
    }

    fn attributes(&self) -> io::Result<FileAttr> {
        let found = self.image.metadata()?;
        let then = |time: io::Result<SystemTime>| time.unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(FileAttr {
            ino: INodeNo::ROOT,
            size: found.len(),
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

/// Whether some mkfs has one of these devices among its arguments.
fn is_being_formatted(devices: &[LoopDevice]) -> bool {
    let is_one = |argument: &OsStr| devices.iter().any(|device| device.path() == argument);
    let found = process::with_argument(is_one).unwrap_or_default();
    found.iter().any(|(_, words)| {
        let program = words.first().map(Path::new).and_then(Path::file_name);
        let program = program.unwrap_or_default().to_string_lossy();
        program.starts_with("mkfs") || program.starts_with("mke2fs")
    })
}

/// The file system: its root is the one file.
struct OneFile(Arc<Shared>);

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
        match size.map_or(Ok(()), |size| self.0.image.set_len(size)) {
            Ok(()) => self.0.tell(reply),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
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
            Mood::Well | Mood::Unreadable | Mood::Hangs => reply.ok(),
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
