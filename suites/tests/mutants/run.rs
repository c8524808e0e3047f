//! One run of the command against one mutant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use csi_drivers::mutation::Call;
use csi_harness::node::loops;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::mutants::{Calls, Mutant, concerned};

/// How long one run may take. A mutant that keeps every call waiting until its
/// deadline is found out long before.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a run that was told to end may take to take back what it made through the
/// driver, and then without it.
const GRACES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

/// What the honest driver did.
#[derive(Debug)]
pub(crate) struct Honest {
    /// Its calls to the kernel.
    pub(crate) calls: Calls,
    /// The checks that find fault with it all the same.
    pub(crate) red: BTreeSet<String>,
}

/// What came of a mutant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// A check told it from the honest driver: the line that said so.
    Killed(String),
    /// All checks ran, and it was made so often; what the calls that were made wrong
    /// answered, each with how often.
    Survived(BTreeMap<String, usize>),
    /// Nothing went wrong in any run: the call was never made, or no other volume's
    /// object was there, or the kernel refused what was done too much.
    NoEffect(String),
    /// It is not known: our own fault.
    Broken(String),
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(by) => write!(f, "killed: {by}"),
            Self::Survived(effects) => {
                f.write_str("SURVIVED:")?;
                effects
                    .iter()
                    .try_for_each(|(effect, times)| write!(f, " {effect} ({times} times);"))
            }
            Self::NoEffect(why) => write!(f, "no effect: {why}"),
            Self::Broken(why) => write!(f, "BROKEN: {why}"),
        }
    }
}

/// Runs everything against the honest driver, and reads which calls it makes.
pub(crate) fn honest() -> Result<Honest, String> {
    let place = Place::new()?;
    let mut command = place.command(&[], Duration::from_millis(300));
    let ended = follow(&mut command, &place, |_| false)?;
    place.left_nothing()?;
    let calls = place.calls();
    if calls.is_empty() {
        return Err(format!(
            "the honest driver made no call ({}): {}",
            ended.status,
            ended.said.join("\n")
        ));
    }
    Ok(Honest {
        calls,
        red: ended
            .said
            .iter()
            .filter_map(|line| red(line))
            .map(|(id, _)| id.to_owned())
            .collect(),
    })
}

/// Runs what concerns a mutant against it, and then everything, until a check finds
/// fault with it.
pub(crate) fn mutant(mutant: &Mutant, honest: &Honest) -> Came {
    let own = concerned(&mutant.rpc);
    match run(mutant, own, honest) {
        Ok(Came::Survived(_) | Came::NoEffect(_)) if !own.is_empty() => {
            run(mutant, &[], honest).unwrap_or_else(Came::Broken)
        }
        came => came.unwrap_or_else(Came::Broken),
    }
}

/// One run with these filters, to the first finding.
pub(crate) fn run(mutant: &Mutant, filters: &[&str], honest: &Honest) -> Result<Came, String> {
    let place = Place::new()?;
    let quiet = Duration::from_millis(if mutant.is_late() { 2000 } else { 300 });
    let mut command = place.command(filters, quiet);
    for mutation in &mutant.mutations {
        command.arg(format!("--driver-arg=--mutate={mutation}"));
    }
    for defect in &mutant.defects {
        command.arg(format!("--defect={defect}"));
    }
    let is_found = |line: &str| red(line).is_some_and(|(id, _)| !honest.red.contains(id));
    let ended = follow(&mut command, &place, is_found)?;
    let found = ended.said.iter().find(|line| is_found(line));
    if found.is_some() {
        place.detach()?;
    }
    place.left_nothing()?;
    if let Some(line) = found {
        return Ok(Came::Killed(line.clone()));
    }
    if let Some(panicked) = ended.said.iter().find(|line| line.contains("panicked")) {
        return Err(format!("the harness panicked: {panicked}"));
    }
    match ended.status.code() {
        Some(0 | 2) => Ok(survived(mutant, &place)),
        // No driver, no deception.
        Some(3) if ended.said.iter().any(|line| line.contains("driver")) => Ok(Came::Killed(
            format!("it does not start: {}", ended.said.join("; ")),
        )),
        _ => Err(format!("{}: {}", ended.status, ended.said.join("\n"))),
    }
}

/// What a mutant did, of which no check told.
fn survived(mutant: &Mutant, place: &Place) -> Came {
    let mut effects = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for line in place.trace() {
        if line.how == "-" {
            continue;
        }
        let is_nothing = line.how == "twice" && line.came != "ok";
        let into = if is_nothing {
            &mut refused
        } else {
            &mut effects
        };
        *into.entry(line.came).or_insert(0_usize) += 1;
    }
    if !effects.is_empty() || !mutant.defects.is_empty() {
        return Came::Survived(effects);
    }
    Came::NoEffect(match refused.keys().next() {
        Some(why) => format!("the second call is refused: {why}"),
        None => "the call was never made, or on no other volume's object".to_owned(),
    })
}

/// A finding: its check and what it says. Lines are `fail  ID  TIME  MESSAGE`.
fn red(line: &str) -> Option<(&str, &str)> {
    let rest = ["fail  ", "warn  "]
        .into_iter()
        .find_map(|word| line.strip_prefix(word))?;
    rest.split_once("  ")
}

/// One line of a trace.
struct Traced {
    rpc: String,
    call: String,
    number: u32,
    how: String,
    came: String,
}

/// The folder of one run.
struct Place {
    folder: tempfile::TempDir,
    base: PathBuf,
}

impl Place {
    fn new() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("csi-mutant-").tempdir();
        let folder = folder.map_err(|error| format!("a folder for the run: {error}"))?;
        let base = folder.path().canonicalize();
        let base = base.map_err(|error| format!("a folder for the run: {error}"))?;
        Ok(Self { folder, base })
    }

    fn state(&self) -> PathBuf {
        self.base.join("state")
    }

    fn trace_file(&self) -> PathBuf {
        self.base.join("trace")
    }

    /// The command, with nothing of our own environment that it would heed.
    fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csi-conformance"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CSI_") {
                command.env_remove(name);
            }
        }
        command
            .env("CSI_CONFORMANCE_STATE", self.state())
            // No configuration lies there.
            .current_dir("/")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    fn command(&self, filters: &[&str], quiet: Duration) -> Command {
        let mut command = self.bare();
        command
            .args(["run", "--driver", "loop", "--jobs", "4", "--report-dir"])
            .arg(self.folder.path().join("report"))
            .arg("--quiet-period")
            .arg(format!("{}ms", quiet.as_millis()))
            .arg(format!(
                "--driver-arg=--trace-calls={}",
                self.trace_file().display()
            ))
            .args(filters);
        command
    }

    fn trace(&self) -> Vec<Traced> {
        let text = fs::read_to_string(self.trace_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let fields: Vec<_> = line.split('\t').collect();
                let [rpc, _, call, number, _, how, came] = fields.as_slice() else {
                    return None;
                };
                Some(Traced {
                    rpc: (*rpc).to_owned(),
                    call: (*call).to_owned(),
                    number: number.parse().ok()?,
                    how: (*how).to_owned(),
                    came: (*came).to_owned(),
                })
            })
            .collect()
    }

    fn calls(&self) -> Calls {
        let mut calls = Calls::new();
        for line in self.trace() {
            let known = Call::ALL.iter().find(|call| call.name() == line.call);
            if let Some(call) = known {
                let most = calls.entry((line.rpc, *call)).or_default();
                *most = line.number.max(*most);
            }
        }
        calls
    }

    /// Nothing of the run may be left on the node.
    fn left_nothing(&self) -> Result<(), String> {
        let runs = fs::read_dir(self.state().join("runs")).map_or(0, Iterator::count);
        if runs > 0 {
            return Err(format!(
                "{runs} runs are left below {}",
                self.state().display()
            ));
        }
        // The kernel lets go of a namespace a moment after its last process.
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.devices()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("loop devices are left: {left:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A driver that was killed in the midst of it leaves its devices to nobody.
    fn detach(&self) -> Result<(), String> {
        for device in self.devices()? {
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
        Ok(())
    }

    /// The loop devices of this run. The names of volumes are random, and the trace
    /// has them all.
    fn devices(&self) -> Result<Vec<PathBuf>, String> {
        let trace = fs::read_to_string(self.trace_file()).unwrap_or_default();
        let is_ours = |path: &Path| {
            let folder = path.parent().and_then(Path::file_name);
            let name = folder.unwrap_or_default().to_string_lossy();
            name.starts_with("vol-") && trace.contains(&*name)
        };
        let there = loops().map_err(|error| format!("list the loop devices: {error}"))?;
        let ours = there.iter().filter(|device| is_ours(&device.backing));
        Ok(ours
            .map(|device| format!("/dev/loop{}", device.number).into())
            .collect())
    }
}

/// A run that has ended.
struct Ended {
    status: ExitStatus,
    said: Vec<String>,
}

/// Starts a run, and reads what it says until it ends or says what is waited for;
/// then it is told to break off, and to take back what it made.
fn follow(
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
                break_off(&mut child, place)?;
                return Err(format!("it did not end within {LONGEST:?}"));
            }
        }
    }
    // What it still says must not fill the pipe.
    std::thread::spawn(move || lines.iter().for_each(drop));
    let status = break_off(&mut child, place)?;
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
fn break_off(child: &mut Child, place: &Place) -> Result<ExitStatus, String> {
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
    let _ = place.bare().arg("clean").stdout(Stdio::null()).status();
    Ok(status)
}
