//! A small honest driver: a volume is a folder, published by a bind mount.
//! It stages nothing and gives its volumes no size.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use csi_harness::lab::remove_tree;
use csi_harness::node::MountTable;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability as controller;
use csi_proto::v1::plugin_capability as plugin;
use csi_proto::v1::volume_capability::AccessType;
use nix::mount::{MsFlags, mount, umount};
use prost::Message;

use super::server::{Answer, Call, Driver};

pub(crate) const INVALID_ARGUMENT: u32 = 3;
const NOT_FOUND: u32 = 5;
const ALREADY_EXISTS: u32 = 6;
pub(crate) const UNIMPLEMENTED: u32 = 12;
pub(crate) const INTERNAL: u32 = 13;

/// What came of a call: a message, or a status and words.
type Done = Result<Vec<u8>, (u32, String)>;

/// The driver.
#[derive(Debug)]
pub(crate) struct Folders {
    /// Each folder in it is a volume.
    root: PathBuf,
    /// Whether it creates volumes.
    creates: bool,
    published: Mutex<BTreeMap<String, v1::NodePublishVolumeRequest>>,
}

impl Folders {
    /// A driver of the volumes that are there.
    pub(crate) fn of(root: &Path) -> Arc<Self> {
        Arc::new(Self::new(root, false))
    }

    /// A driver that creates its volumes.
    pub(crate) fn creating(root: &Path) -> Arc<Self> {
        Arc::new(Self::new(root, true))
    }

    fn new(root: &Path, creates: bool) -> Self {
        Self {
            root: root.to_owned(),
            creates,
            published: Mutex::default(),
        }
    }

    /// As it is.
    pub(crate) fn honest(self: &Arc<Self>) -> Driver {
        let folders = self.clone();
        Arc::new(move |call| folders.answer(call))
    }

    /// With some answers of another kind.
    pub(crate) fn but(
        self: &Arc<Self>,
        other: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static,
    ) -> Driver {
        let folders = self.clone();
        Arc::new(move |call| other(call).unwrap_or_else(|| folders.answer(call)))
    }

    /// The honest answer.
    pub(crate) fn answer(&self, call: &Call) -> Answer {
        match self.done(call) {
            Ok(message) => Answer::Ok(message),
            Err((code, words)) => Answer::Refuse(code, words),
        }
    }

    fn done(&self, call: &Call) -> Done {
        match call.method.as_str() {
            "GetPluginInfo" => ok(&v1::GetPluginInfoResponse {
                name: "folders.test".into(),
                vendor_version: "1".into(),
                ..Default::default()
            }),
            "GetPluginCapabilities" => ok(&v1::GetPluginCapabilitiesResponse {
                capabilities: self.creates.then(has_controller).into_iter().collect(),
            }),
            "Probe" => ok(&v1::ProbeResponse { ready: Some(true) }),
            "ControllerGetCapabilities" if self.creates => {
                ok(&v1::ControllerGetCapabilitiesResponse {
                    capabilities: vec![makes_volumes()],
                })
            }
            "CreateVolume" if self.creates => self.create(&read(call)?),
            "DeleteVolume" if self.creates => self.delete(&read(call)?),
            "NodeGetCapabilities" => ok(&v1::NodeGetCapabilitiesResponse::default()),
            "NodeGetInfo" => ok(&v1::NodeGetInfoResponse {
                node_id: "a-node".into(),
                ..Default::default()
            }),
            "NodePublishVolume" => self.publish(&read(call)?),
            "NodeUnpublishVolume" => self.unpublish(&read(call)?),
            method => Err((UNIMPLEMENTED, format!("{method} is not offered"))),
        }
    }

    fn folder(&self, volume_id: &str) -> Result<PathBuf, (u32, String)> {
        let given = required("volume_id", volume_id)?;
        if given.contains('/') || given.starts_with('.') {
            return Err((NOT_FOUND, format!("no volume {given:?}")));
        }
        Ok(self.root.join(given))
    }

    fn create(&self, request: &v1::CreateVolumeRequest) -> Done {
        let folder = self.folder(required("name", &request.name)?)?;
        if request.volume_capabilities.is_empty() {
            return Err((INVALID_ARGUMENT, "volume_capabilities are missing".into()));
        }
        std::fs::create_dir_all(&folder).map_err(internal("mkdir"))?;
        ok(&v1::CreateVolumeResponse {
            volume: Some(v1::Volume {
                volume_id: request.name.clone(),
                ..Default::default()
            }),
        })
    }

    fn delete(&self, request: &v1::DeleteVolumeRequest) -> Done {
        let folder = self.folder(&request.volume_id)?;
        // With all that a check left in it; a mount in there it would not cross.
        let parent = folder.parent().unwrap_or(&self.root);
        let name = folder.file_name().unwrap_or_default();
        remove_tree(parent, Path::new(name)).map_err(internal("remove"))?;
        ok(&v1::DeleteVolumeResponse {})
    }

    fn publish(&self, request: &v1::NodePublishVolumeRequest) -> Done {
        let folder = self.folder(&request.volume_id)?;
        let target = Path::new(required("target_path", &request.target_path)?);
        let capability = request.volume_capability.as_ref();
        let how = match capability.and_then(|capability| capability.access_type.as_ref()) {
            Some(AccessType::Mount(how)) => how,
            Some(AccessType::Block(_)) => {
                return Err((INVALID_ARGUMENT, "volumes are folders".into()));
            }
            None => return Err((INVALID_ARGUMENT, "volume_capability is missing".into())),
        };
        let flags = flags(&how.mount_flags, request.readonly)?;
        if !folder.is_dir() {
            return Err((NOT_FOUND, format!("no volume {:?}", request.volume_id)));
        }
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match published.get(&request.target_path) {
            Some(before) if before == request => {
                return ok(&v1::NodePublishVolumeResponse {});
            }
            Some(_) => return Err((ALREADY_EXISTS, "published otherwise".into())),
            None => {}
        }
        std::fs::create_dir_all(target).map_err(internal("mkdir"))?;
        let none = None::<&str>;
        let bind = MsFlags::MS_BIND;
        mount(Some(&folder), target, none, bind, none).map_err(internal("mount"))?;
        if !flags.is_empty() {
            let again = bind | MsFlags::MS_REMOUNT | flags;
            mount(none, target, none, again, none).map_err(internal("remount"))?;
        }
        published.insert(request.target_path.clone(), request.clone());
        ok(&v1::NodePublishVolumeResponse {})
    }

    fn unpublish(&self, request: &v1::NodeUnpublishVolumeRequest) -> Done {
        self.folder(&request.volume_id)?;
        let target = Path::new(required("target_path", &request.target_path)?);
        let there = MountTable::ours().map_err(internal("mountinfo"))?;
        let mounts = there.at(target).len();
        let mut published = self
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if mounts == 0 && !published.contains_key(&request.target_path) {
            return Err((NOT_FOUND, "it is not published there".into()));
        }
        for _ in 0..mounts {
            umount(target).map_err(internal("umount"))?;
        }
        std::fs::remove_dir(target).map_err(internal("rmdir"))?;
        published.remove(&request.target_path);
        ok(&v1::NodeUnpublishVolumeResponse {})
    }
}

/// A request as what it is.
pub(crate) fn read<M: Message + Default>(call: &Call) -> Result<M, (u32, String)> {
    M::decode(call.message.as_slice()).map_err(|error| (INTERNAL, error.to_string()))
}

fn ok(message: &impl Message) -> Done {
    Ok(message.encode_to_vec())
}

fn required<'a>(name: &str, value: &'a str) -> Result<&'a str, (u32, String)> {
    match value {
        "" => Err((INVALID_ARGUMENT, format!("{name} is missing"))),
        value => Ok(value),
    }
}

fn internal<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> (u32, String) {
    move |error| (INTERNAL, format!("{doing}: {error}"))
}

fn flags(words: &[String], readonly: bool) -> Result<MsFlags, (u32, String)> {
    let mut flags = MsFlags::empty();
    flags.set(MsFlags::MS_RDONLY, readonly);
    let unknown: BTreeSet<_> = words
        .iter()
        .filter(|word| {
            flags |= match word.as_str() {
                "ro" => MsFlags::MS_RDONLY,
                "noexec" => MsFlags::MS_NOEXEC,
                "nosuid" => MsFlags::MS_NOSUID,
                "nodev" => MsFlags::MS_NODEV,
                "noatime" => MsFlags::MS_NOATIME,
                _ => return true,
            };
            false
        })
        .collect();
    match unknown.is_empty() {
        true => Ok(flags),
        false => Err((INVALID_ARGUMENT, format!("unknown flags {unknown:?}"))),
    }
}

fn has_controller() -> v1::PluginCapability {
    service(plugin::service::Type::ControllerService as i32)
}

/// A capability of the plugin with this number.
pub(crate) fn service(number: i32) -> v1::PluginCapability {
    let service = plugin::Service { r#type: number };
    v1::PluginCapability {
        r#type: Some(plugin::Type::Service(service)),
    }
}

fn makes_volumes() -> v1::ControllerServiceCapability {
    let number = controller::rpc::Type::CreateDeleteVolume as i32;
    v1::ControllerServiceCapability {
        r#type: Some(controller::Type::Rpc(controller::Rpc { r#type: number })),
    }
}
