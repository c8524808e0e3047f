//! What is known before the first check: what the driver offers, what the host
//! can do, what the user allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::group_controller_service_capability::rpc::Type as GroupRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::plugin_capability::service::Type as Service;
use csi_proto::v1::volume_capability::access_mode::Mode;

use super::kind::Kind;
use super::outcome::{Lacking, Skip};
use super::step::Access;
use crate::config::{AccessType, Allow, Config, StaticVolume};

/// What a plan is made from.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `GetPluginInfo`.
    pub name: String,
    /// `GetPluginInfo`.
    pub version: String,
    /// Numbers of the plugin's services; unknown ones are kept.
    pub services: BTreeSet<i32>,
    /// Numbers of the plugin's ways to expand volumes.
    pub expansion: BTreeSet<i32>,
    /// Numbers of the controller's capabilities; unknown ones are kept.
    pub controller: BTreeSet<i32>,
    /// Numbers of the group controller's capabilities; unknown ones are kept.
    pub groups: BTreeSet<i32>,
    /// Numbers of the node's capabilities; unknown ones are kept.
    pub node: BTreeSet<i32>,
    /// `NodeGetInfo`, where it answered.
    pub node_info: Option<v1::NodeGetInfoResponse>,
    /// A node socket is configured.
    pub has_node: bool,
    /// A controller socket is configured.
    pub has_controller: bool,
    /// We are root, with `CAP_SYS_ADMIN`: mounts can be made, seen and removed.
    pub can_mount: bool,
    /// What the user allowed.
    pub allowed: BTreeSet<Allow>,
    /// Why the driver's mount namespace cannot be read; none: it can.
    pub no_driver_namespace: Option<String>,
    /// The driver lives in our own mount namespace.
    pub same_namespace: bool,
    /// We have `CAP_SYS_RESOURCE`, and so, where we started it, has the driver.
    pub has_cap_sys_resource: bool,
    /// Why no table of a device-mapper device can be changed; none: it can.
    pub no_device_mapper: Option<String>,
    /// Why no NFS server of the lab's can be had, where the configuration names
    /// them; none: they stand.
    pub no_nfs_lab: Option<String>,
    /// What the user said.
    pub config: Arc<Config>,
}

impl Facts {
    /// Whether the plugin offers a service.
    pub fn has_service(&self, service: Service) -> bool {
        self.services.contains(&(service as i32))
    }

    /// Whether the controller has a capability, and it is one for the volumes that are
    /// used here.
    pub fn controller_can(&self, rpc: ControllerRpc) -> bool {
        let is_asked = rpc != ControllerRpc::PublishUnpublishVolume || !self.are_inline();
        self.has_controller && self.controller.contains(&(rpc as i32)) && is_asked
    }

    /// Whether the group controller has a capability.
    pub fn groups_can(&self, rpc: GroupRpc) -> bool {
        self.has_controller && self.groups.contains(&(rpc as i32))
    }

    /// Whether the node has a capability, and it is one for the volumes that are used
    /// here.
    pub fn node_can(&self, rpc: NodeRpc) -> bool {
        let is_asked = rpc != NodeRpc::StageUnstageVolume || !self.are_inline();
        self.has_node && self.node.contains(&(rpc as i32)) && is_asked
    }

    /// Whether all volumes are the user's, and live and die with a pod: what a kubelet
    /// neither has attached nor stages (KEP 596, ephemeral inline volumes).
    fn are_inline(&self) -> bool {
        let volumes = &self.config.volumes;
        !volumes.is_empty() && volumes.iter().all(StaticVolume::is_inline)
    }

    /// Whether volumes are created by the driver (else the user names them).
    pub fn creates(&self) -> bool {
        self.controller_can(ControllerRpc::CreateDeleteVolume) && self.config.volumes.is_empty()
    }

    /// How many volumes the user named, of this access or of any; none: as many
    /// as are needed.
    pub(crate) fn given(&self, access: Option<Access>) -> Option<u32> {
        let volumes = &self.config.volumes;
        if volumes.is_empty() || volumes.iter().any(StaticVolume::is_template) {
            return None;
        }
        let fits = |volume: &&StaticVolume| access.is_none_or(|access| is_of(volume, access));
        u32::try_from(volumes.iter().filter(fits).count()).ok()
    }

    /// The kinds of volumes that the user asks for; by default one of each
    /// access, the file system being the driver's choice.
    pub fn kinds(&self) -> Vec<Kind> {
        kinds(&self.config)
    }

    /// Whether the user named this access type: then a refusal is a finding,
    /// and not just a thing that is not offered.
    pub fn claims(&self, access: Access) -> bool {
        claims(&self.config, access)
    }

    pub(super) fn lacks_volume(&self, access: Access) -> Option<Skip> {
        let lack = |need: String, lacking| Some(Skip { need, lacking });
        if !self.has_node {
            return lack("a node endpoint".into(), Lacking::User);
        }
        if !self.can_mount {
            return lack("root with CAP_SYS_ADMIN".into(), Lacking::Host);
        }
        if let Some(skip) = self.lacks_nfs_servers() {
            return Some(skip);
        }
        if !self.kinds().iter().any(|kind| kind.access() == access) {
            return lack(format!("{access} in volume.access_types"), Lacking::User);
        }
        let given = |volume: &StaticVolume| is_of(volume, access);
        if self.creates() || self.config.volumes.iter().any(given) {
            return None;
        }
        if self.config.volumes.is_empty() {
            let need = "CREATE_DELETE_VOLUME, or a volume of yours (volumes: in the configuration)";
            return lack(need.into(), Lacking::User);
        }
        lack(format!("a {access} volume among volumes:"), Lacking::User)
    }

    /// The lab's NFS servers, where the configuration names them and they cannot be
    /// had here.
    fn lacks_nfs_servers(&self) -> Option<Skip> {
        let why = self.no_nfs_lab.as_ref()?;
        Some(Skip {
            need: format!("NFS servers of the lab: {why}"),
            lacking: Lacking::Host,
        })
    }

    /// Volumes on NFS servers of the lab: to do harm to a server, it has to be ours.
    pub(super) fn lacks_nfs_lab(&self, need: String) -> Option<Skip> {
        if self.config.uses_nfs_lab() {
            return self.lacks_nfs_servers();
        }
        // Most drivers have nothing to do with NFS; theirs is no lesser verdict.
        Some(Skip {
            need,
            lacking: Lacking::Driver,
        })
    }

    /// What is lacking for volumes of this kind, if anything.
    pub fn lacks_kind(&self, kind: &Kind) -> Option<Skip> {
        self.lacks_volume(kind.access())
    }

    /// Where this node lies, as the driver says or the user.
    pub fn topology(&self) -> Option<v1::TopologyRequirement> {
        let said = self
            .node_info
            .as_ref()
            .and_then(|info| info.accessible_topology.clone());
        let segments = &self.config.topology;
        let own = (!segments.is_empty()).then(|| v1::Topology {
            segments: segments.clone().into_iter().collect(),
        });
        let here = own.or(said)?;
        Some(v1::TopologyRequirement {
            requisite: vec![here.clone()],
            preferred: vec![here],
        })
    }

    pub(super) fn lacks_driver_namespace(&self) -> Option<Skip> {
        let why = self.no_driver_namespace.as_ref()?;
        Some(Skip {
            need: format!("the driver's mount namespace ({why})"),
            lacking: Lacking::Host,
        })
    }

    pub(super) fn lacks_device_mapper(&self) -> Option<Skip> {
        let why = self.no_device_mapper.as_ref()?;
        Some(Skip {
            need: format!("device-mapper ({why})"),
            lacking: Lacking::Host,
        })
    }

    /// The capabilities by name, for the report.
    pub fn capabilities(&self) -> BTreeMap<String, Vec<String>> {
        fn names(
            numbers: &BTreeSet<i32>,
            name: impl Fn(i32) -> Option<&'static str>,
        ) -> Vec<String> {
            let word = |n: &i32| name(*n).map_or_else(|| format!("({n})"), str::to_owned);
            numbers.iter().map(word).collect()
        }
        let plugin = names(&self.services, |n| {
            Service::try_from(n).ok().map(|t| t.as_str_name())
        });
        let controller = names(&self.controller, |n| {
            ControllerRpc::try_from(n).ok().map(|t| t.as_str_name())
        });
        let groups = names(&self.groups, |n| {
            GroupRpc::try_from(n).ok().map(|t| t.as_str_name())
        });
        let node = names(&self.node, |n| {
            NodeRpc::try_from(n).ok().map(|t| t.as_str_name())
        });
        let mut all: BTreeMap<_, _> = [
            ("plugin", plugin),
            ("controller", controller),
            ("node", node),
        ]
        .map(|(service, names)| (service.to_owned(), names))
        .into();
        if self.has_service(Service::GroupControllerService) {
            all.insert("group controller".to_owned(), groups);
        }
        all
    }
}

/// Whether a volume of the user's can be used like this.
pub(super) fn is_of(volume: &StaticVolume, access: Access) -> bool {
    let of = |kind: &AccessType| match kind {
        AccessType::Mount => access == Access::Mount,
        AccessType::Block => access == Access::Block,
    };
    volume.access_types.iter().any(of)
}

fn claims(config: &Config, access: Access) -> bool {
    let access = match access {
        Access::Mount => AccessType::Mount,
        Access::Block => AccessType::Block,
    };
    config.volume.access_types.contains(&access)
}

/// What matrices are made of.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The kinds of volumes.
    pub kinds: Vec<Kind>,
    /// The access modes; the first is the usual one.
    pub modes: Vec<Mode>,
    /// The full product in place of each value once.
    pub thorough: bool,
}

impl Matrix {
    /// As the user says.
    pub fn of(config: &Config) -> Self {
        Self {
            kinds: kinds(config),
            modes: modes(config),
            thorough: config.thorough,
        }
    }
}

/// The kinds of volumes that the user asks for; by default one of each access,
/// the file system being the driver's choice.
fn kinds(config: &Config) -> Vec<Kind> {
    let volume = &config.volume;
    let asks = |access| volume.access_types.is_empty() || claims(config, access);
    let mut kinds = Vec::new();
    if !config.volumes.is_empty() {
        // What there is, is what can be asked of.
        for given in &config.volumes {
            if is_of(given, Access::Mount) {
                kinds.push(Kind::Mount(given.fs_type.clone()));
            }
            if is_of(given, Access::Block) {
                kinds.push(Kind::Block);
            }
        }
        kinds.retain(|kind| asks(kind.access()));
        kinds.sort();
        kinds.dedup();
        return kinds;
    }
    if asks(Access::Mount) {
        if volume.file_systems.is_empty() {
            kinds.push(Kind::Mount(String::new()));
        }
        kinds.extend(volume.file_systems.iter().map(|fs| Kind::Mount(fs.clone())));
    }
    if asks(Access::Block) {
        kinds.push(Kind::Block);
    }
    kinds
}

/// The access modes to ask for: the user's, or those of the user's volumes.
fn modes(config: &Config) -> Vec<Mode> {
    let said = || config.volume.access_modes.iter();
    let mut modes = Vec::new();
    for mode in config.volumes.iter().flat_map(|given| &given.access_modes) {
        if !modes.contains(&Mode::from(*mode)) {
            modes.push(Mode::from(*mode));
        }
    }
    if modes.is_empty() {
        said().map(|mode| Mode::from(*mode)).collect()
    } else {
        modes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver that stages and attaches, for volumes of this context.
    fn with_volume(context: &str) -> Facts {
        let text = format!("volumes:\n  - id: one\n    context: {{{context}}}\n");
        Facts {
            has_controller: true,
            has_node: true,
            controller: [ControllerRpc::PublishUnpublishVolume as i32].into(),
            node: [NodeRpc::StageUnstageVolume as i32].into(),
            config: Arc::new(
                Config::from_yaml(&text, std::path::Path::new("test.yaml"))
                    .expect("a configuration"),
            ),
            ..Facts::default()
        }
    }

    #[test]
    fn inline_volumes_are_neither_attached_nor_staged() {
        let asked = |facts: &Facts| {
            (
                facts.controller_can(ControllerRpc::PublishUnpublishVolume),
                facts.node_can(NodeRpc::StageUnstageVolume),
            )
        };
        assert_eq!(asked(&with_volume("")), (true, true));
        let inline = with_volume(r#""csi.storage.k8s.io/ephemeral": "true""#);
        assert_eq!(asked(&inline), (false, false));
        let persistent = with_volume(r#""csi.storage.k8s.io/ephemeral": "false""#);
        assert_eq!(asked(&persistent), (true, true));
    }
}
