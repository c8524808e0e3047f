//! The run that checks are part of: its calls, its driver, its folders, its
//! volumes.

mod memory;
mod presence;
mod second;

pub use second::SecondTry;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::accounts::Accounts;
use super::accounts::Stray;
use super::claims::VolumeClaim;
use super::facts::Facts;
use super::kernel::Kernel;
use super::kind::Kind;
use super::servers::Servers;
use super::step::{Access, Step};
use super::stop::Stop;
use super::watches::Watches;
use crate::client::{Client, History};
use crate::config::{Config, ParseError, expand};
use crate::lab::{DriverProcess, Journal, Layout, Tools};
use crate::node::{DiskId, Execs};

/// How long a look at an untrusted path may take.
pub const LOOK: Duration = Duration::from_secs(10);

/// How long something may stay visible after the answer that took it away:
/// the kernel ends some work (a last close, a lazy detach by another) a moment
/// after the call that asked for it.
pub const SETTLE: Duration = Duration::from_millis(1500);

/// One run. Shared by all checks.
#[derive(Debug)]
pub struct Session {
    /// Names the run in paths and volume names.
    pub run_id: String,
    /// How we ask.
    pub client: Client,
    /// What is known beforehand.
    pub facts: Facts,
    /// Where our folders lie.
    pub layout: Layout,
    /// The driver's process, where we started it.
    pub driver: Option<tokio::sync::Mutex<DriverProcess>>,
    /// The watch over mounts, for the whole run.
    pub watches: Option<Watches>,
    /// The watch over what the driver starts, for the whole run.
    pub execs: Option<Execs>,
    /// The folder of a driver that we started ourselves.
    pub driver_folder: Option<PathBuf>,
    /// When the run began.
    pub(super) began: SystemTime,
    pub(super) kernel: Kernel,
    /// The NFS servers of the lab, where the configuration names them and the host
    /// can.
    pub servers: Option<Arc<Servers>>,
    /// The scratch file system that a driver of our own works on.
    pub scratch: Option<PathBuf>,
    /// The wrappers in the `PATH` of a driver that we started.
    pub tools: Option<Tools>,
    /// Set when no more cases are to be started.
    pub interrupted: Arc<AtomicBool>,
    /// Where what was made is written down for the next run, should this one be
    /// killed.
    pub journal: Option<Arc<Journal>>,
    /// Which mounts were asked for.
    pub(super) accounts: Accounts,
    /// Loop devices that are in the journal.
    journalled: Mutex<HashSet<DiskId>>,
    /// The volume that each loop device was first seen to carry.
    carries: Mutex<HashMap<DiskId, u64>>,
    /// What stayed or came late, for the judgement of the run.
    left: Mutex<Vec<String>>,
    /// Mounts that came and went, and nobody had asked.
    strays: Mutex<Vec<Stray>>,
    /// Which volume each marker was written to, and by which check.
    marks: Mutex<HashMap<String, (String, String)>>,
    /// Steps that a volume of this access type went through.
    worked: Mutex<HashSet<(Step, Access)>>,
    /// Access types of which a volume was asked for.
    tried: Mutex<HashSet<Access>>,
    /// Checks whose steps failed beside others, and worked alone.
    doubts: Mutex<Vec<String>>,
    /// Calls that worked only when they were made again.
    second_tries: second::SecondTries,
    numbers: AtomicU64,
    /// Volumes that are clean and free.
    pool: Mutex<Vec<VolumeClaim>>,
    /// Static volumes of the user's that are free, by their place in the
    /// configuration.
    statics: Mutex<Vec<usize>>,
    /// What was seen to kill the driver: not asked again.
    deadly: Mutex<Vec<(String, Option<Kind>)>>,
    /// Why the driver is not killed again: it did not come back.
    pub(super) stays_away: Mutex<Option<String>>,
}

impl Session {
    /// A run with nothing in it yet.
    pub fn new(
        run_id: String,
        client: Client,
        facts: Facts,
        layout: Layout,
        driver: Option<DriverProcess>,
    ) -> Self {
        let statics = (0..facts.config.volumes.len()).collect();
        Self {
            run_id,
            client,
            facts,
            layout,
            driver: driver.map(tokio::sync::Mutex::new),
            watches: None,
            execs: None,
            driver_folder: None,
            began: SystemTime::now(),
            kernel: Kernel::listen(),
            servers: None,
            scratch: None,
            tools: None,
            interrupted: Arc::default(),
            journal: None,
            accounts: Accounts::default(),
            journalled: Mutex::default(),
            carries: Mutex::default(),
            left: Mutex::default(),
            strays: Mutex::default(),
            marks: Mutex::default(),
            worked: Mutex::default(),
            tried: Mutex::default(),
            doubts: Mutex::default(),
            second_tries: second::SecondTries::default(),
            numbers: AtomicU64::new(1),
            pool: Mutex::default(),
            statics: Mutex::new(statics),
            deadly: Mutex::default(),
            stays_away: Mutex::default(),
        }
    }

    /// What the user said.
    pub fn config(&self) -> &Arc<Config> {
        &self.facts.config
    }

    /// The secrets to send with a call.
    pub fn secrets(&self, rpc: &str) -> HashMap<String, String> {
        self.config().secrets.of(rpc).into_iter().collect()
    }

    /// The name of the volume with this number.
    ///
    /// # Errors
    /// The user's template cannot be filled in.
    pub fn volume_name(&self, number: u64) -> Result<String, ParseError> {
        let number = number.to_string();
        expand(
            &self.config().driver.name_template,
            &[("run", &self.run_id), ("n", &number)],
        )
    }

    /// An id of the driver's own form that names no node.
    ///
    /// # Errors
    /// The user's template cannot be filled in.
    pub fn unknown_node_id(&self) -> Result<String, Stop> {
        let number = self.number().to_string();
        expand(
            &self.config().driver.unknown_node_id,
            &[("run", &self.run_id), ("n", &number)],
        )
        .map_err(|error| Stop::ours("make a node id", error))
    }

    /// Whether the user had enough.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// What was called so far.
    pub fn history(&self) -> &Arc<History> {
        self.client.history()
    }

    /// A number that nothing else in this run has.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}
