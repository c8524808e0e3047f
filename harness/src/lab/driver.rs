//! The driver's process, when we start it.

mod exited;
mod running;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use self::running::{Running, Said};
use super::tail::Tail;
use crate::node::{ProcessId, process};

pub use self::exited::Exited;

/// sun_path of unix(7), with its zero byte.
const LONGEST_SOCKET: usize = 107;

/// How long a driver that was sent SIGTERM may take.
const POLITE: Duration = Duration::from_secs(10);

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
    pub left: Vec<ProcessId>,
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

/// A driver that is stopped (SIGSTOP). It goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen(ProcessId);

impl Drop for Frozen {
    fn drop(&mut self) {
        // Also one that was killed meanwhile keeps its number until it is reaped.
        if self.0.alive() {
            let _ = killpg(Pid::from_raw(self.0.pid.cast_signed()), Signal::SIGCONT);
        }
    }
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
    pub fn id(&self) -> ProcessId {
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

    /// Stops it with its process group, as a frozen container is, until the answer
    /// is dropped.
    ///
    /// # Errors
    /// It was stopped already.
    pub fn freeze(&self) -> Result<Frozen, DriverError> {
        self.running
            .signal_group(Signal::SIGSTOP)
            .map_err(|error| DriverError::Io {
                what: "stop",
                object: format!("the driver, process {}", self.running.id.pid),
                error,
            })?;
        Ok(Frozen(self.running.id))
    }

    /// Removes the socket's file, as an administrator would who found that the driver
    /// does not start with it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_socket(&self) -> io::Result<()> {
        std::fs::remove_file(self.socket())
    }

    /// Kills it with its process group, as a container's end would, and reaps it.
    pub async fn kill(&mut self) -> Option<Exited> {
        self.running.sweep().await;
        self.exited()
    }

    /// Stops it: SIGTERM and ten seconds, then SIGKILL for its group.
    pub async fn stop(&mut self) -> Stopped {
        let family = self.family();
        let _ = self.running.signal(Signal::SIGTERM);
        let polite = self.wait_exit(POLITE).await;
        let mut left = self.family();
        left.extend(family.into_iter().filter(|member| member.alive()));
        left.sort_by_key(|member| member.pid);
        left.dedup();
        self.running.sweep().await;
        Stopped {
            exited: polite.or_else(|| self.exited()),
            forced: polite.is_none(),
            left,
        }
    }

    /// Its group and its children, as far as `/proc` can be read.
    fn family(&self) -> Vec<ProcessId> {
        process::family(self.running.id.pid).unwrap_or_default()
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
