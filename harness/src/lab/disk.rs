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

mod file;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fuser::{Config, Errno, ReplyData, ReplyEmpty, ReplyWrite, SessionACL};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use self::file::OneFile;
use super::identity::FileIdentity;
use super::journal::{Entry, Journal};
use super::mkfs;
use crate::node::{Look, LoopDevice, MountTable, Seen, look, loops};

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
    /// It ends after so many bytes, until somebody makes it longer.
    Short(u64),
}

/// A disk of ours in place of a disk image, until it is lifted or dropped.
#[derive(Debug)]
pub struct Disk {
    shared: Arc<Shared>,
    lifted: Mutex<bool>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Shared {
    image: File,
    path: PathBuf,
    journal: Option<Arc<Journal>>,
    /// The one file, as a loop device names it.
    file: OnceLock<FileIdentity>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    /// It was opened, and the loop device that did so is not in the journal yet.
    opened: bool,
    /// Who waits while it hangs.
    waiting: Vec<Waiting>,
    /// When it was last made well again.
    healed: Option<Instant>,
    /// Reads and writes since it is ill.
    asked: u64,
    /// It was written to, or about to be formatted, while it could not be read or was
    /// too short.
    written: bool,
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
            journal: journal.clone(),
            file: OnceLock::new(),
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
        let _ = disk.shared.file.set(seen(path)?);
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

    /// Whether it was written to, or about to be formatted, while it could not be read or
    /// was too short.
    pub fn was_written(&self) -> bool {
        self.shared.state().written
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
        if let Some(journal) = &self.shared.journal {
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

/// The one file, as the kernel shows it. Looked at by a child: an open of our own would
/// be closed with us when we die, and that waits for the threads that are dead by then.
fn seen(path: &Path) -> io::Result<FileIdentity> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let look = Look::Stat {
        path: path.to_owned(),
    };
    match look::look_now(&look, PATIENCE) {
        Ok(Seen::Stat(stat)) => Ok(FileIdentity {
            dev: libc::makedev(stat.dev.0, stat.dev.1),
            ino: stat.ino,
        }),
        Ok(other) => Err(io::Error::other(format!("{other:?}"))),
        Err(error) => Err(io::Error::other(error.to_string())),
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

    /// Writes the loop devices down that are attached to it, for the next run, should
    /// this one be killed; whether there is one.
    fn writes_down_devices(&self) -> bool {
        let devices = self.devices();
        for device in &devices {
            if let (Some(journal), Some(file), Some(diskseq)) =
                (&self.journal, self.file.get(), device.id.diskseq)
                && let Err(error) = journal.write(&Entry::Loop {
                    number: device.number,
                    diskseq,
                    backing: device.backing.clone(),
                    file: *file,
                })
            {
                tracing::warn!(%error, "a loop device is not in the journal");
            }
        }
        !devices.is_empty()
    }

    fn is_being_formatted(&self) -> bool {
        let devices = self.devices();
        mkfs::is_at_work_on(|word| devices.iter().any(|device| device.path() == word))
    }

    fn now(&self, writes: bool) -> Now {
        let mut state = self.state();
        if state.opened {
            state.opened = !self.writes_down_devices();
        }
        if state.mood != Mood::Well {
            state.asked += 1;
            if matches!(state.mood, Mood::Short(_)) && writes {
                state.written = true;
            }
            if state.mood == Mood::Unreadable && (writes || self.is_being_formatted()) {
                state.written = true;
                state.mood = Mood::Well;
                state.healed = Some(Instant::now());
            }
        }
        match state.mood {
            Mood::Well | Mood::Short(_) => Now::Do,
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
}
