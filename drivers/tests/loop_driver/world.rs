//! One driver, and a caller that talks to it as a kubelet does.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use csi_drivers::defect::Defects;
use csi_drivers::looper::{self, Options};
use csi_proto::v1 as csi;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::volume_capability::access_mode::Mode;
use csi_proto::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use hyper_util::rt::TokioIo;
use libtest_mimic::Failed;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::scratch;

const SERVE: &str = "LOOP_DRIVER_TEST_SERVE";
const DEFECTS: &str = "LOOP_DRIVER_TEST_DEFECTS";
pub(crate) const MIB: i64 = 1 << 20;
pub(crate) const NODE: &str = "here";

/// What the child does instead of testing: it is the driver.
pub(crate) fn serve_if_told() -> Option<ExitCode> {
    let folder = PathBuf::from(env::var_os(SERVE)?);
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let defects: Defects = env::var(DEFECTS)?.parse()?;
        looper::prepare(&defects)?;
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let socket = folder.join("csi.sock").try_into()?;
        let options = Options {
            defects,
            node_id: Some(NODE.to_owned()),
            ..Options::new(socket, folder.join("state"))
        };
        Runtime::new()?.block_on(looper::serve(options))?;
        Ok(())
    };
    Some(match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// A driver and its caller.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    defects: String,
    child: Option<Child>,
    runtime: Runtime,
}

/// A volume that was created and published to the node.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) id: String,
    pub(crate) capability: csi::VolumeCapability,
    pub(crate) context: HashMap<String, String>,
    pub(crate) attachment: HashMap<String, String>,
}

/// Asks, and waits for the answer.
macro_rules! ask {
    ($world:expr, $client:ident . $rpc:ident, $request:expr) => {{
        let request = $request;
        let channel = $world.channel();
        $world.runtime.block_on(async move {
            let mut client = $client::new(channel?);
            client.$rpc(request).await.map(tonic::Response::into_inner)
        })
    }};
}

impl World {
    /// Runs a test with a driver, and sees to it that nothing of it stays.
    pub(crate) fn run(
        folder: &Path,
        defects: &str,
        test: fn(&mut Self) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        fs::create_dir_all(folder)?;
        let mut world = Self {
            folder: folder.to_owned(),
            defects: defects.to_owned(),
            child: None,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
        };
        let ran = world.start().and_then(|()| test(&mut world));
        world.kill();
        let left = scratch::clean(folder);
        ran.map_err(|failed| {
            Failed::from(format!(
                "{}\n{}",
                failed.message().unwrap_or(""),
                world.log()
            ))
        })?;
        if defects.is_empty() && !left.is_empty() {
            return Err(format!("left behind: {left:?}\n{}", world.log()).into());
        }
        Ok(())
    }

    /// Starts the driver and waits until it is ready.
    pub(crate) fn start(&mut self) -> Result<(), Failed> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))?;
        let child = Command::new(env::current_exe()?)
            .env(SERVE, &self.folder)
            .env(DEFECTS, &self.defects)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match ask!(self, IdentityClient.probe, csi::ProbeRequest {}) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until || self.is_dead() => {
                    return Err(format!("the driver does not serve: {error}").into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    pub(crate) fn is_dead(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(Some(_))),
            None => true,
        }
    }

    /// Waits for the driver to be dead.
    pub(crate) fn ends(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.is_dead() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.is_dead()
    }

    /// How many children of the driver are dead and not waited for.
    pub(crate) fn zombies(&self) -> usize {
        let Some(driver) = self.child.as_ref().map(Child::id) else {
            return 0;
        };
        let stats = fs::read_dir("/proc").into_iter().flatten().flatten();
        stats
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .filter(|stat| {
                let after = stat.rsplit(") ").next().unwrap_or_default();
                after.starts_with(&format!("Z {driver} "))
            })
            .count()
    }

    /// Waits until the driver has logged this.
    pub(crate) fn logs(&self, what: &str) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(what) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.log().contains(what)
    }

    /// Ends the driver as the kernel's out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the driver to end, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Result<Option<i32>, Failed> {
        let mut child = self.child.take().ok_or("no driver is running")?;
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        Ok(child.wait()?.code())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn channel(&self) -> Result<Channel, Status> {
        let socket = self.folder.join("csi.sock");
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let _inside = self.runtime.enter();
        Ok(Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A staging folder, which is the caller's to make.
    pub(crate) fn staging(&self, name: &str) -> Result<PathBuf, Failed> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    pub(crate) fn create(&self, request: csi::CreateVolumeRequest) -> Result<csi::Volume, Status> {
        let answer = ask!(self, ControllerClient.create_volume, request)?;
        answer
            .volume
            .ok_or_else(|| Status::internal("no volume in the answer"))
    }

    pub(crate) fn delete(&self, id: &str) -> Result<(), Status> {
        let request = csi::DeleteVolumeRequest {
            volume_id: id.to_owned(),
            ..Default::default()
        };
        ask!(self, ControllerClient.delete_volume, request).map(drop)
    }

    pub(crate) fn attach(
        &self,
        request: csi::ControllerPublishVolumeRequest,
    ) -> Result<HashMap<String, String>, Status> {
        let answer = ask!(self, ControllerClient.controller_publish_volume, request)?;
        Ok(answer.publish_context)
    }

    pub(crate) fn detach(&self, id: &str, node: &str) -> Result<(), Status> {
        let request = csi::ControllerUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            node_id: node.to_owned(),
            ..Default::default()
        };
        ask!(self, ControllerClient.controller_unpublish_volume, request).map(drop)
    }

    pub(crate) fn list(&self, max: i32, token: &str) -> Result<csi::ListVolumesResponse, Status> {
        let request = csi::ListVolumesRequest {
            max_entries: max,
            starting_token: token.to_owned(),
        };
        ask!(self, ControllerClient.list_volumes, request)
    }

    pub(crate) fn validate(
        &self,
        volume: &Volume,
        capability: csi::VolumeCapability,
    ) -> Result<bool, Status> {
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: volume.id.clone(),
            volume_capabilities: vec![capability],
            ..Default::default()
        };
        let answer = ask!(self, ControllerClient.validate_volume_capabilities, request)?;
        Ok(answer.confirmed.is_some())
    }

    pub(crate) fn capacity(&self) -> Result<csi::GetCapacityResponse, Status> {
        ask!(
            self,
            ControllerClient.get_capacity,
            csi::GetCapacityRequest::default()
        )
    }

    pub(crate) fn grow(&self, volume: &Volume, bytes: i64) -> Result<i64, Status> {
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: volume.id.clone(),
            capacity_range: Some(csi::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            ..Default::default()
        };
        let answer = ask!(self, ControllerClient.controller_expand_volume, request)?;
        Ok(answer.capacity_bytes)
    }

    /// Creates a volume and publishes it to the node.
    pub(crate) fn volume(
        &self,
        name: &str,
        capability: csi::VolumeCapability,
        bytes: i64,
    ) -> Result<Volume, Status> {
        let made = self.create(create_request(name, &capability, bytes))?;
        let attachment = self.attach(attach_request(&made.volume_id, &capability))?;
        Ok(Volume {
            id: made.volume_id,
            capability,
            context: made.volume_context,
            attachment,
        })
    }

    pub(crate) fn stage_request(
        &self,
        volume: &Volume,
        staging: &Path,
    ) -> csi::NodeStageVolumeRequest {
        csi::NodeStageVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.attachment.clone(),
            staging_target_path: staging.display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            secrets: HashMap::from([("token".to_owned(), "canary-of-a-secret".to_owned())]),
            volume_context: volume.context.clone(),
        }
    }

    pub(crate) fn stage(&self, volume: &Volume, staging: &Path) -> Result<(), Status> {
        self.stage_with(self.stage_request(volume, staging))
    }

    pub(crate) fn stage_with(&self, request: csi::NodeStageVolumeRequest) -> Result<(), Status> {
        ask!(self, NodeClient.node_stage_volume, request).map(drop)
    }

    /// Two stages at once: what each was answered.
    pub(crate) fn stage_twice(&self, volume: &Volume, staging: &Path) -> [Result<(), Status>; 2] {
        let one = self.stage_request(volume, staging);
        let other = one.clone();
        let channel = self.channel();
        self.runtime.block_on(async move {
            let stage = async |request| -> Result<(), Status> {
                let mut client = NodeClient::new(channel.clone()?);
                client.node_stage_volume(request).await.map(drop)
            };
            let (one, other) = tokio::join!(stage(one), stage(other));
            [one, other]
        })
    }

    pub(crate) fn unstage(&self, id: &str, staging: &Path) -> Result<(), Status> {
        let request = csi::NodeUnstageVolumeRequest {
            volume_id: id.to_owned(),
            staging_target_path: staging.display().to_string(),
        };
        ask!(self, NodeClient.node_unstage_volume, request).map(drop)
    }

    pub(crate) fn publish_request(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
        readonly: bool,
    ) -> csi::NodePublishVolumeRequest {
        csi::NodePublishVolumeRequest {
            volume_id: volume.id.clone(),
            publish_context: volume.attachment.clone(),
            staging_target_path: staging.display().to_string(),
            target_path: target.display().to_string(),
            volume_capability: Some(volume.capability.clone()),
            readonly,
            secrets: HashMap::from([("token".to_owned(), "canary-of-a-secret".to_owned())]),
            volume_context: volume.context.clone(),
        }
    }

    pub(crate) fn publish(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
        readonly: bool,
    ) -> Result<(), Status> {
        self.publish_with(self.publish_request(volume, staging, target, readonly))
    }

    pub(crate) fn publish_with(
        &self,
        request: csi::NodePublishVolumeRequest,
    ) -> Result<(), Status> {
        ask!(self, NodeClient.node_publish_volume, request).map(drop)
    }

    /// A stage that nobody waits for.
    pub(crate) fn stage_in_background(
        &self,
        volume: &Volume,
        staging: &Path,
    ) -> tokio::task::JoinHandle<Result<(), Status>> {
        let request = self.stage_request(volume, staging);
        let channel = self.channel();
        self.runtime.spawn(async move {
            let mut client = NodeClient::new(channel?);
            client.node_stage_volume(request).await.map(drop)
        })
    }

    /// A publish that nobody waits for.
    pub(crate) fn publish_in_background(
        &self,
        volume: &Volume,
        staging: &Path,
        target: &Path,
    ) -> tokio::task::JoinHandle<Result<(), Status>> {
        let request = self.publish_request(volume, staging, target, false);
        let channel = self.channel();
        self.runtime.spawn(async move {
            let mut client = NodeClient::new(channel?);
            client.node_publish_volume(request).await.map(drop)
        })
    }

    pub(crate) fn unpublish(&self, id: &str, target: &Path) -> Result<(), Status> {
        let request = csi::NodeUnpublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.display().to_string(),
        };
        ask!(self, NodeClient.node_unpublish_volume, request).map(drop)
    }

    pub(crate) fn stats(
        &self,
        id: &str,
        path: &Path,
    ) -> Result<csi::NodeGetVolumeStatsResponse, Status> {
        let request = csi::NodeGetVolumeStatsRequest {
            volume_id: id.to_owned(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        ask!(self, NodeClient.node_get_volume_stats, request)
    }

    pub(crate) fn node_grow(&self, volume: &Volume, path: &Path) -> Result<i64, Status> {
        let request = csi::NodeExpandVolumeRequest {
            volume_id: volume.id.clone(),
            volume_path: path.display().to_string(),
            ..Default::default()
        };
        ask!(self, NodeClient.node_expand_volume, request).map(|answer| answer.capacity_bytes)
    }

    pub(crate) fn node_info(&self) -> Result<csi::NodeGetInfoResponse, Status> {
        ask!(self, NodeClient.node_get_info, csi::NodeGetInfoRequest {})
    }

    pub(crate) fn snapshot(&self) -> Result<(), Status> {
        let request = csi::CreateSnapshotRequest::default();
        ask!(self, ControllerClient.create_snapshot, request).map(drop)
    }
}

pub(crate) fn create_request(
    name: &str,
    capability: &csi::VolumeCapability,
    bytes: i64,
) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(csi::CapacityRange {
            required_bytes: bytes,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![capability.clone()],
        ..Default::default()
    }
}

pub(crate) fn attach_request(
    id: &str,
    capability: &csi::VolumeCapability,
) -> csi::ControllerPublishVolumeRequest {
    csi::ControllerPublishVolumeRequest {
        volume_id: id.to_owned(),
        node_id: NODE.to_owned(),
        volume_capability: Some(capability.clone()),
        ..Default::default()
    }
}

pub(crate) fn mounted(fs_type: &str, flags: &[&str]) -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Mode::SingleNodeWriter),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            volume_mount_group: String::new(),
        })),
    }
}

pub(crate) fn block() -> csi::VolumeCapability {
    csi::VolumeCapability {
        access_mode: mode(Mode::SingleNodeWriter),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

pub(crate) fn mode(mode: Mode) -> Option<AccessMode> {
    Some(AccessMode { mode: mode.into() })
}

/// Says what was expected where it is not so.
pub(crate) fn expect(holds: bool, what: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what.into()) }
}

/// A call must be refused with this code.
pub(crate) fn refused<T: std::fmt::Debug>(
    answer: Result<T, Status>,
    code: Code,
    what: &str,
) -> Result<(), Failed> {
    match answer {
        Err(status) if status.code() == code => {
            expect(!status.message().is_empty(), "a refusal says why")
        }
        other => Err(format!("{what}: {code:?} was expected, and it was {other:?}").into()),
    }
}
