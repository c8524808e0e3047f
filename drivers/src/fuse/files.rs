//! The files behind a mount, by the numbers that the kernel knows them by.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{FileAttr, FileHandle, FileType, INodeNo, Request};

/// The files that the kernel has asked for, by their inode numbers.
pub(super) struct Files {
    names: Mutex<HashMap<u64, PathBuf>>,
    pub(super) open: Mutex<HashMap<u64, File>>,
    pub(super) listed: Mutex<HashMap<u64, Vec<Entry>>>,
}

/// One name in a folder.
pub(super) type Entry = (u64, FileType, OsString);

impl Files {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        Ok(Self {
            names: Mutex::new(HashMap::from([(INodeNo::ROOT.0, root)])),
            open: Mutex::default(),
            listed: Mutex::default(),
        })
    }

    pub(super) fn path(&self, ino: INodeNo) -> io::Result<PathBuf> {
        let found = lock(&self.names).get(&ino.0).cloned();
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    pub(super) fn child(&self, parent: INodeNo, name: &OsStr) -> io::Result<PathBuf> {
        Ok(self.path(parent)?.join(name))
    }

    /// What the kernel is told of a file, which has this name from now on.
    pub(super) fn known(&self, path: PathBuf) -> io::Result<FileAttr> {
        let attributes = attributes(&fs::symlink_metadata(&path)?);
        lock(&self.names).insert(attributes.ino.0, path);
        Ok(attributes)
    }

    pub(super) fn attributes(&self, ino: INodeNo) -> io::Result<FileAttr> {
        let mut told = attributes(&fs::symlink_metadata(self.path(ino)?)?);
        told.ino = ino;
        Ok(told)
    }

    /// A new file belongs to whoever asked for it.
    pub(super) fn made(&self, request: &Request, path: PathBuf) -> io::Result<FileAttr> {
        lchown(&path, Some(request.uid()), Some(request.gid()))?;
        self.known(path)
    }

    pub(super) fn keep(&self, file: File) -> io::Result<FileHandle> {
        let mut open = lock(&self.open);
        let number = (1..).find(|number| !open.contains_key(number));
        let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        open.insert(number, file);
        Ok(FileHandle(number))
    }

    pub(super) fn with<T>(
        &self,
        fh: FileHandle,
        f: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        match lock(&self.open).get(&fh.0) {
            Some(file) => f(file),
            None => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    pub(super) fn list(&self, ino: INodeNo) -> io::Result<FileHandle> {
        let mut entries = vec![
            (ino.0, FileType::Directory, OsString::from(".")),
            (ino.0, FileType::Directory, OsString::from("..")),
        ];
        for entry in fs::read_dir(self.path(ino)?)? {
            let entry = entry?;
            let found = entry.metadata()?;
            entries.push((found.ino(), kind(&found), entry.file_name()));
        }
        let mut listed = lock(&self.listed);
        let number = (1..).find(|number| !listed.contains_key(number));
        let number = number.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        listed.insert(number, entries);
        Ok(FileHandle(number))
    }

    /// Names at and below a path that was renamed.
    pub(super) fn renamed(&self, from: &Path, to: &Path) {
        for path in lock(&self.names).values_mut() {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = match rest.as_os_str().is_empty() {
                    true => to.to_owned(),
                    false => to.join(rest),
                };
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind(of: &Metadata) -> FileType {
    let kind = of.file_type();
    match () {
        () if kind.is_dir() => FileType::Directory,
        () if kind.is_symlink() => FileType::Symlink,
        () if kind.is_fifo() => FileType::NamedPipe,
        () if kind.is_socket() => FileType::Socket,
        () if kind.is_char_device() => FileType::CharDevice,
        () if kind.is_block_device() => FileType::BlockDevice,
        () => FileType::RegularFile,
    }
}

pub(super) fn attributes(of: &Metadata) -> FileAttr {
    let at = |seconds: i64, nanos: i64| {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        UNIX_EPOCH + whole + Duration::from_nanos(nanos.unsigned_abs())
    };
    FileAttr {
        ino: INodeNo(of.ino()),
        size: of.size(),
        blocks: of.blocks(),
        atime: at(of.atime(), of.atime_nsec()),
        mtime: at(of.mtime(), of.mtime_nsec()),
        ctime: at(of.ctime(), of.ctime_nsec()),
        crtime: UNIX_EPOCH,
        kind: kind(of),
        perm: u16::try_from(of.mode() & 0o7777).unwrap_or(0),
        nlink: u32::try_from(of.nlink()).unwrap_or(u32::MAX),
        uid: of.uid(),
        gid: of.gid(),
        rdev: u32::try_from(of.rdev()).unwrap_or(0),
        blksize: 4096,
        flags: 0,
    }
}
