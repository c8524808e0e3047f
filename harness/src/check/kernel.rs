//! What the kernel logged of the disks of our volumes.
//!
//! A device that goes while something is mounted from it, or that fails under it, is
//! told of by the kernel long after every call was answered:
//! `EXT4-fs error (device vde): ext4_find_entry: reading directory lblock 0`.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::session::Session;
use crate::node::{BlockDevice, KernelLog};

/// The kernel's log from the start of the run, and who had which device when.
#[derive(Debug, Default)]
pub(super) struct Kernel(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    log: Option<KernelLog>,
    uses: Vec<Use>,
    /// Checks that harm their disks: what the kernel says of them is our doing.
    harmful: HashSet<String>,
    trouble: Vec<Trouble>,
}

/// A device that carries a volume of ours, or did.
#[derive(Debug, Clone)]
struct Use {
    /// As the kernel names it: `loop3`, `sdb`.
    device: String,
    /// Its number in the order of all disks; its name is given again at once.
    diskseq: Option<u64>,
    ended: bool,
    check: String,
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

/// The number of the disk that has this name now.
fn diskseq(device: &str) -> Option<u64> {
    let file = Path::new("/sys/class/block").join(device).join("diskseq");
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
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

    /// Whose device it is that a line names, changes with each volume: what was said
    /// until now is heard before that.
    fn heard(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = inner.log.as_mut().and_then(|log| log.news().ok());
        for record in news.unwrap_or_default().records {
            if let Some(trouble) = inner.charged(&record.text, diskseq) {
                inner.trouble.push(trouble);
            }
        }
        inner
    }

    /// Hears what was said until now, while the devices are those that it was said of.
    pub(super) fn hear(&self) {
        drop(self.heard());
    }

    /// This device carries a volume of a check from now on.
    pub(super) fn carries(&self, disk: &BlockDevice, check: &str) {
        let mut inner = self.heard();
        let known = |of: &Use| of.device == disk.name && of.check == check && !of.ended;
        if inner.uses.iter().any(known) {
            return;
        }
        inner.uses.push(Use {
            device: disk.name.clone(),
            diskseq: disk.id.diskseq,
            ended: false,
            check: check.to_owned(),
        });
    }

    /// The check gave all its devices back.
    pub(super) fn ends(&self, check: &str) {
        let mut inner = self.heard();
        let of_check = |of: &&mut Use| of.check == check;
        inner
            .uses
            .iter_mut()
            .filter(of_check)
            .for_each(|of| of.ended = true);
    }

    /// This check harms its disks: what the kernel says of them is its own doing.
    pub(super) fn excuse(&self, check: &str) {
        self.heard().harmful.insert(check.to_owned());
    }
}

impl Inner {
    /// Trouble of one of our devices, if a line tells of any. `now`: the number of the
    /// disk that has a name now.
    fn charged(&self, text: &str, now: impl Fn(&str) -> Option<u64>) -> Option<Trouble> {
        let last = |of: &&Use| names(text, &of.device);
        let of = self.uses.iter().rfind(last)?;
        // Another disk may have the name by now: also where the volume was unmounted, and
        // its device detached, behind the driver's back.
        let is_that = of.diskseq.is_some() && now(&of.device) == of.diskseq;
        let is_trouble = is_that
            && match of.ended {
                true => outlives(text),
                false => fails(text),
            };
        (is_trouble && !self.harmful.contains(&of.check)).then(|| Trouble {
            check: of.check.clone(),
            text: text.to_owned(),
            afterwards: of.ended,
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
        let inner = self.kernel.heard();
        inner.log.is_some().then(|| inner.trouble.clone())
    }

    /// This check harms its disks: the kernel's log is not charged to the driver.
    pub fn harms_disks(&self, check: &str) {
        self.kernel.excuse(check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(device: &str, ended: bool) -> Use {
        Use {
            device: device.to_owned(),
            diskseq: Some(7),
            ended,
            check: "c".to_owned(),
        }
    }

    fn charged(uses: &[Use], text: &str, now: u64) -> Option<bool> {
        let inner = Inner {
            uses: uses.to_vec(),
            ..Inner::default()
        };
        let trouble = inner.charged(text, |_| Some(now));
        trouble.map(|trouble| trouble.afterwards)
    }

    const GONE: &str =
        "EXT4-fs error (device loop1): ext4_find_entry:1663: reading directory lblock 0";
    const IO: &str = "I/O error, dev loop1, sector 0 op 0x0:(READ) flags 0x0";

    #[test]
    fn trouble_of_a_device_is_charged_to_who_had_it() {
        let used = [of("loop1", false), of("loop12", false)];
        assert_eq!(charged(&used, GONE, 7), Some(false));
        assert_eq!(charged(&used, IO, 7), Some(false));
        let option = "EXT4-fs (loop1): Unrecognized mount option";
        assert_eq!(charged(&used, option, 7), None);
        assert_eq!(charged(&[of("loop12", false)], GONE, 7), None);
        let ended = [of("loop1", true)];
        assert_eq!(charged(&ended, GONE, 7), Some(true));
        // Another has the name by now, or reads what was given back.
        assert_eq!(charged(&ended, GONE, 8), None);
        assert_eq!(charged(&used, GONE, 8), None);
        assert_eq!(charged(&ended, IO, 7), None);
    }
}
