//! The driver's process, when we start it.

use std::ffi::OsString;
use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::facts::{self, ProcessIdentity};
use super::tail::Tail;

/// sun_path of unix(7), with its zero byte.
const LONGEST_SOCKET: usize = 107;

/// How long a driver that was sent SIGTERM may take.
const POLITE: Duration = Duration::from_secs(10);

/// How long what was killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);

/// How a driver is started.
#[derive(Debug, Clone)]
pub struct DriverCommand {
    /// The command and its arguments; no shell is put in between. `$CSI_ENDPOINT`
    /// as a whole argument stands for the endpoint.
    pub command: Vec<OsString>,
    /// Variables beside our own environment; `CSI_ENDPOINT` is set by us.
    pub environment: Vec<(OsString, OsString)>,
    /// The folder for the socket, made anew (0700): `csi.sock` lies in it.
    pub socket_folder: PathBuf,
}

/// A driver could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The command line is empty.
    #[error("the driver's command is empty")]
    Empty,
    /// The socket's path does not fit a socket address.
    #[error(
        "{path} is longer than the {LONGEST_SOCKET} bytes of a socket's path: use a shorter state folder"
    )]
    LongSocket {
        /// The path.
        path: PathBuf,
    },
    /// A call failed.
    #[error("{what} {object}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        object: String,
        /// Why it failed.
        error: io::Error,
    },
}

/// How a process ended, as its author would say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exited {
    /// It returned this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether it left a core.
        core: bool,
    },
}

impl fmt::Display for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal { signal, core } => {
                match Signal::try_from(signal) {
                    Ok(signal) => write!(f, "killed by {signal}")?,
                    Err(_) => write!(f, "killed by signal {signal}")?,
                }
                f.write_str(if core { " (core)" } else { "" })
            }
        }
    }
}

impl From<ExitStatus> for Exited {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal {
                signal,
                core: status.core_dumped(),
            },
            None => Self::Code(status.code().unwrap_or_default()),
        }
    }
}

/// What a driver has written, the last 256 KiB of each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The end of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
    /// How many bytes both had in all.
    pub total: u64,
}

/// What a stopped driver left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// How it ended; none where even SIGKILL did not end it in time.
    pub exited: Option<Exited>,
    /// Whether SIGTERM was not enough.
    pub forced: bool,
    /// Children of it that outlived it. Those in its process group are killed.
    pub left: Vec<ProcessIdentity>,
}

/// A running driver, in a process group of its own.
///
/// A thread of its own forks it, and waits for it. So `PR_SET_PDEATHSIG`, which
/// is tied to the thread that forked, kills the driver when the harness dies and
/// not before. The dead driver stays unreaped until its group was swept, so that
/// its number cannot become another's in between.
#[derive(Debug)]
pub struct DriverProcess {
    command: DriverCommand,
    running: Running,
    said: Said,
}

#[derive(Debug)]
struct Running {
    id: ProcessIdentity,
    exited: watch::Receiver<Option<Exited>>,
    /// Its closing lets the thread sweep the group and reap.
    release: Option<mpsc::Sender<()>>,
    reaped: watch::Receiver<bool>,
}

/// What the driver says, over all its restarts.
#[derive(Debug, Default)]
struct Said {
    stdout: Arc<Mutex<Tail>>,
    stderr: Arc<Mutex<Tail>>,
}

impl DriverCommand {
    /// Where the driver shall listen.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_folder.join("csi.sock")
    }

    /// The same, as `CSI_ENDPOINT` has it.
    #[must_use]
    pub fn endpoint(&self) -> OsString {
        let mut endpoint = OsString::from("unix://");
        endpoint.push(self.socket());
        endpoint
    }

    fn start(&self, said: &Said) -> Result<Running, DriverError> {
        let (program, arguments) = self.command.split_first().ok_or(DriverError::Empty)?;
        let endpoint = self.endpoint();
        let given = |word: &OsString| {
            if word == "$CSI_ENDPOINT" {
                endpoint.clone()
            } else {
                word.clone()
            }
        };
        let mut command = Command::new(program);
        command
            .args(arguments.iter().map(given))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("CSI_ENDPOINT", &endpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: prctl is a plain system call; nothing is allocated or locked.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let failed = |error| DriverError::Io {
            what: "start",
            object: program.to_string_lossy().into_owned(),
            error,
        };
        Running::begin(command, said).map_err(failed)
    }
}

impl Running {
    fn begin(mut command: Command, said: &Said) -> io::Result<Self> {
        let (started, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let (exit, exited) = watch::channel(None);
        let (reap, reaped) = watch::channel(false);
        thread::Builder::new()
            .name("driver".into())
            .spawn(move || {
                let spawned = command.spawn().and_then(|mut child| {
                    match ProcessIdentity::of(child.id().cast_signed()) {
                        Ok(id) => Ok((id, child)),
                        Err(error) => {
                            let _ = child.kill();
                            let _ = child.wait();
                            Err(error)
                        }
                    }
                });
                match spawned {
                    Err(error) => drop(started.send(Err(error))),
                    Ok((id, mut child)) => {
                        let streams = (child.stdout.take(), child.stderr.take());
                        let _ = started.send(Ok((id, streams)));
                        watch_over(child, Pid::from_raw(id.pid), &exit, &released);
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
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.release {
            Some(_) => Ok(kill(Pid::from_raw(self.id.pid), signal)?),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Kills the group, and has the driver reaped.
    async fn sweep(&mut self) {
        if self.release.is_some() {
            let _ = killpg(Pid::from_raw(self.id.pid), Signal::SIGKILL);
        }
        self.release = None;
        let _ = tokio::time::timeout(DYING, self.reaped.wait_for(|&reaped| reaped)).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.release.take().is_some() {
            let _ = killpg(Pid::from_raw(self.id.pid), Signal::SIGKILL);
        }
        // The thread sweeps and reaps; a driver that hangs in the kernel is left to it.
        let until = std::time::Instant::now() + DYING;
        while !*self.reaped.borrow() && std::time::Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
    }
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

impl DriverProcess {
    /// Makes the folder for the socket and starts the driver. Whether it is
    /// ready is for its Probe to say.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn start(command: DriverCommand) -> Result<Self, DriverError> {
        let socket = command.socket();
        if socket.as_os_str().as_bytes().len() > LONGEST_SOCKET {
            return Err(DriverError::LongSocket { path: socket });
        }
        let folder: &Path = &command.socket_folder;
        DirBuilder::new()
            .mode(0o700)
            .create(folder)
            .map_err(|error| DriverError::Io {
                what: "mkdir",
                object: folder.display().to_string(),
                error,
            })?;
        let said = Said::default();
        let running = command.start(&said)?;
        Ok(Self {
            command,
            running,
            said,
        })
    }

    /// The process, for the journal.
    #[must_use]
    pub fn id(&self) -> ProcessIdentity {
        self.running.id
    }

    /// Where it was told to listen.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.command.socket()
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn exited(&self) -> Option<Exited> {
        *self.running.exited.borrow()
    }

    /// Waits for its end: none if it still runs after that time.
    pub async fn wait_exit(&self, patience: Duration) -> Option<Exited> {
        let mut exited = self.running.exited.clone();
        let ended = tokio::time::timeout(patience, exited.wait_for(Option::is_some)).await;
        ended.ok().and_then(Result::ok).and_then(|exited| *exited)
    }

    /// Sends a signal to the driver itself, e.g. SIGSTOP and SIGCONT.
    ///
    /// # Errors
    /// It was stopped already.
    pub fn signal(&self, signal: Signal) -> Result<(), DriverError> {
        self.running
            .signal(signal)
            .map_err(|error| DriverError::Io {
                what: "send a signal to",
                object: format!("the driver, process {}", self.running.id.pid),
                error,
            })
    }

    /// Kills it with its process group, as a container's end would, and reaps it.
    pub async fn kill(&mut self) -> Option<Exited> {
        self.running.sweep().await;
        self.exited()
    }

    /// Stops it: SIGTERM and ten seconds, then SIGKILL for its group.
    pub async fn stop(&mut self) -> Stopped {
        let family = facts::family(self.running.id.pid);
        let _ = self.running.signal(Signal::SIGTERM);
        let polite = self.wait_exit(POLITE).await;
        let mut left = facts::family(self.running.id.pid);
        left.extend(family.into_iter().filter(|member| member.is_alive()));
        left.sort_by_key(|member| member.pid);
        left.dedup();
        self.running.sweep().await;
        Stopped {
            exited: polite.or_else(|| self.exited()),
            forced: polite.is_none(),
            left,
        }
    }

    /// Starts it again at the same socket, after killing it if it still runs.
    /// The socket file of the one before stays, as it does on a node.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn restart(&mut self) -> Result<(), DriverError> {
        self.running.sweep().await;
        self.running = self.command.start(&self.said)?;
        Ok(())
    }

    /// What it has written so far, restarts included.
    #[must_use]
    pub fn output(&self) -> Output {
        let get = |tail: &Mutex<Tail>| tail.lock().unwrap_or_else(PoisonError::into_inner).get();
        let (stdout, out) = get(&self.said.stdout);
        let (stderr, err) = get(&self.said.stderr);
        Output {
            stdout,
            stderr,
            total: out + err,
        }
    }
}
