//! Where the command meets a strange driver, and what it says then.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use csi_harness::check::{Outcome, Settled};
use csi_harness::lab::{Scratch, unmount_below};
use csi_harness::node::Host;
use csi_harness::report::{Report, json};
use libtest_mimic::{Completion, Failed, Trial};

use super::server::{Driver, Server};

/// No run here takes nearly as long: it only keeps a hang from being one.
const WATCHDOG: Duration = Duration::from_secs(300);

pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// A mount namespace and a file system of our own.
pub(crate) struct World {
    base: PathBuf,
    lacking: Option<&'static str>,
    count: AtomicU32,
    /// On the host, with the scratch in it.
    folder: PathBuf,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    /// Both streams.
    pub(crate) output: String,
    pub(crate) report: Report,
    /// `report.json` as it is.
    pub(crate) written: String,
}

impl World {
    /// Before there is any thread.
    pub(crate) fn enter() -> Result<Arc<Self>, Box<dyn Error>> {
        let folder = std::env::temp_dir().join(format!("csi-odd-{}", std::process::id()));
        let host = Host::look();
        let lacking = ["root", "CAP_SYS_ADMIN"]
            .into_iter()
            .find(|name| !host.has(name));
        let base = match lacking {
            None => Scratch::enter(&folder)?.path().to_owned(),
            Some(_) => folder.clone(),
        };
        Ok(Arc::new(Self {
            base,
            lacking,
            count: AtomicU32::new(0),
            folder,
        }))
    }

    /// Takes away what the host sees of it: an empty folder in a folder.
    pub(crate) fn leave(&self) -> std::io::Result<()> {
        if self.lacking.is_some() {
            return Ok(());
        }
        unmount_below(&self.base)?;
        fs::remove_dir(&self.base)?;
        fs::remove_dir(&self.folder)
    }

    /// A test of the command, which runs as root alone.
    pub(crate) fn trial(self: &Arc<Self>, name: &str, test: fn(&Place) -> Tested) -> Trial {
        let world = self.clone();
        Trial::ignorable_test(name, move || {
            if let Some(lacking) = world.lacking {
                return Ok(Completion::ignored_with(format!(
                    "the host lacks {lacking}"
                )));
            }
            world
                .place()
                .map_err(Into::into)
                .and_then(|place| test(&place))
                .map(|()| Completion::Completed)
                .map_err(|error| Failed::from(error.to_string()))
        })
    }

    fn place(&self) -> std::io::Result<Place> {
        let path = self
            .base
            .join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(path.join("volumes"))?;
        Ok(Place { path })
    }
}

/// A folder of its own for each test, with volumes in it.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
}

impl Place {
    /// Where volumes are folders.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// Where drivers listen.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("csi.sock")
    }

    /// Runs the command against a driver that listens here.
    pub(crate) fn against(&self, driver: Driver, config: &str) -> Result<Said, Box<dyn Error>> {
        let socket = self.socket();
        let _server = Server::start(&socket, driver)?;
        let endpoint = format!("unix://{}", socket.display());
        self.run(&["--endpoint", &endpoint], config)
    }

    /// Runs the command with this configuration, and quick where it may be.
    pub(crate) fn run(&self, arguments: &[&str], config: &str) -> Result<Said, Box<dyn Error>> {
        fs::write(
            self.path.join("csi-conformance.yaml"),
            format!("quiet_period: 100ms\n{config}\n"),
        )?;
        let path = self.path.join("output");
        let mut command = Command::new(env!("CARGO_BIN_EXE_csi-conformance"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CSI_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("run")
            .args(arguments)
            .env("CSI_CONFORMANCE_STATE", self.path.join("state"))
            .env_remove("RUST_LOG")
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(File::create(&path)?)
            .stderr(File::options().append(true).open(&path)?)
            .spawn()?;
        let until = Instant::now() + WATCHDOG;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                return Err(format!("it did not end within {WATCHDOG:?}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        let reports = self.path.join("csi-conformance-report");
        let report =
            json::read(&reports).map_err(|error| format!("{error}; {status}: {output}"))?;
        if output.contains("panicked") {
            return Err(format!("the harness panicked: {output}").into());
        }
        let runs = fs::read_dir(self.path.join("state/runs")).map_or(0, |listed| listed.count());
        if runs > 0 {
            return Err(format!("{runs} runs are left: {output}").into());
        }
        Ok(Said {
            code: status.code(),
            output,
            report,
            written: fs::read_to_string(reports.join(json::FILE_NAME))?,
        })
    }
}

impl Said {
    /// What came of a check.
    pub(crate) fn check(&self, id: &str) -> Result<&Settled, Box<dyn Error>> {
        let found = self.report.checks.iter().find(|check| check.id == id);
        found.ok_or_else(|| format!("no check {id}: {}", self.told()).into())
    }

    /// All that is neither a pass nor a skip nor blocked: outcome and id.
    pub(crate) fn red(&self) -> Vec<(Outcome, &str)> {
        let quiet = [Outcome::Pass, Outcome::Skip, Outcome::Blocked];
        let checks = self.report.checks.iter();
        checks
            .filter(|check| !quiet.contains(&check.outcome))
            .map(|check| (check.outcome, check.id.as_str()))
            .collect()
    }

    /// One failure, of this check, and exit code 1; its message.
    pub(crate) fn only_fails(&self, id: &str) -> Result<String, Box<dyn Error>> {
        if self.red() != [(Outcome::Fail, id)] || self.code != Some(1) {
            return Err(format!("{id} alone had to fail: {}", self.told()).into());
        }
        Ok(self.check(id)?.message.clone())
    }

    /// This check fails, and no other.
    pub(crate) fn fails(&self, id: &str) -> Tested {
        let red = self.red();
        let failed = red.iter().filter(|(outcome, _)| *outcome != Outcome::Warn);
        match failed.eq([&(Outcome::Fail, id)]) {
            true => Ok(()),
            false => Err(format!("{id} had to fail: {}", self.told()).into()),
        }
    }

    /// Nothing worse than a warning, exit code 0, and something passed.
    pub(crate) fn nothing_fails(&self) -> Tested {
        let warns = |(outcome, _): &(Outcome, &str)| *outcome == Outcome::Warn;
        let well = self.red().iter().all(warns) && self.code == Some(0);
        match well && self.report.totals.pass > 0 && self.report.totals.blocked == 0 {
            true => Ok(()),
            false => Err(format!("nothing was to fail: {}", self.told()).into()),
        }
    }

    /// This check passes, in a case of it at least.
    pub(crate) fn passes(&self, id: &str) -> Tested {
        let is_it = |check: &&Settled| check.id.split('[').next() == Some(id);
        let mut cases = self.report.checks.iter().filter(is_it);
        match cases.any(|check| check.outcome == Outcome::Pass) {
            true => Ok(()),
            false => Err(format!("{id} had to pass: {}", self.told()).into()),
        }
    }

    /// The whole, for a failure of the test itself.
    pub(crate) fn told(&self) -> String {
        format!(
            "exit code {:?}, {:?}: {:?}\n{}",
            self.code,
            self.report.totals,
            self.red(),
            self.output
        )
    }
}

/// A file's path as text.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
