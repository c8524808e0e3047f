//! The process behind one mount: what is asked of a file is done to the one of the
//! same name in the volume's folder.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Config, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session,
    SessionACL, TimeOrNow, WriteFlags,
};

use super::files::{Files, attributes, lock};

/// How long the kernel may remember what it was told: nobody else changes the folder.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How often, and how often in a row, the folder of the plugin's socket must be
/// missing before it counts as removed: a plugin that starts may make it anew.
const LOOKED_FOR: (Duration, u32) = (Duration::from_secs(1), 3);

/// Answers for the files of a mount whose connection is the standard input, until
/// the mount ends, or the folder of the plugin's socket is removed: then nobody is
/// left who could take the mount away.
///
/// # Errors
///
/// The standard input is no such connection, or it breaks.
pub fn serve_folder(folder: &Path, socket_folder: PathBuf) -> io::Result<()> {
    std::thread::spawn(move || {
        let mut missing = 0;
        while missing < LOOKED_FOR.1 {
            std::thread::sleep(LOOKED_FOR.0);
            missing = if socket_folder.exists() {
                0
            } else {
                missing + 1
            };
        }
        std::process::exit(0);
    });
    let connection = io::stdin().as_fd().try_clone_to_owned()?;
    let files = Files::of(folder)?;
    Session::from_fd(files, connection, SessionACL::All, Config::default())?.run()
}

/// Answers with what came of it, or with the kernel's error.
macro_rules! answer {
    ($reply:ident, $what:expr, $ok:expr) => {
        match (|| -> io::Result<_> { $what })() {
            Ok(value) => $ok(value),
            Err(error) => $reply.error(Errno::from(error)),
        }
    };
}

/// The same, where a file is told of under its name.
macro_rules! entry {
    ($reply:ident, $what:expr) => {
        answer!($reply, $what, |told| $reply.entry(
            &REMEMBERED,
            &told,
            Generation(0)
        ))
    };
}

#[expect(
    clippy::redundant_closure_call,
    reason = "it gives the question mark a place to go"
)]
impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry!(reply, self.known(self.child(parent, name)?));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let told = self.attributes(ino).or_else(|error| -> io::Result<_> {
            // A file without a name is known by its handle alone.
            let of = self.with(fh.ok_or(error)?, File::metadata)?;
            Ok(attributes(&of))
        });
        answer!(reply, told, |told| reply.attr(&REMEMBERED, &told));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || {
            let path = self.path(ino)?;
            if uid.is_some() || gid.is_some() {
                lchown(&path, uid, gid)?;
            }
            if let Some(mode) = mode {
                fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
            }
            if let Some(size) = size {
                match fh {
                    Some(fh) => self.with(fh, |file| file.set_len(size))?,
                    None => OpenOptions::new().write(true).open(&path)?.set_len(size)?,
                }
            }
            if atime.is_some() || mtime.is_some() {
                let mut times = fs::FileTimes::new();
                if let Some(at) = atime.map(moment) {
                    times = times.set_accessed(at);
                }
                if let Some(at) = mtime.map(moment) {
                    times = times.set_modified(at);
                }
                File::open(&path)?.set_times(times)?;
            }
            self.attributes(ino)
        };
        answer!(reply, set(), |told| reply.attr(&REMEMBERED, &told));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        answer!(reply, fs::read_link(self.path(ino)?), |to: PathBuf| reply
            .data(to.as_os_str().as_encoded_bytes()));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let make = || {
            if mode & libc::S_IFMT != libc::S_IFREG {
                return Err(io::Error::from_raw_os_error(libc::EPERM));
            }
            let path = self.child(parent, name)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            options.mode(mode & !umask & 0o7777).open(&path)?;
            self.made(request, path)
        };
        entry!(reply, make());
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let make = || {
            let path = self.child(parent, name)?;
            fs::DirBuilder::new()
                .mode(mode & !umask & 0o7777)
                .create(&path)?;
            self.made(request, path)
        };
        entry!(reply, make());
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_file(self.child(parent, name)?), |()| {
            reply.ok()
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, fs::remove_dir(self.child(parent, name)?), |()| reply
            .ok());
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let make = || {
            let path = self.child(parent, name)?;
            symlink(target, &path)?;
            self.made(request, path)
        };
        entry!(reply, make());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            if !flags.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            let (from, to) = (self.child(parent, name)?, self.child(new_parent, new_name)?);
            fs::rename(&from, &to)?;
            self.renamed(&from, &to);
            Ok(())
        };
        answer!(reply, rename(), |()| reply.ok());
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let link = || {
            let path = self.child(new_parent, new_name)?;
            fs::hard_link(self.path(ino)?, &path)?;
            self.known(path)
        };
        entry!(reply, link());
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let open = || {
            let mode = flags.acc_mode();
            let file = OpenOptions::new()
                .read(mode != OpenAccMode::O_WRONLY)
                .write(mode != OpenAccMode::O_RDONLY)
                .custom_flags(libc::O_NOFOLLOW)
                .open(self.path(ino)?)?;
            self.keep(file)
        };
        answer!(reply, open(), |fh| reply.opened(fh, FopenFlags::empty()));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let create = || {
            let path = self.child(parent, name)?;
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            let file = options.mode(mode & !umask & 0o7777).open(&path)?;
            let told = self.made(request, path)?;
            Ok::<_, io::Error>((told, self.keep(file)?))
        };
        answer!(reply, create(), |(told, fh)| reply.created(
            &REMEMBERED,
            &told,
            Generation(0),
            fh,
            FopenFlags::empty()
        ));
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            let mut there = 0;
            while let Some(room) = bytes.get_mut(there..).filter(|room| !room.is_empty()) {
                match self.with(fh, |file| file.read_at(room, offset + there as u64))? {
                    0 => break,
                    read => there += read,
                }
            }
            bytes.truncate(there);
            Ok::<_, io::Error>(bytes)
        };
        answer!(reply, read(), |bytes: Vec<u8>| reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with(fh, |file| file.write_all_at(data, offset));
        let size = u32::try_from(data.len()).unwrap_or(0);
        answer!(reply, written, |()| reply.written(size));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        lock(&self.open).remove(&fh.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, self.with(fh, File::sync_all), |()| reply.ok());
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.list(ino), |fh| reply
            .opened(fh, FopenFlags::empty()));
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = lock(&self.listed);
        let entries = listed.get(&fh.0).map(Vec::as_slice).unwrap_or_default();
        let begin = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, (ino, kind, name)) in entries.iter().enumerate().skip(begin) {
            if reply.add(INodeNo(*ino), place as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        lock(&self.listed).remove(&fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer!(reply, File::open(self.path(ino)?)?.sync_all(), |()| reply
            .ok());
    }

    fn statfs(&self, _: &Request, ino: INodeNo, reply: ReplyStatfs) {
        let told = || {
            let path = self.path(ino)?;
            nix::sys::statvfs::statvfs(&path).map_err(io::Error::from)
        };
        answer!(reply, told(), |told: nix::sys::statvfs::Statvfs| reply
            .statfs(
                told.blocks(),
                told.blocks_free(),
                told.blocks_available(),
                told.files(),
                told.files_free(),
                u32::try_from(told.block_size()).unwrap_or(4096),
                255,
                u32::try_from(told.fragment_size()).unwrap_or(4096),
            ));
    }
}

fn moment(at: TimeOrNow) -> SystemTime {
    match at {
        TimeOrNow::SpecificTime(at) => at,
        TimeOrNow::Now => SystemTime::now(),
    }
}
