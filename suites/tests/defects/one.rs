//! One run of the command against one driver.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use csi_drivers::defect::Kind;
use csi_harness::check::Outcome;
use csi_harness::node::{LoopDevice, loops};
use csi_harness::report::{Report, json};

use crate::old_kernel::on_old_kernel;
use crate::table::{Driver, Row};

/// No run takes nearly as long: it only keeps a hang from being one.
const WATCHDOG: Duration = Duration::from_secs(1200);

/// Checks by id and what came of them, with the cases that it came of.
pub(crate) type Red = BTreeMap<(String, &'static str), Vec<String>>;

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) report: Report,
    /// All that is neither a pass nor a skip nor blocked.
    pub(crate) red: Red,
}

/// Runs the suite, or a part of it, against one driver.
///
/// # Errors
/// There is no report, or something is left on the node.
pub(crate) fn run(row: &Row) -> Result<Said, Box<dyn Error>> {
    let defect = row.defect;
    let place = tempfile::Builder::new().prefix("csi-defect-").tempdir()?;
    let base = place.path().canonicalize()?;
    let state = base.join("state");
    let reports = base.join("report");
    let output = base.join("output");
    let mut command = command(&state);
    command
        .args(["run", "--driver", row.kind().name(), "--report-dir"])
        .arg(&reports)
        .args(row.filters())
        .args(row.driver.arguments())
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(File::options().append(true).open(&output)?);
    if !defect.is_empty() {
        command.args(["--defect", defect]);
    }
    let config = match row.driver {
        Driver::NfsGiven => Some(GIVEN),
        Driver::Mapped => Some(EMULATED),
        _ => None,
    };
    if let Some(text) = config {
        let config = base.join("config.yaml");
        fs::write(&config, text)?;
        command.arg("--config").arg(config);
    }
    match row.kind() {
        Kind::Nfs if row.waits_for_servers() => {}
        // Longer than anything here comes late.
        _ => drop(command.args(["--quiet-period", "2s"])),
    }
    if row.driver == Driver::LoopOldKernel {
        on_old_kernel(&mut command)?;
    }
    match row.kind() {
        // An emulated machine takes its time for a mount, and more for eight at once.
        Kind::Nfs if defect.is_empty() => {
            command.args(["--jobs", "4", "--deadline", "120s"]);
        }
        Kind::Nfs if WAITS.contains(&defect) => drop(command.args(["--deadline", "10s"])),
        _ if WAITS.contains(&defect) => drop(command.args(["--deadline", "2s"])),
        _ => {}
    }
    let before = loops()?;
    let status = to_its_end(&mut command)?;
    let written = || fs::read_to_string(&output).unwrap_or_default();
    let report = json::read(&reports)
        .map_err(|error| format!("no report: {error}; {status}: {}", written()))?;
    if written().contains("panicked") {
        return Err(format!("the harness panicked: {}", written()).into());
    }
    left_nothing(&state, &before)?;
    Ok(Said {
        code: status.code(),
        red: red(&report),
        report,
    })
}

/// Volumes as an administrator makes them: the context says what is mounted.
const GIVEN: &str = "\
volumes:
  - id: given-${n}
    context: { server: \"${lab.nfs.server}\", share: \"${lab.nfs.share}\" }
    access_modes: [MULTI_NODE_MULTI_WRITER]
    scratch: true
";

/// For a virtual machine, which may be emulated: one file system, and time for a call.
const EMULATED: &str = "\
volume: { file_systems: [ext4] }
deadline: 1m
";

/// These let the harness wait until a deadline. The others keep the usual one:
/// a busy machine must not look like a driver that hangs.
const WAITS: [&str; 2] = ["lock-not-released", "never-answers"];

/// The command, with nothing of our own environment that it would heed.
fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csi-conformance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CSI_") {
            command.env_remove(name);
        }
    }
    command
        .env("CSI_CONFORMANCE_STATE", state)
        // No configuration lies there.
        .current_dir("/")
        .env_remove("RUST_LOG");
    command
}

fn to_its_end(command: &mut Command) -> Result<ExitStatus, Box<dyn Error>> {
    let mut child = command.spawn()?;
    let until = Instant::now() + WATCHDOG;
    let mut waiting = BTreeMap::new();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let stuck = is_stuck(child.id(), &mut waiting);
        if stuck || Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(match stuck {
                true => "a thread of the harness waits in the kernel for a server".into(),
                false => format!("it did not end within {WATCHDOG:?}").into(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long a thread may wait where nothing can end it: far longer than for a disk.
const IN_THE_KERNEL: Duration = Duration::from_secs(60);

/// Whether a thread of the process has been in state D (proc_pid_stat(5)) for long:
/// whatever hangs, the harness must not. `waiting`: since when, thread by thread.
fn is_stuck(pid: u32, waiting: &mut BTreeMap<String, Instant>) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let in_d: Vec<String> = threads
        .into_iter()
        .flatten()
        .flatten()
        .filter(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('D'))
        })
        .map(|thread| thread.file_name().to_string_lossy().into_owned())
        .collect();
    waiting.retain(|thread, _| in_d.contains(thread));
    let now = Instant::now();
    in_d.into_iter().any(|thread| {
        let since = *waiting.entry(thread).or_insert(now);
        now.duration_since(since) > IN_THE_KERNEL
    })
}

fn left_nothing(state: &Path, before: &[LoopDevice]) -> Result<(), Box<dyn Error>> {
    let runs = fs::read_dir(state.join("runs")).map_or(0, |listed| listed.count());
    if runs > 0 {
        return Err(format!("{runs} runs are left below {}", state.display()).into());
    }
    // Once the run's mount namespace is gone, so is the beginning of a path.
    let ours = |path: &Path| path.starts_with(state) || path.starts_with("/driver/volumes");
    let known = |device: &LoopDevice| before.iter().any(|other| other.id == device.id);
    let left: Vec<_> = loops()?
        .into_iter()
        .filter(|device| ours(&device.backing) && !known(device))
        .map(|device| format!("/dev/loop{}", device.number))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("left after the run: {}", left.join(", ")).into()),
    }
}

fn red(report: &Report) -> Red {
    let mut red = Red::new();
    for check in &report.checks {
        let word = match check.outcome {
            Outcome::Fail => "fail",
            Outcome::Warn => "warn",
            Outcome::Unknown => "unknown",
            Outcome::Error => "error",
            Outcome::ExpectedFail => "expected_fail",
            Outcome::Pass | Outcome::Skip | Outcome::Blocked => continue,
        };
        let (id, case) = check
            .id
            .split_once('[')
            .map_or((check.id.as_str(), ""), |(id, case)| {
                (id, case.trim_end_matches(']'))
            });
        red.entry((id.to_owned(), word))
            .or_default()
            .push(case.to_owned());
    }
    red
}
