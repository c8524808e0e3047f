//! Taking away what a run made, from its journal and by identity only: at the
//! end of a run for itself, and by the next run for one that was killed.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cleaned::{Cleaned, Then, cleaned};
use super::errand::{pidfd_open, pidfd_signal, readable};
use super::identity::FileIdentity;
use super::journal::{self, Entry, Journal, JournalError};
use super::loops;
use super::mapped;
use super::nfs;
use super::remove::{self, RemoveError};
use super::thaw::thaw_below;
use super::unmount::{How, unmount_below, unmount_one};
use crate::node::{ProcessId, host, mountinfo, process};

/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A run that was killed, with its journal, which is held while this lives.
#[derive(Debug)]
pub struct Leftover {
    journal: PathBuf,
    /// Holds the journal's lock, so that two do not clean at once.
    _held: fs::File,
}

/// The killed runs below a state folder: their journals are there and nobody
/// holds them. The folder need not exist.
///
/// # Errors
/// The state folder or a journal in it cannot be read.
pub fn leftovers(base: &Path) -> Result<Vec<Leftover>, JournalError> {
    let runs = base.join("runs");
    let listed = match fs::read_dir(&runs) {
        Ok(listed) => listed,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(JournalError::io("readdir", &runs)(error)),
    };
    let mut found = Vec::new();
    for entry in listed {
        let journal = entry
            .map_err(JournalError::io("readdir", &runs))?
            .path()
            .join("journal");
        if let Some(held) = journal::take_over(&journal)? {
            found.push(Leftover {
                journal,
                _held: held,
            });
        }
    }
    found.sort_by(|a, b| a.journal.cmp(&b.journal));
    Ok(found)
}

impl Leftover {
    /// A run's own journal, at its end.
    pub(super) fn own(journal: Journal) -> Self {
        let (journal, held) = journal.into_parts();
        Self {
            journal,
            _held: held,
        }
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Takes away what is left, in the order in which one holds the other: broken disks,
    /// processes, mounts, NFS servers, loop devices, folders; then the journal with its
    /// folder, unless something of ours is stuck.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn clean(self) -> Result<Vec<Cleaned>, JournalError> {
        let (entries, unread) = journal::read(&self.journal)?;
        let now = host::boot_id().map_err(JournalError::io("clean by", &self.journal))?;
        let this_boot = entries
            .iter()
            .any(|entry| matches!(entry, Entry::Run { boot_id, .. } if *boot_id == now));
        let mut report: Vec<Cleaned> = unread
            .into_iter()
            .map(|line| {
                cleaned(
                    "journal",
                    line,
                    Then::LeftAlone("the line cannot be read".into()),
                )
            })
            .collect();
        // First: nobody dies, and nothing is unmounted, while a disk keeps it waiting.
        for entry in entries.iter().rev() {
            if let Entry::Mapped { name, .. } = entry
                && this_boot
            {
                let then = mapped::let_go(entry);
                report.extend(then.map(|then| cleaned("broken disk", name.clone(), then)));
            }
        }
        for entry in entries.iter().rev() {
            if let Entry::Process { process, what } = entry
                && this_boot
            {
                // While it lives its group and children are its own.
                let family = if process.alive() {
                    process::family(process.pid).unwrap_or_default()
                } else {
                    Vec::new()
                };
                report.extend(kill(*process, what));
                let child = format!("child of {what}");
                report.extend(family.into_iter().filter_map(|member| kill(member, &child)));
            }
        }
        for entry in entries.iter().rev() {
            unmount(entry, this_boot, &mut report);
        }
        for entry in &entries {
            if let Entry::NfsServer {
                holder,
                link,
                index,
            } = entry
                && this_boot
            {
                let then = nfs::let_go(*holder, link, *index);
                report.extend(then.map(|then| cleaned("NFS server", link.clone(), then)));
            }
        }
        for entry in &entries {
            if let Entry::Scratch { dev, path } = entry
                && this_boot
            {
                report.extend(scratch(path, *dev));
            }
        }
        for entry in entries.iter().rev() {
            if let Entry::Loop {
                number,
                diskseq,
                file,
                ..
            } = entry
                && this_boot
            {
                let then = loops::let_go(*number, *diskseq, *file);
                report.extend(
                    then.map(|then| cleaned("loop device", format!("/dev/loop{number}"), then)),
                );
            }
        }
        for entry in entries.iter().rev() {
            report.extend(remove(entry));
        }
        if !report
            .iter()
            .any(|line| matches!(line.then, Then::Stuck(_)))
        {
            report.extend(self.forget());
        }
        Ok(report)
    }

    /// Removes the journal with its folder.
    fn forget(&self) -> Option<Cleaned> {
        let folder = self.journal.parent()?;
        let removed = remove::remove_tree(folder.parent()?, Path::new(folder.file_name()?));
        removed.err().map(|error| {
            cleaned(
                "journal",
                show(&self.journal),
                Then::Stuck(error.to_string()),
            )
        })
    }
}

/// Lets the loop devices go whose files lie on the scratch of a run. Its number
/// may be another file system's by now: not while a loop device holds a file on
/// it, and not if it is mounted in nobody's namespace.
fn scratch(path: &Path, dev: u64) -> Vec<Cleaned> {
    let number = (libc::major(dev), libc::minor(dev));
    let told = match mountinfo::is_mounted_anywhere(number) {
        Ok(true) => return Vec::new(),
        Ok(false) => loops::release_all_on(dev),
        Err(error) => Err(error),
    };
    match told {
        Ok(told) => told
            .into_iter()
            .map(|(device, then)| cleaned("loop device", device, then))
            .collect(),
        Err(error) => vec![cleaned(
            "scratch",
            show(path),
            Then::Stuck(error.to_string()),
        )],
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Kills a process if it is the one that was started.
fn kill(process: ProcessId, what: &str) -> Option<Cleaned> {
    let pid = process.pid;
    let line = |then| Some(cleaned("process", format!("{pid} ({what})"), then));
    let handle = match pidfd_open(pid.cast_signed()) {
        Ok(handle) => handle,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return None,
        Err(error) => return line(Then::Stuck(format!("pidfd_open: {error}"))),
    };
    // Read after the handle is held: what it names cannot change any more.
    if !process.alive() {
        return ProcessId::of(pid)
            .is_ok_and(|now| now != process)
            .then(|| {
                line(Then::LeftAlone(
                    "another process has this number now".into(),
                ))
            })?;
    }
    match pidfd_signal(&handle, Signal::SIGKILL) {
        Err(error) => line(Then::Stuck(format!("SIGKILL: {error}"))),
        Ok(()) if readable(handle.as_fd(), PATIENCE) => line(Then::Removed),
        Ok(()) => line(Then::Stuck(format!(
            "it did not die of SIGKILL within {PATIENCE:?}"
        ))),
    }
}

/// Unmounts what is ours: all below a folder that is still the one we made, and
/// the mounts that are still the ones we made.
fn unmount(entry: &Entry, this_boot: bool, report: &mut Vec<Cleaned>) {
    match entry {
        Entry::Folder {
            path,
            made: Some(made),
        } => {
            if !matches!(is_ours(path, *made), Ok(true)) {
                return;
            }
            if !this_boot {
                for mount in mountinfo::places_below(path).unwrap_or_default() {
                    let why = "it was mounted after the machine was started again".to_owned();
                    report.push(cleaned("mount", show(&mount.point), Then::LeftAlone(why)));
                }
                return;
            }
            // What cannot be asked of the mount table is told below.
            let frozen = thaw_below(path).unwrap_or_default();
            report.extend(
                frozen
                    .iter()
                    .map(|point| cleaned("freeze", show(point), Then::Removed)),
            );
            match unmount_below(path) {
                Ok(done) => {
                    report.extend(
                        done.gone
                            .iter()
                            .map(|gone| cleaned("mount", show(&gone.path), gone_by(gone.how))),
                    );
                    report.extend(
                        done.left
                            .into_iter()
                            .map(|(path, why)| cleaned("mount", show(&path), Then::Stuck(why))),
                    );
                }
                Err(error) => {
                    report.push(cleaned("mount", show(path), Then::Stuck(error.to_string())))
                }
            }
        }
        Entry::Mount {
            path,
            unique_id: Some(id),
        } if this_boot => match unmount_one(*id) {
            Ok(Some(how)) => report.push(cleaned("mount", show(path), gone_by(how))),
            Ok(None) => {}
            Err(error) => report.push(cleaned("mount", show(path), Then::Stuck(error.to_string()))),
        },
        Entry::Mount {
            path,
            unique_id: None,
        } if this_boot => {
            let there = mountinfo::places_below(path)
                .is_ok_and(|mounts| mounts.iter().any(|mount| mount.point == *path));
            if there {
                let why = "nothing tells whether it is the one that was made".to_owned();
                report.push(cleaned("mount", show(path), Then::LeftAlone(why)));
            }
        }
        _ => {}
    }
}

fn gone_by(how: How) -> Then {
    match how {
        How::Plain => Then::Removed,
        How::Detached => Then::Detached,
    }
}

fn is_ours(path: &Path, made: FileIdentity) -> Result<bool, RemoveError> {
    match remove::open_uncovered(path) {
        Ok(None) => Ok(false),
        Ok(Some(folder)) => Ok(FileIdentity::of(&folder).is_ok_and(|now| now == made)),
        // What lies beneath a mount still has its number in its parent's listing.
        Err(RemoveError::Mounted { .. }) => Ok(is_listed(path, made).unwrap_or(false)),
        Err(error) => Err(error),
    }
}

fn is_listed(path: &Path, made: FileIdentity) -> std::io::Result<bool> {
    let Some(parent) = path.parent() else {
        return Ok(false);
    };
    if FileIdentity::of(fs::File::open(parent)?)?.dev != made.dev {
        return Ok(false);
    }
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if Some(entry.file_name().as_os_str()) == path.file_name() {
            return Ok(entry.ino() == made.ino);
        }
    }
    Ok(false)
}

/// Removes the folders that are still the ones that were made.
fn remove(entry: &Entry) -> Option<Cleaned> {
    let (what, object, done) = match entry {
        Entry::Folder {
            path,
            made: Some(made),
        } => (
            "folder",
            path,
            remove::remove_if(path, *made).map(|removed| removed.folders > 0),
        ),
        Entry::Parent {
            path,
            made: Some(made),
        } => ("folder", path, remove::rmdir_if(path, *made)),
        Entry::Folder { path, made: None } if path.symlink_metadata().is_ok() => {
            let why = "the run died while it was made, and nothing tells whose it is".to_owned();
            return Some(cleaned("folder", show(path), Then::LeftAlone(why)));
        }
        Entry::Volume { endpoint, id, name } => {
            let object = id.as_ref().map_or_else(
                || format!("named {name}"),
                |id| format!("{id} (named {name})"),
            );
            let why = format!("only the driver at {endpoint} can delete it");
            return Some(cleaned("volume", object, Then::LeftAlone(why)));
        }
        _ => return None,
    };
    let then = match done {
        Ok(false) => return None,
        Ok(true) => Then::Removed,
        Err(error @ (RemoveError::Stranger { .. } | RemoveError::Symlink { .. })) => {
            Then::LeftAlone(error.to_string())
        }
        Err(error) => Then::Stuck(error.to_string()),
    };
    Some(cleaned(what, show(object), then))
}
