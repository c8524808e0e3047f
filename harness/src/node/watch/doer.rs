//! Who mounted or unmounted?
//!
//! mount(8) ends a moment after it has mounted, so what `/proc` tells of it is
//! read at once, its arguments first. They lie in its own memory, and reading
//! them waits for a process that hangs while it changes its mappings. The only
//! thread of a process has just mounted and does not hang; of a process with
//! more threads, which will live longer, a thread apart reads them, and when
//! that does not come back in time they are left out.

use super::super::process::{self, Process};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// The process that mounted or unmounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doer {
    /// Its pid in our pid namespace (of the process, not of the thread).
    pub pid: u32,
    /// What was known of it just afterwards; `None` where it had ended, and its
    /// parent had taken note, before it could be looked at.
    pub process: Option<Process>,
    /// Its arguments; empty where they could not be read any more. They may
    /// hold a password, as those of `mount -t cifs` do.
    pub arguments: Vec<OsString>,
    /// The processes that it descends from, its parent first, as far as they
    /// still lived.
    pub parents: Vec<Process>,
}

impl Doer {
    /// One of whom no more is to be learned.
    pub(super) fn gone(pid: u32) -> Self {
        Self {
            pid,
            process: None,
            arguments: Vec::new(),
            parents: Vec::new(),
        }
    }
}

impl Doer {
    /// Whether it was this process or a child of its own, and not this driver: either may
    /// be the other's child, so the nearer one counts.
    pub fn is_ours(&self, driver: Option<u32>) -> bool {
        let us = std::process::id();
        let line = [self.pid]
            .into_iter()
            .chain(self.parents.iter().map(|p| p.id.pid));
        let mut line = line.filter(|pid| *pid == us || Some(*pid) == driver);
        line.next() == Some(us)
    }
}

impl fmt::Display for Doer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{} (pid {})", process.comm, self.pid),
            None => write!(f, "pid {}, which had ended", self.pid),
        }
    }
}

/// How long the arguments of a process may take. An honest answer takes a few
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(100);

/// More than this is a loop in a made-up process table.
const MOST_PARENTS: usize = 64;

/// Looks processes up.
#[derive(Debug)]
pub(super) struct Register {
    ask: Sender<u32>,
    answers: Receiver<(u32, Vec<u8>)>,
    /// Of whom an answer is still to come.
    owed: Option<u32>,
}

impl Register {
    /// Starts the thread that reads arguments. It ends with this register, or,
    /// where it waits for a process, with that one.
    pub(super) fn open() -> io::Result<Self> {
        let (ask, asked) = mpsc::channel::<u32>();
        let (answer, answers) = mpsc::channel();
        std::thread::Builder::new()
            .name("csi-watch-who".to_owned())
            .spawn(move || {
                for pid in asked {
                    if answer.send((pid, read_arguments(pid))).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            ask,
            answers,
            owed: None,
        })
    }

    /// The process with this pid, which had not been reaped a moment ago: the
    /// kernel gives a pid again only after all others had their turn.
    pub(super) fn look_up(&mut self, pid: u32) -> Doer {
        let arguments = if has_one_thread(pid) {
            read_arguments(pid)
        } else {
            self.begin(pid);
            self.finish(pid)
        };
        let process = Process::of(pid).ok();
        let parents = process.as_ref().map(parents).unwrap_or_default();
        Doer {
            pid,
            process,
            arguments: process::arguments(&arguments),
            parents,
        }
    }

    /// Asks for the arguments, unless the one who reads them still waits for
    /// another process.
    fn begin(&mut self, pid: u32) {
        if self.owed.is_some() && self.answers.try_recv().is_ok() {
            self.owed = None;
        }
        if self.owed.is_none() && self.ask.send(pid).is_ok() {
            self.owed = Some(pid);
        }
    }

    fn finish(&mut self, pid: u32) -> Vec<u8> {
        if self.owed != Some(pid) {
            return Vec::new();
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok((_, text)) => {
                self.owed = None;
                text
            }
            Err(_) => Vec::new(),
        }
    }
}

/// The folder of its threads has a link for each, beside its own two. A process
/// that is gone has none, and nothing to wait for.
fn has_one_thread(pid: u32) -> bool {
    let task = std::fs::metadata(format!("/proc/{pid}/task"));
    task.map_or(true, |task| task.nlink() <= 3)
}

/// As they stand in /proc; empty where there is no such process any more.
fn read_arguments(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

fn parents(process: &Process) -> Vec<Process> {
    let mut parents = Vec::new();
    let mut next = process.parent;
    while next != 0 && parents.len() < MOST_PARENTS {
        let Ok(parent) = Process::of(next) else { break };
        next = parent.parent;
        parents.push(parent);
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_its_arguments_and_its_parents_are_known() -> io::Result<()> {
        let mut register = Register::open()?;
        let us = register.look_up(std::process::id());
        let arguments: Vec<_> = std::env::args_os().collect();
        assert_eq!(us.arguments, arguments);
        let process = us.process.as_ref().expect("we live");
        assert_eq!(us.parents.first().map(|p| p.id.pid), Some(process.parent));
        assert_eq!(us.to_string(), format!("{} (pid {})", process.comm, us.pid));
        Ok(())
    }

    #[test]
    fn a_reader_that_does_not_come_back_is_not_waited_for_again() {
        let (ask, asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let mut register = Register {
            ask,
            answers,
            owed: None,
        };
        let pid = std::process::id();
        assert_eq!(register.look_up(pid).arguments, Vec::<OsString>::new());
        assert!(register.look_up(pid).process.is_some());
        assert_eq!(asked.try_iter().count(), 1, "asked once, and not again");
        answer.send((pid, b"late\0".to_vec())).expect("heard");
        register.begin(pid);
        assert_eq!(asked.try_iter().count(), 1);
        answer.send((pid, b"a\0b c\0".to_vec())).expect("heard");
        assert_eq!(process::arguments(&register.finish(pid)), ["a", "b c"]);
    }
}
