//! Helper programs: where they are, and that they end.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::kernel::{Pretend, call};
use crate::common::patience::{Over, Patience};
use crate::mutation::Call;

/// Where administrators' programs are, beside `PATH`, which a service may lack.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// How often a helper is looked after.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);
/// How long a helper may take to end once it was killed.
const GRACE: Duration = Duration::from_secs(5);
/// The most that is read of what a helper said.
const MOST_WORDS: u64 = 4096;

/// Where a program is.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PROGRAM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Runs a program to its end; what it said on the way is the error's text.
pub(crate) fn run(name: &str, arguments: &[&str], last: &Path) -> io::Result<()> {
    let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let program = name.to_owned();
    call(Call::of_program(name), last, move |last| {
        run_to_its_end(&program, &arguments, last)
    })
}

pub(super) fn run_to_its_end(name: &str, arguments: &[String], last: &Path) -> io::Result<()> {
    let file = program(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("{name} is not installed"))
    })?;
    let mut command = Command::new(file);
    command.args(arguments).arg(last).stdin(Stdio::null());
    end_with_us(&mut command);
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("");
    Err(io::Error::other(format!(
        "{name} ended with {}: {line}",
        output.status
    )))
}

/// A mkfs must not outlive a driver that was killed: the next one may be at work
/// on the same device.
fn end_with_us(command: &mut Command) {
    let driver = nix::unistd::getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // The driver may have been killed before there was a signal to send.
        if nix::unistd::getppid() != driver {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec, `ask` makes two system calls, and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(ask) };
}

/// Runs a helper with these words on its command line, for everybody to see: the
/// defect secret-in-argv.
pub(crate) fn show_in_argv(words: &[String]) {
    if let Some(shell) = program("sh") {
        let script = ["-c", "sleep 0.5", "login"];
        let _ = Command::new(shell).args(script).args(words).status();
    }
}

/// Starts a program and never waits for it, which no honest driver does.
pub(crate) fn start_and_forget(name: &str) {
    if let Some(file) = program(name) {
        let _ = Command::new(file).stdin(Stdio::null()).spawn();
    }
}

/// How a helper came to its end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself, and what it said on its standard error.
    Itself(ExitStatus, String),
    /// It was killed.
    Killed(Over),
}

impl Pretend for Ended {
    fn pretend() -> io::Result<Self> {
        Ok(Self::Itself(ExitStatus::default(), String::new()))
    }

    fn refused(&self) -> Option<String> {
        match self {
            Self::Itself(status, _) if status.success() => None,
            Self::Itself(status, said) => Some(format!("{status}: {said}")),
            Self::Killed(over) => Some(format!("killed: {over:?}")),
        }
    }
}

/// Runs a program in a process group of its own for as long as there is
/// patience, then kills the group. When this returns, the program is gone.
pub(crate) fn run_patiently(command: &mut Command, patience: &Patience) -> io::Result<Ended> {
    end_with_us(command);
    let (mut child, mut words) = start(command)?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status, said(&mut words)));
        }
        if let Some(over) = patience.over() {
            kill_group(child)?;
            return Ok(Ended::Killed(over));
        }
        std::thread::sleep(PERIOD);
    }
}

/// The same, but what takes too long is left to itself: the defect
/// publish-timeout-abandons-mount.
pub(crate) fn run_or_abandon(command: &mut Command, patience: &Patience) -> io::Result<Ended> {
    let (mut child, mut words) = start(command)?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::Itself(status, said(&mut words)));
        }
        if let Some(over) = patience.over() {
            std::thread::spawn(move || child.wait());
            return Ok(Ended::Killed(over));
        }
        std::thread::sleep(PERIOD);
    }
}

/// Starts a program whose words go to a file: a pipe would stay open for as long
/// as any process that the program leaves behind.
fn start(command: &mut Command) -> io::Result<(Child, File)> {
    let words = tempfile::tempfile()?;
    let child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words.try_clone()?)
        .process_group(0)
        .spawn()?;
    Ok((child, words))
}

fn said(words: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = words
        .rewind()
        .and_then(|()| words.take(MOST_WORDS).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Err(error) => format!("what it said cannot be read: {error}"),
    }
}

fn kill_group(mut child: Child) -> io::Result<()> {
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    // ESRCH: it ended by itself meanwhile.
    let _ = killpg(group, Signal::SIGKILL);
    let grace = Patience::lasting(GRACE);
    while grace.over().is_none() {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(PERIOD);
    }
    // The kernel lets go of it when it will; somebody must wait for it then.
    std::thread::spawn(move || child.wait());
    Err(io::Error::other("the helper cannot be killed"))
}

/// The processes that run this program with this argument, whoever started them:
/// what a driver that was killed left, or what put itself into the background.
pub(crate) fn strays(program: &str, argument: &OsStr) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let name = Path::new(OsStr::from_bytes(words.next()?)).file_name()?;
            let is_it = name.as_bytes().starts_with(program.as_bytes());
            (is_it && words.any(|word| word == argument.as_bytes())).then_some(Pid::from_raw(pid))
        })
        .collect()
}
