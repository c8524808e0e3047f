//! The Node service.

use std::path::Path;
use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::node_server;
use csi_proto::v1::node_service_capability::rpc::Type as Rpc;
use csi_proto::v1::node_service_capability::{self, Type};
use csi_proto::v1::volume_capability::access_mode::Mode;
use nix::mount::MsFlags;
use tonic::{Request, Response, Status, async_trait};

use super::driver::{Driver, Target, Volume, check, internal, occupied};
use crate::common::args;
use crate::common::capability::Capability;
use crate::sys::mount::MountOptions;
use crate::sys::{file, fuse, mount, mountinfo};

/// The Node service of the FUSE driver.
pub(super) struct Node(pub(super) Arc<Driver>);

#[async_trait]
impl node_server::Node for Node {
    async fn node_stage_volume(
        &self,
        request: Request<csi::NodeStageVolumeRequest>,
    ) -> Result<Response<csi::NodeStageVolumeResponse>, Status> {
        self.0
            .call("NodeStageVolume", request, |q| Some(&q.volume_id), stage)
            .await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<csi::NodeUnstageVolumeRequest>,
    ) -> Result<Response<csi::NodeUnstageVolumeResponse>, Status> {
        let rpc = "NodeUnstageVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), unstage)
            .await
    }

    async fn node_publish_volume(
        &self,
        request: Request<csi::NodePublishVolumeRequest>,
    ) -> Result<Response<csi::NodePublishVolumeResponse>, Status> {
        let rpc = "NodePublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), publish)
            .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<csi::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<csi::NodeUnpublishVolumeResponse>, Status> {
        let rpc = "NodeUnpublishVolume";
        self.0
            .call(rpc, request, |q| Some(&q.volume_id), unpublish)
            .await
    }

    async fn node_get_capabilities(
        &self,
        request: Request<csi::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<csi::NodeGetCapabilitiesResponse>, Status> {
        self.0
            .call("NodeGetCapabilities", request, |_| None, capabilities)
            .await
    }

    async fn node_get_info(
        &self,
        request: Request<csi::NodeGetInfoRequest>,
    ) -> Result<Response<csi::NodeGetInfoResponse>, Status> {
        self.0.call("NodeGetInfo", request, |_| None, info).await
    }

    async fn node_get_volume_stats(
        &self,
        _: Request<csi::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<csi::NodeGetVolumeStatsResponse>, Status> {
        self.0.unimplemented("NodeGetVolumeStats")
    }

    async fn node_expand_volume(
        &self,
        _: Request<csi::NodeExpandVolumeRequest>,
    ) -> Result<Response<csi::NodeExpandVolumeResponse>, Status> {
        self.0.unimplemented("NodeExpandVolume")
    }

    async fn node_get_volume_health(
        &self,
        _: Request<csi::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<csi::NodeGetVolumeHealthResponse>, Status> {
        self.0.unimplemented("NodeGetVolumeHealth")
    }

    async fn node_get_storage_health(
        &self,
        _: Request<csi::NodeGetStorageHealthRequest>,
    ) -> Result<Response<csi::NodeGetStorageHealthResponse>, Status> {
        self.0.unimplemented("NodeGetStorageHealth")
    }
}

fn capabilities(
    _: &Driver,
    _: &csi::NodeGetCapabilitiesRequest,
) -> Result<csi::NodeGetCapabilitiesResponse, Status> {
    let offered = [Rpc::StageUnstageVolume, Rpc::SingleNodeMultiWriter];
    let capabilities = offered.map(|rpc| csi::NodeServiceCapability {
        r#type: Some(Type::Rpc(node_service_capability::Rpc {
            r#type: rpc.into(),
        })),
    });
    Ok(csi::NodeGetCapabilitiesResponse {
        capabilities: capabilities.into(),
    })
}

fn info(driver: &Driver, _: &csi::NodeGetInfoRequest) -> Result<csi::NodeGetInfoResponse, Status> {
    Ok(csi::NodeGetInfoResponse {
        node_id: driver.node_id.clone(),
        ..Default::default()
    })
}

/// What is on top at a path.
enum Top {
    /// Nothing is mounted there.
    Nothing,
    /// This volume, and somebody answers for it.
    Alive,
    /// This volume, and nobody answers for it any more.
    Dead,
    /// Something else.
    Foreign,
}

/// Looks what is mounted at a path: our mounts have the volume's id for a source,
/// and so have those that are bound from them.
fn top(id: &str, path: &Path) -> Result<Top, Status> {
    Ok(match mountinfo::top(path).map_err(internal)? {
        None => Top::Nothing,
        Some(mount) if mount.fs_type != fuse::FS_TYPE || mount.source != Path::new(id) => {
            Top::Foreign
        }
        Some(_) if fuse::is_dead(path) => Top::Dead,
        Some(_) => Top::Alive,
    })
}

/// Whether the volume is mounted at a path.
pub(super) fn is_at(id: &str, path: &Path) -> Result<bool, Status> {
    Ok(matches!(top(id, path)?, Top::Alive | Top::Dead))
}

/// Takes away every mount of this volume at a path.
fn unmount_all(id: &str, path: &Path) -> Result<(), Status> {
    loop {
        match top(id, path)? {
            Top::Nothing => return Ok(()),
            Top::Alive | Top::Dead => mount::unmount(path).map_err(internal)?,
            Top::Foreign => return Err(occupied(path)),
        }
    }
}

/// The mount flags of a capability, as far as they are of one mount: a folder has
/// no others.
fn flags(capability: &Capability) -> Result<MsFlags, Status> {
    let options = MountOptions::parse(capability.mount_flags());
    if !options.data.is_empty() || !options.superblock.is_empty() {
        let message = "there are mount_flags that mean nothing to this driver";
        return Err(Status::invalid_argument(message));
    }
    Ok(options.mount)
}

/// The arguments that a stage and a publish have in common.
fn admitted(
    driver: &Driver,
    id: &str,
    capability: Option<&csi::VolumeCapability>,
) -> Result<(Capability, Volume), Status> {
    let capability = Capability::parse(capability)?;
    let volume = driver.volume(id)?;
    check(&capability).map_err(Status::failed_precondition)?;
    Ok((capability, volume))
}

/// Mounts a volume at its staging path, by a process of its own. A mount whose
/// process has gone is made anew.
fn stage(
    driver: &Driver,
    request: &csi::NodeStageVolumeRequest,
) -> Result<csi::NodeStageVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("staging_target_path", &request.staging_target_path)?;
    let (capability, volume) = admitted(driver, id, request.volume_capability.as_ref())?;
    let flags = flags(&capability)?;
    match top(id, &path)? {
        Top::Nothing => {}
        Top::Foreign => return Err(occupied(&path)),
        Top::Dead => unmount_all(id, &path)?,
        Top::Alive => {
            let same = |staged: &Capability| {
                staged.is_same_use(&capability) && staged.mount_flags() == capability.mount_flags()
            };
            if volume.stages.get(&path).is_none_or(same) {
                return Ok(csi::NodeStageVolumeResponse {});
            }
            let message = "the volume is staged at staging_target_path in another way";
            return Err(Status::already_exists(message));
        }
    }
    if !file::is_dir(&path) {
        let message = "staging_target_path must be a folder, which the caller makes";
        return Err(Status::failed_precondition(message));
    }
    let record = path.clone();
    driver.update(id, |volume| drop(volume.stages.insert(record, capability)))?;
    let staged = start(driver, id, &path).and_then(|()| set_flags(&path, flags));
    if let Err(error) = staged {
        // What cannot be taken back keeps its record, and NodeUnstageVolume its work.
        if unmount_all(id, &path).is_ok() {
            driver.update(id, |volume| drop(volume.stages.remove(&path)))?;
        }
        return Err(error);
    }
    Ok(csi::NodeStageVolumeResponse {})
}

/// Mounts the folder of a volume.
fn start(driver: &Driver, id: &str, path: &Path) -> Result<(), Status> {
    let connection = fuse::mount_connection(id, path).map_err(internal)?;
    let apart = driver.daemons_are_apart();
    fuse::start_daemon(&driver.daemon, &driver.folder(id), connection, apart).map_err(internal)?;
    match fuse::is_dead(path) {
        false => Ok(()),
        true => Err(Status::internal("the process of the mount did not start")),
    }
}

fn set_flags(path: &Path, flags: MsFlags) -> Result<(), Status> {
    match flags.is_empty() {
        true => Ok(()),
        false => mount::set_flags(path, flags).map_err(internal),
    }
}

/// Undoes a stage; the folder stays, since the caller made it.
fn unstage(
    driver: &Driver,
    request: &csi::NodeUnstageVolumeRequest,
) -> Result<csi::NodeUnstageVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("staging_target_path", &request.staging_target_path)?;
    let Some(volume) = driver.volumes.records().remove(id) else {
        return unknown(id, &path).map(|()| csi::NodeUnstageVolumeResponse {});
    };
    let recorded = volume.stages.contains_key(&path);
    if !recorded && !is_at(id, &path)? {
        return Ok(csi::NodeUnstageVolumeResponse {});
    }
    for target in volume.targets.keys().filter(|_| volume.stages.len() == 1) {
        if is_at(id, target)? {
            let message = format!("the volume is still published at {}", target.display());
            return Err(Status::failed_precondition(message));
        }
    }
    unmount_all(id, &path)?;
    driver.update(id, |volume| drop(volume.stages.remove(&path)))?;
    Ok(csi::NodeUnstageVolumeResponse {})
}

/// A volume that is not known has nothing to undo, unless something is mounted
/// where it is said to be: whose that is, nobody can tell.
fn unknown(id: &str, path: &Path) -> Result<(), Status> {
    match top(id, path)? {
        Top::Nothing => Ok(()),
        _ => Err(Status::not_found("there is no volume of this volume_id")),
    }
}

/// Binds the staged volume to one target; a repeat leaves it as it is.
fn publish(
    driver: &Driver,
    request: &csi::NodePublishVolumeRequest,
) -> Result<csi::NodePublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("target_path", &request.target_path)?;
    let (capability, volume) = admitted(driver, id, request.volume_capability.as_ref())?;
    if request.staging_target_path.is_empty() {
        let message = "staging_target_path is not set";
        return Err(Status::failed_precondition(message));
    }
    let staging = args::path("staging_target_path", &request.staging_target_path)?;
    let staged = volume.stages.get(&staging);
    let (Some(staged), Top::Alive) = (staged, top(id, &staging)?) else {
        let message = "the volume is not staged at staging_target_path, or its mount is dead";
        return Err(Status::failed_precondition(message));
    };
    if !staged.is_same_use(&capability) {
        let message = "the volume is staged with another volume_capability";
        return Err(Status::failed_precondition(message));
    }
    let mut flags = flags(staged)? | flags(&capability)?;
    if request.readonly || capability.is_reader_only() {
        flags |= MsFlags::MS_RDONLY;
    }
    let wanted = Target {
        capability,
        readonly: request.readonly,
    };
    match top(id, &path)? {
        Top::Nothing => {}
        Top::Foreign => return Err(occupied(&path)),
        Top::Dead => unmount_all(id, &path)?,
        Top::Alive => {
            if !volume
                .targets
                .get(&path)
                .is_none_or(|target| target.is_same(&wanted))
            {
                let message = "the volume is published at target_path in another way";
                return Err(Status::already_exists(message));
            }
            // A crash may have come between the mount and its flags.
            return set_flags(&path, flags).map(|()| csi::NodePublishVolumeResponse {});
        }
    }
    may_have_another(id, &volume, &wanted, &path)?;
    let record = path.clone();
    driver.update(id, |volume| drop(volume.targets.insert(record, wanted)))?;
    let published = bind(&staging, &path, flags);
    if let Err(error) = published {
        if take_down(driver, id, &path).is_err() {
            // The record stays, and so does the way to clean up.
            tracing::warn!("could not take back a publish that failed");
        }
        return Err(error);
    }
    Ok(csi::NodePublishVolumeResponse {})
}

fn bind(staging: &Path, target: &Path, flags: MsFlags) -> Result<(), Status> {
    file::make_dir(target, 0o750).map_err(internal)?;
    mount::bind(staging, target, MsFlags::empty()).map_err(internal)?;
    set_flags(target, flags)
}

impl Target {
    /// Whether two publications are compatible, so that a repeat has nothing to do.
    fn is_same(&self, other: &Self) -> bool {
        self.readonly == other.readonly
            && self.capability.is_same_use(&other.capability)
            && self.capability.mount_flags() == other.capability.mount_flags()
    }
}

/// Whether the access mode lets the volume have one more target. SINGLE_NODE_WRITER
/// does: Kubernetes has SINGLE_NODE_SINGLE_WRITER for the strict sense.
fn may_have_another(id: &str, volume: &Volume, wanted: &Target, path: &Path) -> Result<(), Status> {
    if !matches!(
        wanted.capability.mode(),
        Mode::SingleNodeSingleWriter | Mode::SingleNodeReaderOnly
    ) {
        return Ok(());
    }
    for other in volume.targets.keys().filter(|other| *other != path) {
        if is_at(id, other)? {
            return Err(Status::failed_precondition(format!(
                "the access mode allows one target, and the volume is published at {}",
                other.display()
            )));
        }
    }
    Ok(())
}

/// Undoes a publish, mount point and all. Where there is nothing to undo, it is undone.
fn unpublish(
    driver: &Driver,
    request: &csi::NodeUnpublishVolumeRequest,
) -> Result<csi::NodeUnpublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let path = args::path("target_path", &request.target_path)?;
    let done = match driver.volumes.records().get(id) {
        None => unknown(id, &path),
        Some(volume) if volume.targets.contains_key(&path) => take_down(driver, id, &path),
        Some(_) => match top(id, &path)? {
            // The record may be lost; the mount is not.
            Top::Alive | Top::Dead => take_down(driver, id, &path),
            Top::Foreign => Ok(()),
            Top::Nothing => {
                // What a caller or a lost record left there goes if it is empty.
                let _ = file::remove_mount_point(&path);
                Ok(())
            }
        },
    };
    done.map(|()| csi::NodeUnpublishVolumeResponse {})
}

fn take_down(driver: &Driver, id: &str, path: &Path) -> Result<(), Status> {
    unmount_all(id, path)?;
    file::remove_mount_point(path).map_err(internal)?;
    driver.update(id, |volume| drop(volume.targets.remove(path)))
}
