//! What we do to the driver's process: SIGKILL and a new start, SIGSTOP. None of it
//! is a death of the driver's own, which the run would tell of.

use std::sync::PoisonError;
use std::time::Duration;

use super::cx::Cx;
use super::session::Session;
use super::step::{Access, Step};
use super::stop::{Checked, Stop};
use super::wait::Patience;
use crate::lab::{DriverProcess, Frozen};
use crate::node::Process;

/// What is waited before each start: whoever looks after a driver starts it more
/// than once too.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// How long signals may take to stop a process.
const STOPPING: Duration = Duration::from_secs(2);

impl Cx {
    /// Kills the driver with its process group, as a container's end would, starts it
    /// again at the same socket, with the socket's file left as it is, and waits until
    /// it answers `Probe`.
    ///
    /// # Errors
    /// It does not come back, or it was dead already.
    pub async fn restart_driver(&self) -> Checked {
        self.kill_driver().await?;
        self.start_driver().await
    }

    pub(super) async fn kill_driver(&self) -> Checked {
        if let Some(why) = self.session.stays_away() {
            return Err(Stop::Blocked {
                step: Step::ComesBack,
                why,
                refused: false,
            });
        }
        let mut driver = self.session.our_driver()?.lock().await;
        if let Some(how) = driver.exited() {
            return Err(Stop::Blocked {
                step: Step::Alive,
                why: format!("the driver died before it was killed: {how}"),
                refused: false,
            });
        }
        let pid = driver.id().pid;
        // Whatever it puts in order when it comes back is not asked for by any call.
        self.session.driver_disturbed(Some(&self.id)).await;
        driver.kill().await;
        self.fact("SIGKILL", format!("sent to the driver (pid {pid}) by us"));
        Ok(())
    }

    pub(super) async fn start_driver(&self) -> Checked {
        let mut said = String::new();
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.session.start_again().await {
                Ok(pid) => {
                    self.session.works(Step::ComesBack, Access::Mount);
                    self.fact("started again", format!("pid {pid}"));
                    return Ok(());
                }
                Err(why) => said = why,
            }
        }
        // So that the run can go on, as an administrator would have it.
        let removed = self.session.our_driver()?.lock().await.remove_socket();
        let is_back = removed.is_ok() && self.session.start_again().await.is_ok();
        let then = match is_back {
            true => "; with its socket's file removed, it does",
            false => "",
        };
        let why = format!(
            "after SIGKILL the driver was started {} times at the same socket, and does not come back: {said}{then}",
            PAUSES.len()
        );
        self.session.remember_stays_away(&why);
        if !is_back {
            self.session.history().stays_away(why.clone());
        }
        // After what this check did before, it does not; after nothing, it did.
        Err(
            match self.session.has_worked(Step::ComesBack, Access::Mount) {
                true => Stop::fail(why),
                false => self.blame(Step::ComesBack, why),
            },
        )
    }

    /// Stops the driver with its process group (SIGSTOP), until the answer is dropped.
    ///
    /// # Errors
    /// It cannot be stopped.
    pub async fn freeze_driver(&self) -> Result<Frozen, Stop> {
        let driver = self.session.our_driver()?.lock().await;
        let wrong = |why: &dyn std::fmt::Display| Stop::ours("stop the driver with SIGSTOP", why);
        let pid = driver.id().pid;
        let frozen = driver.freeze().map_err(|e| wrong(&e))?;
        self.fact("SIGSTOP", format!("sent to the driver (pid {pid}) by us"));
        let mut patience = Patience::brisk(STOPPING);
        while Process::of(pid).map_err(|e| wrong(&e))?.state != 'T' {
            if !patience.wait().await {
                return Err(wrong(&"it does not stop"));
            }
        }
        Ok(frozen)
    }
}

impl Session {
    fn our_driver(&self) -> Result<&tokio::sync::Mutex<DriverProcess>, Stop> {
        let driver = self.driver.as_ref();
        driver.ok_or_else(|| Stop::not_given("a driver that we start (driver.command)"))
    }

    /// Starts the driver once, and gives its pid when it answers.
    async fn start_again(&self) -> Result<u32, String> {
        let driver = self.our_driver().map_err(|_| "it is not ours")?;
        let mut driver = driver.lock().await;
        driver.restart().await.map_err(|e| e.to_string())?;
        self.driver_is(driver.id());
        let limit = self.config().driver.ready_timeout;
        tokio::select! {
            ready = Self::wait_ready(&self.client, limit, true) => ready?,
            Some(how) = driver.wait_exit(limit) => return Err(last_words(&driver, &how.to_string())),
        }
        Ok(driver.id().pid)
    }

    fn stays_away(&self) -> Option<String> {
        self.stays_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember_stays_away(&self, why: &str) {
        *self
            .stays_away
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }
}

/// How it ended, with the last line that it wrote.
fn last_words(driver: &DriverProcess, how: &str) -> String {
    let output = driver.output();
    let said = match output.stderr.is_empty() {
        true => output.stdout,
        false => output.stderr,
    };
    let said = String::from_utf8_lossy(&said);
    match said.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{how}: {line}"),
        None => how.to_owned(),
    }
}
