//! The namespaces of a server, and the process that holds them.
//!
//! Mount, network, host name and processes are the server's own. The holder is
//! the first process of its process namespace: when it ends, the kernel kills
//! every daemon in there, the last user of the mount namespace is gone, the
//! nfsd file system in it is unmounted, which would end nfsd by itself
//! (nfsd_umount), and the network namespace takes the link along. It reads from
//! a pipe that only we can write to, so it ends when we do, also by SIGKILL.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;

use super::error::NfsError;
use super::root;
use crate::lab::errand::{pidfd_open, pidfd_signal};
use crate::node::{ProcessId, process};

/// How long the holder may take to end nfsd: one server of the machine after the
/// other does so, and a killed one holds up the rest for longer.
const POLITE: Duration = Duration::from_secs(30);

/// How long the namespace may take to end with all that is in it, if it must be
/// killed.
const DYING: Duration = Duration::from_secs(60);

/// What the holder does: it waits for the end of its input, and reaps what the
/// daemons leave; then it ends nfsd. The kernel would do that too, but with
/// rpcbind killed at the same moment it waits for its answer, ten seconds for
/// each program, and no NFS server of the machine can be told anything meanwhile.
const LIFE: &str = "cat; echo 0 > /proc/fs/nfsd/threads";

/// A process in namespaces of its own, and their owner.
#[derive(Debug)]
pub(super) struct Holder {
    child: Child,
    line: Option<ChildStdin>,
    id: ProcessId,
}

impl Holder {
    /// Makes the namespaces. `folder` is any existing folder; nothing is seen of
    /// it outside.
    pub(super) fn start(hostname: &str, folder: &Path) -> Result<Self, NfsError> {
        let mut child = in_a_thread(|| {
            unshare(
                CloneFlags::CLONE_NEWNS
                    | CloneFlags::CLONE_NEWNET
                    | CloneFlags::CLONE_NEWUTS
                    | CloneFlags::CLONE_NEWPID,
            )
            .map_err(|errno| Self::failed("make namespaces for", hostname, errno))?;
            // Clients tell servers apart by the name that nfsd was started under.
            nix::unistd::sethostname(hostname)
                .map_err(|errno| Self::failed("set the host name", hostname, errno))?;
            root::change(folder)?;
            // The first child is the first process of the new namespace.
            Command::new("sh")
                .args(["-c", LIFE])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                // The terminal's signals are not for it.
                .process_group(0)
                .spawn()
                .map_err(|error| Self::failed("start a holder for", hostname, error))
        })?;
        let line = child.stdin.take();
        let id = ProcessId::of(child.id())
            .map_err(|error| Self::failed("look at the holder of", hostname, error))?;
        Ok(Self { child, line, id })
    }

    /// The process, for the journal. It is not reaped before the server is
    /// gone, so its number cannot become another's meanwhile.
    pub(super) fn id(&self) -> ProcessId {
        self.id
    }

    /// The server's root folder as we see it. Nothing is mounted on our side:
    /// the kernel leads from here into the other namespace, and nowhere once
    /// the holder is dead.
    pub(super) fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.id.pid))
    }

    /// Does something in the server's namespaces: in a thread that is made for
    /// it, enters them, and ends.
    pub(super) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, NfsError> + Send,
    ) -> Result<T, NfsError> {
        inside(self.id, work)
    }

    /// The server's daemons with this name.
    pub(super) fn daemons(&self, name: &str) -> io::Result<Vec<ProcessId>> {
        let all = process::children(self.id.pid)?;
        let named = all.iter().filter(|p| p.comm == name && !p.is_zombie());
        Ok(named.map(|p| p.id).collect())
    }

    /// Sends a signal to the daemons with this name.
    pub(super) fn signal(&self, name: &str, signal: Signal) -> Result<(), NfsError> {
        let sent = self.daemons(name).and_then(|daemons| {
            daemons.iter().try_for_each(|daemon| {
                let handle = pidfd_open(daemon.pid.cast_signed())?;
                // Read after the handle is held: it is that one.
                if daemon.alive() {
                    pidfd_signal(&handle, signal)?;
                }
                Ok(())
            })
        });
        sent.map_err(|error| Self::failed("send a signal to", name, error))
    }

    /// Ends the namespaces with all processes in them, by force if need be.
    pub(super) fn end(&mut self) -> Result<(), NfsError> {
        self.line = None;
        if self.ends_within(POLITE) {
            return Ok(());
        }
        let _ = self.child.kill();
        if self.ends_within(DYING) {
            return Ok(());
        }
        let error = io::Error::other(format!("it did not end within {DYING:?}"));
        let object = format!("process {} with its daemons", self.id.pid);
        Err(Self::failed("end", &object, error))
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                _ => return true,
            }
        }
        false
    }

    fn failed(what: &'static str, object: &str, error: impl Into<io::Error>) -> NfsError {
        NfsError::Io {
            what,
            object: object.to_owned(),
            error: error.into(),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // What does not end is told by who ends it, or cleans.
        let _ = self.end();
    }
}

/// Does something in the namespaces of the server with this holder.
pub(super) fn inside<T: Send>(
    holder: ProcessId,
    work: impl FnOnce() -> Result<T, NfsError> + Send,
) -> Result<T, NfsError> {
    in_a_thread(|| {
        let object = || format!("process {}", holder.pid);
        enter(holder)
            .map_err(|error| Holder::failed("enter the namespaces of", &object(), error))?;
        work()
    })
}

fn enter(holder: ProcessId) -> io::Result<()> {
    let open = |name| File::open(format!("/proc/{}/ns/{name}", holder.pid));
    let namespaces = [
        (open("pid")?, CloneFlags::CLONE_NEWPID),
        (open("uts")?, CloneFlags::CLONE_NEWUTS),
        (open("net")?, CloneFlags::CLONE_NEWNET),
        (open("mnt")?, CloneFlags::CLONE_NEWNS),
    ];
    // Asked after they are held: they are of that one.
    holder.look()?;
    // Threads share root and working directory unless told not to.
    unshare(CloneFlags::CLONE_FS)?;
    for (namespace, kind) in namespaces {
        setns(namespace, kind)?;
    }
    Ok(())
}

/// Namespaces belong to threads: what is entered here is left with its end.
fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T, NfsError> + Send) -> Result<T, NfsError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("nfs-server".into())
            .spawn_scoped(scope, work)
            .map_err(|error| Holder::failed("start", "a thread", error))?;
        thread.join().unwrap_or_else(|_| {
            let error = io::Error::other("it panicked");
            Err(Holder::failed("run", "a thread", error))
        })
    })
}
