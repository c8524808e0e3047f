//! The run that checks are part of: its calls, its driver, its folders, its
//! volumes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use csi_proto::rpc;
use csi_proto::v1;

use super::accounts::Accounts;
use super::accounts::Stray;
use super::claims::VolumeClaim;
use super::cx::Asked;
use super::facts::Facts;
use super::kernel::Kernel;
use super::kind::Kind;
use super::marker::Marker;
use super::servers::Servers;
use super::step::{Access, Step};
use super::stop::Stop;
use super::volume::Want;
use super::wait::Patience;
use super::watches::Watches;
use crate::client::{Answer, Client, History, Reply};
use crate::config::{Config, ParseError, expand};
use crate::lab::{DriverProcess, Entry, Journal, Layout, Tools};
use crate::node::{DiskId, Execs, LoopDevice, MountTable};

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

    /// The pid of the driver's process, where it is known: our child's, or the
    /// user's word, or who bound the node socket.
    pub async fn driver_pid(&self) -> Option<u32> {
        if let Some(driver) = &self.driver {
            return Some(driver.lock().await.id().pid);
        }
        let driver = &self.config().driver;
        let written = || {
            std::fs::read_to_string(driver.pid_file.as_ref()?)
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let said = driver.pid.or_else(written);
        let pid = said.or_else(|| self.history().peers().last().copied())?;
        u32::try_from(pid).ok()
    }

    /// The mounts as the driver sees them; none where its namespace cannot be
    /// read.
    pub async fn drivers_mounts(&self) -> Option<MountTable> {
        if self.facts.no_driver_namespace.is_some() {
            return None;
        }
        MountTable::of(self.driver_pid().await?).ok()
    }

    /// Whether this may still be asked: not what was seen to kill the driver,
    /// nor what missed its deadline twice.
    pub(super) fn may_ask(&self, rpc: &str, kind: Option<&Kind>) -> Result<(), Stop> {
        let deadly = self.deadly.lock().unwrap_or_else(PoisonError::into_inner);
        if deadly
            .iter()
            .any(|(name, of)| name == rpc && of.as_ref() == kind)
        {
            let why = format!("{rpc} was seen to kill the driver; it is not asked again");
            return Err(Stop::Blocked {
                step: Step::Alive,
                why,
                refused: false,
            });
        }
        if self.history().missed_by(rpc) >= 2 {
            let why = format!("{rpc} missed its deadline twice; it is not asked again");
            return Err(Stop::Blocked {
                step: Step::Answers,
                why,
                refused: false,
            });
        }
        Ok(())
    }

    /// Remembers that this call, asked alone, killed the driver.
    pub fn is_deadly(&self, rpc: String, kind: Option<Kind>) {
        self.deadly
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((rpc, kind));
    }

    /// An answer, or which owner tells of there being none.
    pub(super) async fn judge_connection<T>(&self, reply: Reply<T>) -> Result<Asked<T>, Stop> {
        let reply = match Asked::from_reply(reply) {
            Ok(asked) => return Ok(asked),
            Err(reply) => reply,
        };
        let why = format!(
            "{}, call {}: {}",
            reply.record.rpc,
            reply.record.n,
            reply.answer.message()
        );
        let step = match reply.answer {
            Answer::Silent(_) => Step::Answers,
            Answer::Garbled(_) => Step::Speaks,
            _ if self.is_alive().await => Step::Speaks,
            _ => Step::Alive,
        };
        Err(Stop::Blocked {
            step,
            why,
            refused: false,
        })
    }

    /// What the driver that we started wrote to its output streams so far; none
    /// for one that others started.
    pub async fn driver_output(&self) -> Option<String> {
        let output = self.driver.as_ref()?.lock().await.output();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(text(&output.stdout) + &text(&output.stderr))
    }

    /// Whether the driver is there: it answers `Probe`.
    pub async fn is_alive(&self) -> bool {
        if let Some(driver) = &self.driver
            && driver.lock().await.exited().is_some()
        {
            return false;
        }
        let limit = Duration::from_secs(5).min(self.client.deadline("Probe"));
        for endpoint in self.client.endpoints() {
            let request = v1::ProbeRequest {};
            let probe = self
                .client
                .call_at::<rpc::Probe>(Some(endpoint), "", &request, limit);
            if !matches!(probe.await.answer, Answer::Ok(_) | Answer::Refused(_)) {
                return false;
            }
        }
        true
    }

    /// Waits until every socket of the driver answers `Probe` with ready: a
    /// socket file may be stale, and two sockets may come up seconds apart.
    ///
    /// # Errors
    /// What the last try saw.
    pub async fn wait_ready(client: &Client, limit: Duration, brisk: bool) -> Result<(), String> {
        for endpoint in client.endpoints() {
            let mut patience = if brisk {
                Patience::brisk(limit)
            } else {
                Patience::new(limit)
            };
            loop {
                let request = v1::ProbeRequest {};
                let reply = client
                    .call_at::<rpc::Probe>(Some(endpoint), "", &request, limit)
                    .await;
                let not_yet = match reply.answer {
                    Answer::Ok(ref probe) if probe.ready != Some(false) => break,
                    Answer::Ok(_) => "Probe answers ready=false".to_owned(),
                    // A driver without Probe is a finding, not a driver that is away.
                    Answer::Refused(ref refusal)
                        if refusal.code == crate::client::Code::UNIMPLEMENTED =>
                    {
                        break;
                    }
                    ref other => other.message(),
                };
                if !patience.wait().await {
                    return Err(format!("{endpoint}: {not_yet}"));
                }
            }
        }
        Ok(())
    }

    /// As [`Session::wait_ready`] for a driver that should be there already: an
    /// endpoint where nobody listens, or no gRPC is spoken, is told of within a
    /// second.
    ///
    /// # Errors
    /// What the last try saw.
    pub async fn wait_present(client: &Client, limit: Duration) -> Result<(), String> {
        let mut patience = Patience::brisk(Duration::from_millis(500));
        loop {
            let mut said = Vec::new();
            for endpoint in client.endpoints() {
                let request = v1::ProbeRequest {};
                let probe = client.call_at::<rpc::Probe>(Some(endpoint), "", &request, limit);
                match probe.await.answer {
                    answer @ (Answer::Unreachable(_) | Answer::Broken(_)) => {
                        said.push(format!("{endpoint}: {}", answer.message()));
                    }
                    // One of them is there: the other may still be coming up.
                    _ => return Self::wait_ready(client, limit, false).await,
                }
            }
            if !patience.wait().await {
                return Err(said.join("; "));
            }
        }
    }

    /// Whether a loop device carries this volume, and no other that claimed it
    /// before: a driver may show one volume's device for another's.
    pub(super) fn carries(&self, device: DiskId, volume: u64) -> bool {
        let mut carries = self.carries.lock().unwrap_or_else(PoisonError::into_inner);
        *carries.entry(device).or_insert(volume) == volume
    }

    /// Writes down a loop device of a driver of our own.
    pub(super) fn write_down(&self, device: &LoopDevice) {
        let (Some(scratch), Some(journal)) = (&self.scratch, &self.journal) else {
            return;
        };
        let mut known = self
            .journalled
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !device.backing.starts_with(scratch) || !known.insert(device.id) {
            return;
        }
        if let Err(error) = Entry::loop_device(device.number, &device.backing)
            .map_err(|e| e.to_string())
            .and_then(|entry| journal.write(&entry).map_err(|e| e.to_string()))
        {
            tracing::warn!(%error, "a loop device is not in the journal");
        }
    }

    /// A volume of this access type went through a step.
    pub(super) fn works(&self, step: Step, access: Access) {
        self.worked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((step, access));
    }

    pub(super) fn has_worked(&self, step: Step, access: Access) -> bool {
        self.worked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&(step, access))
    }

    pub(super) fn tries(&self, access: Access) {
        self.tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(access);
    }

    /// Whether a refusal of this step means that volumes of this access type are
    /// not offered: none ever came through, and those of the other type do.
    pub fn is_not_offered(&self, step: Step, access: Access) -> bool {
        let other = match access {
            Access::Mount => Access::Block,
            Access::Block => Access::Mount,
        };
        let tried = self
            .tried
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&other);
        let same = match step {
            Step::Stage(_) => Step::Stage(other),
            Step::Publish(_) => Step::Publish(other),
            step => step,
        };
        !self.has_worked(step, access) && (!tried || self.has_worked(same, other))
    }

    /// Remembers a check whose step failed beside others, and worked alone.
    pub fn doubt(&self, what: String) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if !doubts.contains(&what) {
            doubts.push(what);
        }
    }

    /// The checks whose steps failed beside others, and worked alone.
    pub fn doubts(&self) -> Vec<String> {
        self.doubts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes down a volume that was created, so that a killed run can tell of it.
    pub(super) fn write_down_volume(&self, id: &str, name: &str) {
        let Some(journal) = &self.journal else { return };
        if let Err(error) = journal.write(&self.volume_entry(id, name)) {
            tracing::warn!(%error, "a volume is not in the journal");
        }
    }

    /// Strikes out a volume that was deleted.
    pub(super) fn strike_out_volume(&self, id: &str, name: &str) {
        if let Some(journal) = &self.journal
            && let Err(error) = journal.gone(&self.volume_entry(id, name))
        {
            tracing::warn!(%error, "a volume stays in the journal");
        }
    }

    fn volume_entry(&self, id: &str, name: &str) -> Entry {
        let endpoint = self.client.endpoint("Controller").map(ToString::to_string);
        Entry::Volume {
            endpoint: endpoint.unwrap_or_default(),
            id: Some(id.to_owned()),
            name: name.to_owned(),
        }
    }

    /// Remembers what stayed or came late, for the judgement of the run.
    pub fn remember_left(&self, what: String) {
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    /// Looks for mounts that came and went without being asked for, before anything is
    /// taken away by force; they are for the judgement of the run.
    pub async fn settle_accounts(&self) {
        let strays = self.find_strays().await;
        *self.strays.lock().unwrap_or_else(PoisonError::into_inner) = strays;
    }

    /// Mounts that came and went at our places, and no call accounts for them.
    pub fn strays(&self) -> Vec<Stray> {
        self.strays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers what a marker was written to.
    pub(super) fn marks(&self, marker: &Marker, volume: String, check: &str) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.insert(marker.file(), (volume, check.to_owned()));
    }

    /// Whose marker has this file, in words.
    pub(super) fn marked(&self, file: &str) -> Option<String> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let (volume, check) = marks.get(file)?;
        Some(format!(
            "the marker of volume {volume}, of {check}, is there"
        ))
    }

    /// What stayed at the end of the run, or came late, in words.
    pub fn left(&self) -> Vec<String> {
        self.left
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a clean volume of this kind from the pool.
    pub(super) fn lease(&self, want: &Want, kind: &Kind) -> Option<VolumeClaim> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = pool
            .iter()
            .position(|v| v.want == *want && v.kind == *kind)?;
        Some(pool.swap_remove(place))
    }

    /// Gives a clean volume back.
    pub(super) fn give_back(&self, volume: VolumeClaim) {
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(volume);
    }

    /// Empties the pool: what is in it is to be deleted.
    pub fn drain_pool(&self) -> Vec<VolumeClaim> {
        std::mem::take(&mut *self.pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a static volume that fits, and is free.
    pub(super) fn take_static(&self, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let mut free = self.statics.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.iter().position(|index| fits(*index))?;
        Some(free.remove(place))
    }

    /// Gives a static volume back.
    pub(super) fn give_static(&self, index: usize) {
        self.statics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(index);
    }
}
