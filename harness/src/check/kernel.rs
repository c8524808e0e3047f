//! What the kernel logged of the disks of our volumes.
//!
//! A device that goes while something is mounted from it, or that fails under it, is
//! told of by the kernel long after every call was answered:
//! `EXT4-fs error (device vde): ext4_find_entry: reading directory lblock 0`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::session::Session;
use crate::node::KernelLog;
use crate::node::klog::Record;

/// Between the kernel's clock for its log and the one that we read.
const SLACK: Duration = Duration::from_secs(1);

/// The kernel's log from the start of the run, and who had which device when.
#[derive(Debug, Default)]
pub(super) struct Kernel(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    log: Option<KernelLog>,
    records: Vec<Record>,
    uses: Vec<Use>,
}

/// A device that carried a volume of ours for a time.
#[derive(Debug, Clone)]
struct Use {
    /// As the kernel names it: `loop3`, `sdb`.
    device: String,
    from: Duration,
    to: Option<Duration>,
    check: String,
    /// The check did harm to the disk itself.
    excused: bool,
}

/// Trouble of a device that our scenario did not cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The check whose volume it was.
    pub check: String,
    /// What the kernel said.
    pub text: String,
    /// Whether the device had been taken from the volume before.
    pub afterwards: bool,
}

/// CLOCK_MONOTONIC, which is the clock of the kernel's log, but for a moment.
fn now() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map(Duration::from).unwrap_or_default()
}

impl Kernel {
    /// Reads the log from here on; without it, if we may not.
    pub(super) fn listen() -> Self {
        let log = KernelLog::at_end()
            .inspect_err(|error| tracing::info!(%error, "the kernel's log is not read"))
            .ok();
        Self(Mutex::new(Inner {
            log,
            ..Inner::default()
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the log can be read at all.
    fn is_heard(&self) -> bool {
        self.lock().log.is_some()
    }

    /// This device carries a volume of a check, since `since` ago.
    pub(super) fn carries(&self, device: &str, check: &str) {
        let mut inner = self.lock();
        let known = |of: &Use| of.device == device && of.check == check && of.to.is_none();
        if inner.uses.iter().any(known) {
            return;
        }
        inner.uses.push(Use {
            device: device.to_owned(),
            from: now(),
            to: None,
            check: check.to_owned(),
            excused: false,
        });
    }

    /// The check gave all its devices back.
    pub(super) fn ends(&self, check: &str) {
        let mut inner = self.lock();
        let open = |of: &&mut Use| of.check == check && of.to.is_none();
        inner
            .uses
            .iter_mut()
            .filter(open)
            .for_each(|of| of.to = Some(now()));
    }

    /// This check harms its disks: what the kernel says of them is its own doing.
    pub(super) fn excuse(&self, check: &str) {
        let mut inner = self.lock();
        let of_check = |of: &&mut Use| of.check == check;
        inner
            .uses
            .iter_mut()
            .filter(of_check)
            .for_each(|of| of.excused = true);
    }

    /// What the kernel said of our devices until now, and we did not cause.
    fn trouble(&self) -> Vec<Trouble> {
        let mut inner = self.lock();
        if let Some(news) = inner.log.as_mut().and_then(|log| log.news().ok()) {
            inner.records.extend(news.records);
        }
        inner
            .records
            .iter()
            .filter_map(|record| inner.charged(record))
            .collect()
    }
}

impl Inner {
    fn charged(&self, record: &Record) -> Option<Trouble> {
        let of_device = self
            .uses
            .iter()
            .filter(|of| names(&record.text, &of.device) && of.from <= record.at + SLACK);
        // Whoever had it last; its number is given again at once.
        let of = of_device.max_by_key(|of| of.from)?;
        let afterwards = of.to.is_some_and(|to| to < record.at);
        let is_trouble = match afterwards {
            true => outlives(&record.text),
            false => fails(&record.text),
        };
        (is_trouble && !of.excused).then(|| Trouble {
            check: of.check.clone(),
            text: record.text.clone(),
            afterwards,
        })
    }
}

/// Whether a line of the log names this device, as a word of its own.
fn names(text: &str, device: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric();
    text.match_indices(device).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + device.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// A file system that is used, and its device does not answer or holds nonsense.
/// Other lines (a mount option that it does not know) are answers to a mount(2).
fn outlives(text: &str) -> bool {
    const SAYS: [&str; 9] = [
        "EXT4-fs error",
        "Corruption",
        "orruption detected",
        "metadata I/O error",
        "log I/O error",
        "Internal error",
        "has been shut down",
        "forced readonly",
        "bdev /dev/",
    ];
    SAYS.iter().any(|says| text.contains(says))
}

/// The same, or the device itself answers with errors.
fn fails(text: &str) -> bool {
    outlives(text) || text.contains("I/O error, dev ") || text.contains("Buffer I/O error on dev ")
}

impl Session {
    /// What the kernel said of the disks of our volumes during the run, and nothing of
    /// ours caused. None: its log cannot be read here.
    pub fn kernel_trouble(&self) -> Option<Vec<Trouble>> {
        self.kernel.is_heard().then(|| self.kernel.trouble())
    }

    /// This check harms its disks: the kernel's log is not charged to the driver.
    pub fn harms_disks(&self, check: &str) {
        self.kernel.excuse(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: u64, text: &str) -> Record {
        Record {
            level: 3,
            sequence: at,
            at: Duration::from_secs(at),
            text: text.to_owned(),
            device: None,
        }
    }

    fn of(device: &str, from: u64, to: Option<u64>, excused: bool) -> Use {
        Use {
            device: device.to_owned(),
            from: Duration::from_secs(from),
            to: to.map(Duration::from_secs),
            check: "c".to_owned(),
            excused,
        }
    }

    fn charged(uses: &[Use], record: &Record) -> Option<bool> {
        let inner = Inner {
            uses: uses.to_vec(),
            ..Inner::default()
        };
        inner.charged(record).map(|trouble| trouble.afterwards)
    }

    const GONE: &str =
        "EXT4-fs error (device loop1): ext4_find_entry:1663: reading directory lblock 0";

    #[test]
    fn trouble_of_a_device_is_charged_to_who_had_it() {
        let uses = [
            of("loop1", 10, Some(20), false),
            of("loop12", 10, None, false),
        ];
        assert_eq!(charged(&uses, &record(15, GONE)), Some(false));
        assert_eq!(charged(&uses, &record(25, GONE)), Some(true));
        let io = "I/O error, dev loop1, sector 0 op 0x0:(READ) flags 0x0";
        assert_eq!(charged(&uses, &record(15, io)), Some(false));
        // Whoever reads a device that was given back is not the driver.
        assert_eq!(charged(&uses, &record(25, io)), None);
        assert_eq!(
            charged(
                &uses,
                &record(15, "EXT4-fs (loop1): Unrecognized mount option")
            ),
            None
        );
        assert_eq!(charged(&uses, &record(5, GONE)), None);
        assert_eq!(
            charged(&[of("loop1", 10, None, true)], &record(15, GONE)),
            None
        );
    }
}
