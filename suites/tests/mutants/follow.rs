//! A run as a process: what it says, and how it comes to its end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::place::Place;

/// How long one run may take. A mutant that keeps every call waiting until its
/// deadline is found out long before.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a run that was told to end may take to take back what it made through the
/// driver, and then without it.
const GRACES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: Vec<String>,
}

/// Starts a run, and reads what it says until it ends or says what is waited for;
/// then it is told to break off, and to take back what it made.
pub(crate) fn follow(
    command: &mut Command,
    place: &Place,
    enough: impl Fn(&str) -> bool,
) -> Result<Ended, String> {
    let errors = place.base.join("errors");
    let stderr = File::create(&errors).map_err(|error| format!("{}: {error}", errors.display()))?;
    command.stdout(Stdio::piped()).stderr(stderr);
    let mut child = command
        .spawn()
        .map_err(|error| format!("start the run: {error}"))?;
    let lines = lines(&mut child);
    let until = Instant::now() + LONGEST;
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                said.push(line.clone());
                if enough(&line) {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = child
                    .wait()
                    .map_err(|error| format!("wait for the run: {error}"))?;
                let errors = fs::read_to_string(&errors).unwrap_or_default();
                said.extend(errors.lines().map(str::to_owned));
                return Ok(Ended { status, said });
            }
            Err(RecvTimeoutError::Timeout) => {
                break_off(&mut child, place, command.get_program())?;
                return Err(format!("it did not end within {LONGEST:?}"));
            }
        }
    }
    // What it still says must not fill the pipe.
    std::thread::spawn(move || lines.iter().for_each(drop));
    let status = break_off(&mut child, place, command.get_program())?;
    Ok(Ended { status, said })
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (send, receive) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
    }
    receive
}

/// Tells a run to end: at the first signal it begins no more checks, and takes back
/// what it made; at the second it waits for nothing any more.
fn break_off(child: &mut Child, place: &Place, program: &OsStr) -> Result<ExitStatus, String> {
    let wait = |error| format!("wait for the run: {error}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    for grace in GRACES {
        // ESRCH: it is gone by itself.
        let _ = kill(pid, Signal::SIGTERM);
        let until = Instant::now() + grace;
        while Instant::now() < until {
            if let Some(status) = child.try_wait().map_err(wait)? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    child.kill().map_err(wait)?;
    let status = child.wait().map_err(wait)?;
    let _ = place
        .bare(Path::new(program))
        .arg("clean")
        .stdout(Stdio::null())
        .status();
    Ok(status)
}
