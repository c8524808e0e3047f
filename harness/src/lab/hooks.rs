//! A command of the user's at a step of a volume's life, for drivers that need
//! an object from elsewhere.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::tail::Tail;

/// How long the streams of an ended command are still read.
const LINGER: Duration = Duration::from_millis(200);

/// What the user wants to be run, e.g. after CreateVolume or before NodeStageVolume.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The step, for messages: `after CreateVolume`.
    pub step: String,
    /// The command and its arguments; no shell is put in between.
    pub command: Vec<OsString>,
    /// When it is killed, with its process group.
    pub deadline: Duration,
}

/// A hook did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It has no command.
    #[error("the command to run {step} is empty")]
    Empty {
        /// The step.
        step: String,
    },
    /// It could not be started.
    #[error("{step}: {command} cannot be started: {error}")]
    Start {
        /// The step.
        step: String,
        /// The command.
        command: String,
        /// Why.
        error: io::Error,
    },
    /// It ended otherwise than with exit code 0, or did not end.
    #[error("{step}: {command}: {ended}; its last lines:\n{output}")]
    Failed {
        /// The step.
        step: String,
        /// The command.
        command: String,
        /// How it ended.
        ended: String,
        /// The last lines of what it said.
        output: String,
    },
}

impl Hook {
    /// Runs it with these variables beside our own environment, and returns
    /// what it wrote (the last 256 KiB, both streams as they came).
    ///
    /// # Errors
    /// See [`HookError`]; the variables are not named in it, they may be secret.
    pub async fn run(&self, variables: &[(&str, &str)]) -> Result<Vec<u8>, HookError> {
        let step = self.step.clone();
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(HookError::Empty { step });
        };
        let command = self
            .command
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let started = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                return Err(HookError::Start {
                    step,
                    command,
                    error,
                });
            }
        };
        // Killed with its group at the deadline, and when this future is dropped.
        let mut group = Group(
            child
                .id()
                .and_then(|pid| i32::try_from(pid).ok())
                .map(Pid::from_raw),
        );
        let tail = Mutex::new(Tail::default());
        let drained = both(
            drain(child.stdout.take(), &tail),
            drain(child.stderr.take(), &tail),
        );
        tokio::pin!(drained);
        let ended = tokio::time::timeout(self.deadline, async {
            let mut open = true;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut drained, if open => open = false,
                }
            };
            // What it left in the background may keep the streams open.
            if open {
                let _ = tokio::time::timeout(LINGER, &mut drained).await;
            }
            status
        })
        .await;
        let (output, _) = tail.lock().unwrap_or_else(PoisonError::into_inner).get();
        if ended.is_ok() {
            group.0 = None;
        }
        let ended = match ended {
            Ok(Ok(status)) if status.success() => return Ok(output),
            Ok(Ok(status)) => super::driver::Exited::from(status).to_string(),
            Ok(Err(error)) => format!("it cannot be waited for: {error}"),
            Err(_) => format!("it did not end within {:?} and was killed", self.deadline),
        };
        Err(HookError::Failed {
            step,
            command,
            ended,
            output: last_lines(&output),
        })
    }
}

/// Kills a process group when dropped. Once the leader is reaped the number may
/// be another's: then it is emptied first.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

async fn both(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    tokio::join!(a, b);
}

async fn drain(stream: Option<impl AsyncRead + Unpin>, tail: &Mutex<Tail>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0_u8; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        tail.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(&buffer[..read]);
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
