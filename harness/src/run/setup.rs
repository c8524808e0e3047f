//! From what the user said to a driver that answers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use csi_proto::rpc::{self, Rpc};
use csi_proto::v1;

use super::tools;
use crate::check::{Facts, Patience, Servers, Session, Watches};
use crate::client::{Answer, Client, Deadlines, History};
use crate::config::{Config, Endpoint, expand};
use crate::lab::{
    DriverCommand, DriverProcess, Entry, Form, Layout, PathMap, Roots, RunFolder, Tools,
    nfs_missing,
};
use crate::node::host::State;
use crate::node::{self, Execs, Host, MountTable, ProcessId};

/// How a run is set up, beside the configuration.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The scratch file system, where our own driver runs; a foreign one has
    /// none.
    pub scratch: Option<PathBuf>,
    /// The driver is one of ours: everything may be asked of it.
    pub our_own_driver: bool,
    /// Set while the run goes on, it lets the cases under way end, and starts no
    /// others.
    pub interrupted: Arc<AtomicBool>,
    /// Why mounts cannot be made and seen here; none: they can.
    pub cannot_mount: Option<String>,
}

/// The run cannot begin: one line that says what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Nothing says where the driver listens.
    #[error("no endpoint: give --endpoint, CSI_ENDPOINT, or driver.command in the configuration")]
    NoEndpoint,
    /// The driver could not be started.
    #[error("start the driver: {0}")]
    Start(String),
    /// It does not answer.
    #[error("no CSI driver answers at {0}")]
    NoDriver(String),
    /// It does not answer, and we had started it.
    #[error("the driver that was started does not answer: {why}{output}")]
    NotReady {
        /// What was seen.
        why: String,
        /// How it ended, and the last lines that it wrote.
        output: String,
    },
    /// The run's own folders cannot be made.
    #[error("make the run's folders: {0}")]
    Folders(String),
}

/// Starts the driver if it is ours to start, waits until it is ready, and
/// learns what it offers.
///
/// # Errors
/// See [`SetupError`].
pub async fn connect(
    config: Arc<Config>,
    setup: &Setup,
    folder: &RunFolder,
) -> Result<Session, SetupError> {
    if let Some(scratch) = &setup.scratch {
        // Before the driver makes its first device on it.
        let wrong = |error: &dyn std::fmt::Display| SetupError::Folders(error.to_string());
        let entry = Entry::scratch_at(scratch).map_err(|e| wrong(&e))?;
        folder.journal().write(&entry).map_err(|e| wrong(&e))?;
    }
    let (servers, no_nfs_lab) = nfs_lab(&config, setup, folder).await;
    let tools = tools::lay(&config, setup.our_own_driver, folder)?;
    let mut driver = start(&config, setup, folder, tools.as_ref())?;
    let ours = driver.as_ref().map(|d| Endpoint::Unix(d.socket()));
    let controller = config.controller().cloned().or_else(|| ours.clone());
    let node = config.node().cloned().or(ours);
    let deadlines = Deadlines {
        default: config.deadline,
        by_rpc: config
            .deadlines
            .iter()
            .map(|(rpc, d)| (rpc.to_string(), *d))
            .collect(),
    };
    let client = Client::new(
        controller,
        node,
        deadlines,
        Arc::new(History::default()),
        config
            .secrets
            .values()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    );
    if client.endpoints().is_empty() {
        return Err(SetupError::NoEndpoint);
    }
    let ready = match driver {
        Some(_) => Session::wait_ready(&client, config.driver.ready_timeout, true).await,
        None => Session::wait_present(&client, config.driver.ready_timeout).await,
    };
    if let Err(why) = ready {
        let Some(mut driver) = driver.take() else {
            return Err(SetupError::NoDriver(why));
        };
        let output = last_words(&mut driver).await;
        return Err(SetupError::NotReady { why, output });
    }
    let mut facts = learn(&client, config.clone()).await;
    facts.can_mount = setup.cannot_mount.is_none();
    let host = Host::look();
    facts.has_cap_sys_resource = host.has("CAP_SYS_RESOURCE");
    facts.no_device_mapper = match host.feature("device-mapper").map(|found| &found.state) {
        Some(State::Have) => None,
        Some(State::Lack(why)) => Some(why.clone()),
        None => Some("it was not looked for".to_owned()),
    };
    facts.no_nfs_lab = no_nfs_lab;
    facts.allowed = config.allowed(setup.our_own_driver);
    let layout = layout(&config, setup, folder, &facts.name)?;
    let mut session = Session::new(
        folder.id().as_str().to_owned(),
        client,
        facts,
        layout,
        driver,
    );
    session.servers = servers;
    session.scratch.clone_from(&setup.scratch);
    session.tools = tools;
    session.interrupted = setup.interrupted.clone();
    session.journal = Some(folder.journal().clone());
    session.facts.no_driver_namespace = no_namespace(&session).await;
    session.facts.same_namespace = namespaces(&session)
        .await
        .is_some_and(|(theirs, ours)| theirs == ours);
    session.watches = watches(&session).await;
    session.execs = execs(&session).await;
    session.driver_folder = session
        .driver
        .as_ref()
        .map(|_| driver_folder(setup, folder));
    Ok(session)
}

/// The NFS servers that the configuration names, or why there are none.
async fn nfs_lab(
    config: &Config,
    setup: &Setup,
    folder: &RunFolder,
) -> (Option<Arc<Servers>>, Option<String>) {
    if !config.uses_nfs_lab() {
        return (None, None);
    }
    if let Some(why) = setup.cannot_mount.clone().or_else(nfs_missing) {
        return (None, Some(why));
    }
    let (place, journal) = (folder.path().to_owned(), folder.journal().clone());
    let starting = tokio::task::spawn_blocking(move || Servers::start(place, journal));
    let failed = |error: &dyn std::fmt::Display| {
        let why = format!(
            "{error}; `ci/vm/run csi-conformance …` runs it in a virtual machine with a kernel that has it"
        );
        (None, Some(why))
    };
    match starting.await {
        Ok(Ok(servers)) => (Some(Arc::new(servers)), None),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn start(
    config: &Config,
    setup: &Setup,
    folder: &RunFolder,
    tools: Option<&Tools>,
) -> Result<Option<DriverProcess>, SetupError> {
    if config.driver.command.is_empty() {
        return Ok(None);
    }
    let wrong = |e: &dyn std::fmt::Display| SetupError::Start(e.to_string());
    let state = driver_folder(setup, folder);
    std::fs::create_dir_all(&state)
        .map_err(|e| wrong(&format!("mkdir {}: {e}", state.display())))?;
    let socket_folder = folder.path().join("s");
    let socket = socket_folder.join("csi.sock").display().to_string();
    let endpoint = format!("unix://{socket}");
    let state = state.display().to_string();
    let values = [
        ("endpoint", endpoint.as_str()),
        ("socket", socket.as_str()),
        ("state_dir", state.as_str()),
    ];
    let fill = |word: &String| {
        expand(word, &values)
            .map(OsString::from)
            .map_err(|e| wrong(&e))
    };
    let command = config
        .driver
        .command
        .iter()
        .map(fill)
        .collect::<Result<Vec<_>, _>>()?;
    let mut environment = config
        .driver
        .env
        .expose()
        .iter()
        .map(|(name, value)| Ok((OsString::from(name), fill(value)?)))
        .collect::<Result<Vec<_>, SetupError>>()?;
    if let Some(tools) = tools {
        tools.put_before(&mut environment);
    }
    let command = DriverCommand {
        command,
        environment,
        socket_folder,
    };
    DriverProcess::start(command)
        .map(Some)
        .map_err(|e| wrong(&e))
}

/// The folder for the state of a driver that we start.
fn driver_folder(setup: &Setup, folder: &RunFolder) -> PathBuf {
    setup
        .scratch
        .as_deref()
        .unwrap_or(folder.path())
        .join("driver")
}

async fn last_words(driver: &mut DriverProcess) -> String {
    let ended = driver.wait_exit(Duration::from_millis(100)).await;
    driver.stop().await;
    let output = driver.output();
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    let lines: Vec<_> = said.lines().rev().take(5).collect();
    let mut told = ended.map(|how| format!(" ({how})")).unwrap_or_default();
    for line in lines.iter().rev() {
        told.push_str("\n  ");
        told.push_str(line);
    }
    told
}

async fn ask<R: Rpc>(client: &Client, limit: Duration, request: R::Request) -> Option<R::Response> {
    client.endpoint(R::SERVICE)?;
    let mut patience = Patience::new(limit);
    loop {
        match client.call::<R>("", &request).await.answer {
            Answer::Ok(response) => return Some(response),
            // Its back end may come up later than its Probe.
            Answer::Refused(refusal) if refusal.code.is_transient() && patience.wait().await => {}
            _ => return None,
        }
    }
}

/// What the driver says of itself. What it does not answer is the finding of
/// the check for that call.
async fn learn(client: &Client, config: Arc<Config>) -> Facts {
    let limit = config.driver.ready_timeout;
    use v1::controller_service_capability::Type as Controller;
    use v1::group_controller_service_capability::Type as Group;
    use v1::node_service_capability::Type as Node;
    use v1::plugin_capability::Type as Plugin;
    let mut facts = Facts {
        has_controller: client.endpoint("Controller").is_some(),
        has_node: client.endpoint("Node").is_some(),
        config,
        ..Facts::default()
    };
    if let Some(info) = ask::<rpc::GetPluginInfo>(client, limit, v1::GetPluginInfoRequest {}).await
    {
        (facts.name, facts.version) = (info.name, info.vendor_version);
    }
    if let Some(said) =
        ask::<rpc::GetPluginCapabilities>(client, limit, v1::GetPluginCapabilitiesRequest {}).await
    {
        for capability in said.capabilities {
            match capability.r#type {
                Some(Plugin::Service(service)) => {
                    facts.services.insert(service.r#type);
                }
                Some(Plugin::VolumeExpansion(expansion)) => {
                    facts.expansion.insert(expansion.r#type);
                }
                None => {}
            }
        }
    }
    let controller = v1::plugin_capability::service::Type::ControllerService;
    if facts.has_service(controller)
        && let Some(said) = ask::<rpc::ControllerGetCapabilities>(
            client,
            limit,
            v1::ControllerGetCapabilitiesRequest {},
        )
        .await
    {
        facts.controller = said
            .capabilities
            .into_iter()
            .filter_map(|c| c.r#type.map(|Controller::Rpc(rpc)| rpc.r#type))
            .collect();
    }
    let groups = v1::plugin_capability::service::Type::GroupControllerService;
    if facts.has_service(groups)
        && let Some(said) = ask::<rpc::GroupControllerGetCapabilities>(
            client,
            limit,
            v1::GroupControllerGetCapabilitiesRequest {},
        )
        .await
    {
        facts.groups = said
            .capabilities
            .into_iter()
            .filter_map(|c| c.r#type.map(|Group::Rpc(rpc)| rpc.r#type))
            .collect();
    }
    if let Some(said) =
        ask::<rpc::NodeGetCapabilities>(client, limit, v1::NodeGetCapabilitiesRequest {}).await
    {
        facts.node = said
            .capabilities
            .into_iter()
            .filter_map(|c| c.r#type.map(|Node::Rpc(rpc)| rpc.r#type))
            .collect();
    } else if !facts.has_service(controller) || facts.config.node_endpoint.is_none() {
        // One socket, and nobody of the node service on it: a controller alone.
        facts.has_node = ask::<rpc::NodeGetInfo>(client, limit, v1::NodeGetInfoRequest {})
            .await
            .is_some();
    }
    if facts.has_node {
        facts.node_info = ask::<rpc::NodeGetInfo>(client, limit, v1::NodeGetInfoRequest {}).await;
    }
    facts
}

fn layout(
    config: &Config,
    setup: &Setup,
    folder: &RunFolder,
    driver: &str,
) -> Result<Layout, SetupError> {
    let paths = &config.paths;
    let work = setup
        .scratch
        .as_deref()
        .unwrap_or(folder.path())
        .join("work");
    let kubelet = paths.kubelet_root.as_ref();
    let root = |own: &Option<PathBuf>| own.as_ref().or(kubelet).unwrap_or(&work).clone();
    let form = match kubelet {
        Some(_) if paths.staging_root.is_none() && paths.target_root.is_none() => Form::Kubelet {
            driver: driver.to_owned(),
            pod_uid: paths.pod_uid.clone(),
        },
        _ => Form::Plain,
    };
    let maps = paths
        .in_driver
        .iter()
        .map(|map| PathMap {
            ours: map.ours.clone(),
            drivers: map.drivers.clone(),
        })
        .collect();
    let roots = Roots {
        staging: root(&paths.staging_root),
        target: root(&paths.target_root),
        form,
        maps,
    };
    Layout::for_run(roots, folder.id().clone(), folder.journal().clone())
        .map_err(|e| SetupError::Folders(e.to_string()))
}

/// Why the driver's mount namespace cannot be read; none: it can.
async fn no_namespace(session: &Session) -> Option<String> {
    let Some(pid) = session.driver_pid().await else {
        return Some("its process is not known: set driver.pid or driver.pid_file".to_owned());
    };
    MountTable::of(pid)
        .err()
        .map(|error| format!("/proc/{pid}/mountinfo: {error}"))
}

/// The watch over mounts: without one, looks have to do.
async fn watches(session: &Session) -> Option<Watches> {
    if !session.facts.can_mount {
        return None;
    }
    let driver = match session.facts.same_namespace || session.facts.no_driver_namespace.is_some() {
        true => None,
        false => session.driver_pid().await,
    };
    let (ours, drivers) = session.layout.roots();
    Watches::start(
        &ours,
        driver.and_then(|pid| ProcessId::of(pid).ok()),
        &drivers,
    )
    .inspect_err(|error| tracing::warn!(%error, "mounts are not watched"))
    .ok()
}

/// The watch over what the driver starts, where its process is known.
async fn execs(session: &Session) -> Option<Execs> {
    let driver = ProcessId::of(session.driver_pid().await?).ok()?;
    Execs::watch(driver)
        .inspect_err(|error| tracing::info!(%error, "what the driver starts is not watched"))
        .ok()
}

/// In words, for the scope of the report.
pub(super) async fn namespace_in_words(session: &Session) -> String {
    if let Some(why) = &session.facts.no_driver_namespace {
        return format!("not read: {why}");
    }
    let Some(pid) = session.driver_pid().await else {
        return "not read".to_owned();
    };
    match session.facts.same_namespace {
        true => format!("read, of process {pid}: the same as ours"),
        false => format!("read, of process {pid}: one of its own"),
    }
}

/// The driver's mount namespace and ours.
async fn namespaces(session: &Session) -> Option<((u64, u64), (u64, u64))> {
    let driver = ProcessId::of(session.driver_pid().await?).ok()?;
    Some((
        driver.mount_namespace().ok()?,
        node::process::our_mount_namespace().ok()?,
    ))
}
