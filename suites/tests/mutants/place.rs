//! The folder of one run, and what the run leaves in it and on the node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use csi_drivers::mutation::{Call, How};
use csi_harness::node::loops;

use crate::mutants::{Calls, Mutant};
use crate::run::Suite;

/// One line of a trace.
pub(crate) struct Traced {
    rpc: String,
    call: String,
    number: u32,
    pub(crate) how: String,
    pub(crate) came: String,
    others: String,
}

impl Traced {
    /// Whether it is one of the calls that this mutant makes wrong.
    pub(crate) fn is_made_by(&self, mutant: &Mutant) -> bool {
        mutant.mutations.iter().any(|mutation| {
            mutation.how.name() == self.how
                && mutation.call.name() == self.call
                && mutation.number.is_none_or(|number| number == self.number)
                && mutation.rpc.as_ref().is_none_or(|rpc| *rpc == self.rpc)
        })
    }
}

/// The folder of one run.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) base: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("csi-mutant-").tempdir();
        let folder = folder.map_err(|error| format!("a folder for the run: {error}"))?;
        let base = folder.path().canonicalize();
        let base = base.map_err(|error| format!("a folder for the run: {error}"))?;
        Ok(Self { folder, base })
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.base.join("state")
    }

    pub(crate) fn trace_file(&self) -> PathBuf {
        self.base.join("trace")
    }

    /// The command, with nothing of our own environment that it would heed.
    pub(crate) fn bare(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
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

    pub(crate) fn command(&self, suite: &Suite, filters: &[&str], quiet: Duration) -> Command {
        let mut command = self.bare(&suite.program);
        command
            .args(["run", "--driver", suite.driver.name()])
            .args(["--jobs", "4", "--report-dir"])
            .arg(self.folder.path().join("report"))
            .arg("--quiet-period")
            .arg(format!("{}ms", quiet.as_millis()))
            .arg(format!(
                "--driver-arg=--trace-calls={}",
                self.trace_file().display()
            ))
            .args(suite.skip.iter().flat_map(|skip| ["--skip", skip]))
            .args(
                suite
                    .driver_args
                    .iter()
                    .map(|arg| format!("--driver-arg={arg}")),
            )
            .args(filters);
        command
    }

    pub(crate) fn trace(&self) -> Vec<Traced> {
        let text = fs::read_to_string(self.trace_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let fields: Vec<_> = line.split('\t').collect();
                let [rpc, _, call, number, _, how, came, others] = fields.as_slice() else {
                    return None;
                };
                Some(Traced {
                    rpc: (*rpc).to_owned(),
                    call: (*call).to_owned(),
                    number: number.parse().ok()?,
                    how: (*how).to_owned(),
                    came: (*came).to_owned(),
                    others: (*others).to_owned(),
                })
            })
            .collect()
    }

    pub(crate) fn calls(&self) -> Calls {
        let mut calls = Calls::new();
        for line in self.trace() {
            let known = Call::ALL.iter().find(|call| call.name() == line.call);
            if let Some(call) = known {
                let made = calls.entry((line.rpc, *call, line.number)).or_default();
                let is_both = line.others == "both";
                made.target |= is_both || line.others == How::WrongTarget.name();
                made.source |= is_both || line.others == How::WrongSource.name();
            }
        }
        calls
    }

    /// Nothing of the run may be left on the node.
    pub(crate) fn left_nothing(&self) -> Result<(), String> {
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
    pub(crate) fn detach(&self) -> Result<(), String> {
        for device in self.devices()? {
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
        Ok(())
    }

    /// The loop devices of this run. The names of volumes are random, and the trace
    /// has them all.
    pub(crate) fn devices(&self) -> Result<Vec<PathBuf>, String> {
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
