//! A whole run that is killed in the middle, and what cleans up after it.

use std::collections::HashSet;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use csi_harness::node::{DiskId, ProcessId, loops};

use super::Tested;

/// Nothing here takes nearly as long: it only keeps a hang from being one.
const WATCHDOG: Duration = Duration::from_secs(120);

/// Waits until there is something.
fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> Result<T, Box<dyn Error>> {
    let end = Instant::now() + WATCHDOG;
    loop {
        if let Some(seen) = seen() {
            return Ok(seen);
        }
        if Instant::now() > end {
            return Err(format!("no {what} within {WATCHDOG:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_csi-conformance"));
    command
        .env("CSI_CONFORMANCE_STATE", state)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What a stranger has on the node at the same time.
struct Stranger {
    process: Child,
    device: String,
}

impl Stranger {
    fn settle(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let file = folder.join("stranger.img");
        fs::File::create(&file)?.set_len(1 << 20)?;
        let bound = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&file)
            .output()?;
        let device = String::from_utf8(bound.stdout)?.trim().to_owned();
        if device.is_empty() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&bound.stderr)).into());
        }
        Ok(Self {
            process: Command::new("sleep").arg("1000").spawn()?,
            device,
        })
    }

    fn is_untouched(&mut self, folder: &Path) -> Tested {
        let file = folder.join("stranger.img");
        let carried = loops()?
            .iter()
            .any(|device| device.backing == file && device.path() == Path::new(&self.device));
        match carried && self.process.try_wait()?.is_none() {
            true => Ok(()),
            false => Err("what a stranger had is gone".into()),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("losetup").args(["-d", &self.device]).status();
    }
}

/// The driver that a run has started.
fn driver_of(run: u32) -> Option<ProcessId> {
    let tasks = fs::read_dir(format!("/proc/{run}/task")).ok()?;
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let pids: Vec<u32> = children
        .flat_map(|line| {
            line.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    let is_driver = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| {
            words
                .split(|byte| *byte == 0)
                .any(|word| word == b"--state-dir")
        })
    };
    let pid = pids.into_iter().find(is_driver)?;
    ProcessId::of(pid).ok()
}

/// The loop devices that carry files of a run.
fn devices_of(state: &Path) -> HashSet<DiskId> {
    let all = loops().unwrap_or_default();
    let ours = all
        .iter()
        .filter(|device| device.backing.starts_with(state));
    ours.map(|device| device.id).collect()
}

/// `clean` finds it all, and leaves what is not ours.
pub(crate) fn by_clean(folder: &Path) -> Tested {
    killed(folder, |state| {
        let status = command(state).arg("clean").status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("clean: {status}").into()),
        }
    })
}

/// So does the next run.
pub(crate) fn by_the_next_run(folder: &Path) -> Tested {
    killed(folder, |state| {
        let reports = state.with_file_name("report");
        let status = command(state)
            .args(["run", "--exact", "node-get-info.id-is-set", "--report-dir"])
            .arg(reports)
            .status()?;
        match status.code() {
            Some(0) => Ok(()),
            code => Err(format!("the next run: {code:?}").into()),
        }
    })
}

fn killed(folder: &Path, clean: fn(&Path) -> Tested) -> Tested {
    let folder = folder.canonicalize()?;
    let state = folder.join("state");
    let mut stranger = Stranger::settle(&folder)?;
    let mut run = command(&state)
        .args(["run", "--driver", "loop", "--driver-arg=--call-delay=100ms"])
        .args(["--jobs", "2", "--report-dir"])
        .arg(folder.join("report"))
        .spawn()?;
    // In the middle: several volumes are on the node, and a while later they
    // are in the journal.
    let written = || {
        fs::read_dir(state.join("runs")).ok().map(|runs| {
            let journals = runs
                .filter_map(|run| fs::read_dir(run.ok()?.path()).ok())
                .flatten();
            let texts = journals.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
            texts.filter(|text| text.contains("\"diskseq\"")).count()
        })
    };
    let seen = until("volume on the node", || {
        let devices = devices_of(&state);
        (!devices.is_empty() && written() > Some(0)).then_some(devices)
    });
    let driver = driver_of(run.id());
    let devices = seen.map(|seen| {
        let mut all = devices_of(&state);
        all.extend(seen);
        all
    });
    run.kill()?;
    run.wait()?;
    let (devices, driver) = (devices?, driver.ok_or("no driver was found")?);
    clean(&state)?;
    until("end of the driver", || (!driver.alive()).then_some(()))?;
    until("end of its loop devices", || {
        let there: HashSet<DiskId> = loops().ok()?.iter().map(|device| device.id).collect();
        there.is_disjoint(&devices).then_some(())
    })?;
    let runs = fs::read_dir(state.join("runs"))?.count();
    if runs > 0 {
        return Err(format!("{runs} runs are left").into());
    }
    stranger.is_untouched(&folder)
}
