//! A device-mapper device as a disk that does as it is told: the logical volumes of
//! LVM, and what else is mapped onto other disks sector by sector.
//!
//! A disk is broken by its table (dmsetup(8);
//! Documentation/admin-guide/device-mapper/linear.rst). While it is ill, the volume's
//! device lies on a helper, a device of ours that has the volume's own table, or
//! nothing but errors, or is suspended: the driver's device is never suspended for
//! longer than it takes to change a table, and the kernel counts what it is asked for,
//! which it does not do where a device itself answers with errors or is suspended.
//! Healed, the device has its own table again, and the helper is gone. What the driver
//! does with the device while it is ill, it finds as on any other: it can be mounted,
//! unmounted, removed, and given another table, which is left in force then.
//!
//! One thing it cannot do that a disk over an image can: to be well again with the first
//! write. It stays unreadable, and a mkfs fails; that there was one is told all the same.

mod dmsetup;
mod restore;
mod table;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use self::restore::put_back;
pub(super) use self::restore::{let_go, remove_over};
use self::table::{SECTOR, Table};
use super::disk::Mood;
use super::journal::{Entry, Journal};
use super::{mkfs, random_hex};
use crate::node::{MappedDevice, Requests};

/// How often it is looked for a mkfs.
const PERIOD: Duration = Duration::from_millis(10);

/// A device-mapper device that is ours to break, until it is dropped.
#[derive(Debug)]
pub struct Mapped {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal>>,
}

#[derive(Debug)]
struct Shared {
    device: MappedDevice,
    state: Mutex<State>,
    /// The mood is another.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    mood: Mood,
    harm: Option<Harm>,
    /// When it was last made well again.
    healed: Option<Instant>,
    /// It was asked for something while it was last ill.
    asked: bool,
    /// It was written to, or about to be formatted, while it was last ill.
    written: bool,
}

/// What has to be undone.
#[derive(Debug)]
struct Harm {
    own: Table,
    helper: MappedDevice,
    entry: Entry,
    /// What the device was asked for until then.
    before: Requests,
}

impl Mapped {
    /// A device that is in use by nobody. Nothing is done to it yet. Blocks.
    ///
    /// # Errors
    /// Its table cannot be read, or cannot be told a second time; there are devices on it.
    pub fn over(device: MappedDevice, journal: Option<Arc<Journal>>) -> io::Result<Self> {
        table_to_break(&device)?;
        Ok(Self {
            shared: Arc::new(Shared {
                device,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            journal,
        })
    }

    /// The device.
    pub fn device(&self) -> &MappedDevice {
        &self.shared.device
    }

    /// Lets it be ill, or well again; who waits is answered. Blocks for a moment, and
    /// for seconds where the disks beneath it hang.
    ///
    /// # Errors
    /// The kernel refuses: what can be undone is. Or it cannot be healed, and stays in the
    /// journal.
    pub fn set(&self, mood: Mood) -> io::Result<()> {
        let mut state = self.shared.state();
        self.heal(&mut state)?;
        if mood != Mood::Well {
            (state.asked, state.written) = (false, false);
            state.harm = Some(self.harm(mood)?);
            state.mood = mood;
        }
        self.shared.changed.notify_all();
        drop(state);
        if mood == Mood::Unreadable {
            let shared = self.shared.clone();
            std::thread::Builder::new()
                .name("mkfs".to_owned())
                .spawn(move || shared.looks_for_mkfs())?;
        }
        Ok(())
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
        self.shared.counts().asked
    }

    /// Whether it was written to, or about to be formatted, since it is, or last was, ill.
    pub fn was_written(&self) -> bool {
        self.shared.counts().written
    }

    /// Lets the kernel forget what it keeps of it and need not keep. Blocks, and is not to
    /// be called while it hangs.
    pub fn forget_cached(&self) {
        if let Ok(file) = File::open(self.device().path()) {
            let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }

    fn heal(&self, state: &mut State) -> io::Result<()> {
        let Some(harm) = &state.harm else {
            return Ok(());
        };
        (state.asked, state.written) = self.shared.counted(state);
        // From here on who waits may be answered.
        state.healed = Some(Instant::now());
        put_back(&self.shared.device, &harm.own, &harm.helper)?;
        let entry = harm.entry.clone();
        (state.harm, state.mood) = (None, Mood::Well);
        self.journal_gone(&entry)
    }

    fn harm(&self, mood: Mood) -> io::Result<Harm> {
        let device = &self.shared.device;
        let own = table_to_break(device)?;
        let length = match mood {
            Mood::Short(end) => (end / SECTOR).clamp(1, own.length()),
            _ => own.length(),
        };
        let name = format!("csi-conformance-{}", random_hex(8)?);
        let (major, minor) = device.id.number;
        let entry = Entry::Mapped {
            name: device.name.clone(),
            uuid: device.uuid.clone(),
            major,
            minor,
            diskseq: device.id.diskseq,
            table: own.to_string(),
            helper: name.clone(),
        };
        if let Some(journal) = &self.journal {
            journal.write(&entry).map_err(io::Error::other)?;
        }
        let beneath = match mood {
            Mood::Fails | Mood::Unreadable => own.all_errors(),
            Mood::Well | Mood::Hangs | Mood::Short(_) => own.behind_a_shift(),
        };
        let made = dmsetup::create(&name, &beneath).and_then(|()| restore::named(&name));
        let Some(helper) = made.inspect_err(|_| drop(self.journal_gone(&entry)))? else {
            return Err(io::Error::other(format!(
                "{name} was made, and is not there"
            )));
        };
        let harmed = match mood {
            Mood::Hangs => dmsetup::suspend(&helper),
            _ => Ok(()),
        };
        let harmed = harmed
            .and_then(|()| dmsetup::replace(device, &Table::onto(helper.id.number, length)))
            .and_then(|()| device.requests());
        match harmed {
            Ok(before) => Ok(Harm {
                own,
                helper,
                entry,
                before,
            }),
            Err(error) => {
                // What stays is in the journal, and the next run tries again.
                put_back(device, &own, &helper)?;
                self.journal_gone(&entry)?;
                Err(error)
            }
        }
    }

    fn journal_gone(&self, entry: &Entry) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.gone(entry).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Err(error) = self.set(Mood::Well) {
            let name = &self.device().name;
            tracing::warn!(%error, "{name} does not have its own table again");
        }
    }
}

/// The table of a device that may be broken.
fn table_to_break(device: &MappedDevice) -> io::Result<Table> {
    let name = &device.name;
    if !device.is_there() {
        return Err(io::Error::other(format!("{name} is another device now")));
    }
    if let Some(holder) = device.holders()?.first() {
        return Err(io::Error::other(format!("{holder} lies on {name}")));
    }
    let own = dmsetup::table(device)?;
    match own.delicate() {
        Some(target) => Err(io::Error::other(format!(
            "the target {target:?} of {name} is not loaded a second time"
        ))),
        None => Ok(own),
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with what was counted until now.
    fn counts(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        (state.asked, state.written) = self.counted(&state);
        state
    }

    /// Whether it was asked for anything, and written to. What cannot be read any more,
    /// since the device is gone, tells nothing.
    fn counted(&self, state: &State) -> (bool, bool) {
        let now = match &state.harm {
            Some(harm) if self.device.is_there() => {
                self.device.requests().ok().map(|now| (now, harm.before))
            }
            _ => None,
        };
        let (asked, written) = now.map_or((false, false), |(now, before)| {
            let asked = now.ended + now.waiting > before.ended + before.waiting;
            (asked, now.written > before.written)
        });
        (state.asked || asked, state.written || written)
    }

    /// Looks for a mkfs as long as it cannot be read.
    fn looks_for_mkfs(&self) {
        let mut state = self.state();
        while state.mood == Mood::Unreadable && !state.written {
            drop(state);
            let found = mkfs::is_at_work_on(|word| self.is_called(word));
            state = self.state();
            state.written |= found && state.mood == Mood::Unreadable;
            let waited = self.changed.wait_timeout(state, PERIOD);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether this is a path of the device: drivers have names of their own for it.
    fn is_called(&self, word: &OsStr) -> bool {
        let path = Path::new(word);
        // Nothing there can keep us waiting.
        if !path.starts_with("/dev") {
            return false;
        }
        let (major, minor) = self.device.id.number;
        let is_it = |found: std::fs::Metadata| found.rdev() == libc::makedev(major, minor);
        path.metadata().is_ok_and(is_it)
    }
}
