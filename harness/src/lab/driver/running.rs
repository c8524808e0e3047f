//! The driver's process while it runs, and the threads that go with it.

use std::io::{self, Read};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::Exited;
use crate::lab::tail::Tail;
use crate::node::ProcessId;

/// How long what was killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);

/// What the driver says, over all its restarts.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) stdout: Arc<Mutex<Tail>>,
    pub(super) stderr: Arc<Mutex<Tail>>,
}

/// One life of the driver: from its start until it is reaped.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: ProcessId,
    pub(super) exited: watch::Receiver<Option<Exited>>,
    /// Its closing lets the thread sweep the group and reap.
    release: Option<mpsc::Sender<()>>,
    reaped: watch::Receiver<bool>,
}

impl Running {
    /// Starts the driver in its thread.
    pub(super) fn begin(mut command: Command, said: &Said) -> io::Result<Self> {
        let (started, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let (exit, exited) = watch::channel(None);
        let (reap, reaped) = watch::channel(false);
        thread::Builder::new()
            .name("driver".into())
            .spawn(move || {
                let spawned =
                    command
                        .spawn()
                        .and_then(|mut child| match ProcessId::of(child.id()) {
                            Ok(id) => Ok((id, child)),
                            Err(error) => {
                                let _ = child.kill();
                                let _ = child.wait();
                                Err(error)
                            }
                        });
                match spawned {
                    Err(error) => drop(started.send(Err(error))),
                    Ok((id, mut child)) => {
                        let streams = (child.stdout.take(), child.stderr.take());
                        let _ = started.send(Ok((id, streams)));
                        watch_over(child, number(id), &exit, &released);
                        reap.send_replace(true);
                    }
                }
            })?;
        let (id, (out, err)) = begun
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("its thread died")))?;
        let running = Self {
            id,
            exited,
            release: Some(release),
            reaped,
        };
        drain(out, &said.stdout)?;
        drain(err, &said.stderr)?;
        Ok(running)
    }

    /// Sends a signal to the driver alone. Unreaped as it is, the number is its own.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.release {
            Some(_) => Ok(kill(number(self.id), signal)?),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Sends a signal to its process group.
    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match self.release {
            Some(_) => Ok(killpg(number(self.id), signal)?),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Kills the group, and has the driver reaped.
    pub(super) async fn sweep(&mut self) {
        if self.release.is_some() {
            let _ = killpg(number(self.id), Signal::SIGKILL);
        }
        self.release = None;
        let _ = tokio::time::timeout(DYING, self.reaped.wait_for(|&reaped| reaped)).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.release.take().is_some() {
            let _ = killpg(number(self.id), Signal::SIGKILL);
        }
        // The thread sweeps and reaps; a driver that hangs in the kernel is left to it.
        let until = std::time::Instant::now() + DYING;
        while !*self.reaped.borrow() && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The process's number, as nix has it.
fn number(id: ProcessId) -> Pid {
    Pid::from_raw(id.pid.cast_signed())
}

/// The life of the driver's thread.
fn watch_over(
    mut child: Child,
    pid: Pid,
    exit: &watch::Sender<Option<Exited>>,
    released: &mpsc::Receiver<()>,
) {
    let how = loop {
        match waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(_, code)) => break Some(Exited::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                break Some(Exited::Signal {
                    signal: signal as i32,
                    core,
                });
            }
            Err(nix::errno::Errno::EINTR) | Ok(_) => {}
            Err(_) => break None,
        }
    };
    exit.send_replace(how);
    // Nothing is ever sent: it ends when the other side lets go.
    let _ = released.recv();
    let _ = killpg(pid, Signal::SIGKILL);
    let _ = child.wait();
}

/// Reads a stream to its end in a thread of its own: a full pipe would stop the
/// driver in the middle of a call.
fn drain(stream: Option<impl Read + Send + 'static>, tail: &Arc<Mutex<Tail>>) -> io::Result<()> {
    let Some(mut stream) = stream else {
        return Ok(());
    };
    let tail = Arc::clone(tail);
    thread::Builder::new()
        .name("driver-output".into())
        .spawn(move || {
            let mut buffer = [0_u8; 8192];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => tail
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(&buffer[..read]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        })?;
    Ok(())
}
