//! The journal of a run: what it made, so that the next run can take it away
//! if this one is killed.
//!
//! JSON lines, each on the disk before the work goes on. A live run holds an
//! OFD lock on it (fcntl_locking(2)). The lock belongs to the open file
//! description, so a child that kept the descriptor would keep the lock past
//! the death of the run: the descriptor is closed on exec, and children that
//! are forked without exec close all they inherit first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use serde::{Deserialize, Serialize};

use super::identity::FileIdentity;
use crate::node::{LoopDevice, ProcessId, host, statmount};

/// One line of a journal.
///
/// What is made is written twice where that is possible: as an intent before,
/// without an identity, and with its identity after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry")]
pub enum Entry {
    /// The first line: who wrote the journal.
    Run {
        /// The boot that mounts, loop devices and processes belong to.
        boot_id: String,
        /// The harness.
        process: ProcessId,
        /// Seconds since 1970.
        started: u64,
    },
    /// A folder that is ours with all that is in it, and all mounted below it.
    Folder {
        /// Where it is, in our namespace.
        path: PathBuf,
        /// None before it is made.
        made: Option<FileIdentity>,
    },
    /// A folder that we made on the way to one of ours, and that others may
    /// use since: it goes if it is empty.
    Parent {
        /// Where it is.
        path: PathBuf,
        /// None before it is made.
        made: Option<FileIdentity>,
    },
    /// A mount that we made outside of our folders.
    Mount {
        /// Where it is.
        path: PathBuf,
        /// Its unique number; none before it is made, and where the kernel has none.
        unique_id: Option<u64>,
    },
    /// The scratch file system, and with it every loop device whose file lies on
    /// it: the driver that made it may have been killed before it told anybody.
    Scratch {
        /// Where it is mounted, in the run's own namespace.
        path: PathBuf,
        /// Its device number (`st_dev`).
        dev: u64,
    },
    /// A loop device that is ours.
    Loop {
        /// The `N` of `/dev/loopN`.
        number: u32,
        /// Its disk sequence number.
        diskseq: u64,
        /// Its backing file, for reading.
        backing: PathBuf,
        /// The identity of its backing file.
        file: FileIdentity,
    },
    /// A device-mapper device of a volume that lies on a device of ours, so that it is as
    /// ill as we want it. Written before it does.
    Mapped {
        /// The name that its maker gave it.
        name: String,
        /// The UUID that its maker gave it, or nothing.
        uuid: String,
        /// Its number.
        major: u32,
        /// Its number.
        minor: u32,
        /// Its disk sequence number.
        diskseq: Option<u64>,
        /// The table that it has to get again, as dmsetup(8) reads it.
        table: String,
        /// The name of the device of ours.
        helper: String,
    },
    /// A process that we started.
    Process {
        /// Which.
        process: ProcessId,
        /// What it is, for reading: `driver`, `holder`.
        what: String,
    },
    /// An NFS server of ours.
    NfsServer {
        /// The process that holds its namespaces.
        holder: ProcessId,
        /// The name of the link to it.
        link: String,
        /// The link's number, which no other gets before the next boot.
        index: u32,
    },
    /// A volume that we asked a driver to make.
    Volume {
        /// Where the driver listens.
        endpoint: String,
        /// The volume's id; none before the answer.
        id: Option<String>,
        /// The name that we asked for.
        name: String,
    },
    /// What an earlier line told of is gone.
    Gone {
        /// That line, word for word.
        of: Box<Entry>,
    },
}

impl Entry {
    /// The loop device `loopN` as it is now, with this backing file.
    ///
    /// # Errors
    /// There is no such loop device, or the file cannot be looked at.
    pub fn loop_device(number: u32, backing: &Path) -> io::Result<Self> {
        let missing = || {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("loop{number} has no file behind it, or no disk sequence number"),
            )
        };
        let device = LoopDevice::numbered(number)?;
        let diskseq = device.and_then(|d| d.id.diskseq).ok_or_else(missing)?;
        let file = FileIdentity::at(backing)?;
        Ok(Self::Loop {
            number,
            diskseq,
            backing: backing.to_owned(),
            file,
        })
    }

    /// The scratch file system that is mounted at a path.
    ///
    /// # Errors
    /// stat(2) failed.
    pub fn scratch_at(path: &Path) -> io::Result<Self> {
        Ok(Self::Scratch {
            path: path.to_owned(),
            dev: FileIdentity::at(path)?.dev,
        })
    }

    /// The topmost mount at a path, just made by us and alive. It has no
    /// unique number where the kernel tells none.
    #[must_use]
    pub fn mount_at(path: &Path) -> Self {
        Self::Mount {
            path: path.to_owned(),
            unique_id: statmount::top_mount_at(path)
                .ok()
                .flatten()
                .map(|mount| mount.unique_id),
        }
    }
}

/// A journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A system call failed.
    #[error("{call} {path}: {error}")]
    Io {
        /// The call.
        call: &'static str,
        /// The path that it was for.
        path: PathBuf,
        /// What it answered.
        error: io::Error,
    },
    /// A path that JSON cannot hold.
    #[error("{path}: an entry cannot be written: {error}")]
    Entry {
        /// The journal.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// Another process holds it.
    #[error("{path} is held by a run that is alive")]
    Held {
        /// The journal.
        path: PathBuf,
    },
}

impl JournalError {
    pub(super) fn io(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            call,
            path: path.to_owned(),
            error,
        }
    }
}

/// The journal of a run that is alive.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Begins the journal in the run's folder, and holds it.
    ///
    /// # Errors
    /// It cannot be made, held or written.
    pub fn begin(run_folder: &Path) -> Result<Self, JournalError> {
        let path = run_folder.join("journal");
        // Under another name until it is held and has its first line: a journal
        // that nobody holds would be taken for a killed run's.
        let draft = run_folder.join(".journal");
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(JournalError::io("create", &draft))?;
        if !hold(&file).map_err(JournalError::io("lock", &draft))? {
            return Err(JournalError::Held { path: draft });
        }
        let journal = Self {
            path: path.clone(),
            file: Mutex::new(file),
        };
        journal.write(&Entry::Run {
            boot_id: host::boot_id().map_err(JournalError::io("begin", &path))?,
            process: ProcessId::ours().map_err(JournalError::io("begin", &path))?,
            started: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        })?;
        fs::rename(&draft, &path).map_err(JournalError::io("rename", &draft))?;
        let synced = File::open(run_folder).and_then(|folder| folder.sync_all());
        synced.map_err(JournalError::io("fsync", run_folder))?;
        Ok(journal)
    }

    /// Writes a line, and returns when it is on the disk.
    ///
    /// # Errors
    /// The entry holds a path that is no UTF-8, or the disk refuses it.
    pub fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let refused = |error| JournalError::Entry {
            path: self.path.clone(),
            error,
        };
        let mut line = serde_json::to_vec(entry).map_err(refused)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
            .and_then(|()| file.sync_data())
            .map_err(JournalError::io("write", &self.path))
    }

    /// Writes that what an earlier line told of is gone.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub fn gone(&self, of: &Entry) -> Result<(), JournalError> {
        self.write(&Entry::Gone {
            of: Box::new(of.clone()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file and its path, for the end of the run; the lock is kept.
    pub(super) fn into_parts(self) -> (PathBuf, File) {
        (
            self.path,
            self.file
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// Takes the lock of a journal: false if another holds it.
fn hold(file: &File) -> io::Result<bool> {
    // SAFETY: flock is plain data, for which all zeroes is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens and holds the journal of a run that is dead: none where it is alive,
/// or was cleaned by another in the meantime.
pub(super) fn take_over(path: &Path) -> Result<Option<File>, JournalError> {
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::io("open", path)(error)),
    };
    if !hold(&file).map_err(JournalError::io("lock", path))? {
        return Ok(None);
    }
    let deleted = nix::sys::stat::fstat(&file)
        .map_err(io::Error::from)
        .map_err(JournalError::io("fstat", path))?;
    Ok((deleted.st_nlink > 0).then_some(file))
}

/// What a journal tells is there: its entries, without those that are gone and
/// without the intents that were fulfilled. Lines that cannot be read are given
/// apart; the last one is torn if the run died while it wrote.
pub(super) fn read(path: &Path) -> Result<(Vec<Entry>, Vec<String>), JournalError> {
    let mut text = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(JournalError::io("read", path))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut unread = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Entry::Gone { of }) => entries.retain(|entry| *entry != *of),
            Ok(entry) => {
                entries.retain(|intent| !fulfils(&entry, intent));
                entries.push(entry);
            }
            Err(_) if !line.ends_with(b"\n") => {}
            Err(_) => unread.push(String::from_utf8_lossy(line).trim_end().to_owned()),
        }
    }
    Ok((entries, unread))
}

/// Whether an entry is what an earlier intent announced.
fn fulfils(entry: &Entry, intent: &Entry) -> bool {
    match (entry, intent) {
        (
            Entry::Folder {
                path,
                made: Some(_),
            },
            Entry::Folder {
                path: meant,
                made: None,
            },
        )
        | (
            Entry::Parent {
                path,
                made: Some(_),
            },
            Entry::Parent {
                path: meant,
                made: None,
            },
        )
        | (
            Entry::Mount {
                path,
                unique_id: Some(_),
            },
            Entry::Mount {
                path: meant,
                unique_id: None,
            },
        ) => path == meant,
        (
            Entry::Volume {
                endpoint,
                id: Some(_),
                name,
            },
            Entry::Volume {
                endpoint: at,
                id: None,
                name: meant,
            },
        ) => endpoint == at && name == meant,
        _ => false,
    }
}
