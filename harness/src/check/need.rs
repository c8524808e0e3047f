//! What has to be there for a check: a constant expression, from which skips,
//! the plan and `explain` are made.

use std::fmt;

use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::group_controller_service_capability::rpc::Type as GroupRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::plugin_capability::service::Type as Service;

use super::facts::Facts;
use super::outcome::{Lacking, Skip};
use super::step::Access;
use crate::config::Allow;

/// What a check needs.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    /// Nothing but a driver that answers.
    Nothing,
    /// A service of the plugin.
    Service(Service),
    /// A node socket.
    NodeService,
    /// A capability of the controller service.
    Controller(ControllerRpc),
    /// A capability of the group controller service.
    Groups(GroupRpc),
    /// A capability of the node service.
    Node(NodeRpc),
    /// Volumes of this kind, and a host on which mounts can be seen.
    Volume(Access),
    /// Volumes that we may create and delete ourselves.
    OwnVolumes,
    /// Volumes on NFS servers that we make, and can stop, freeze and heal.
    NfsLab,
    /// Volumes whose context says what data they hold, whatever their id.
    ContextDecides,
    /// The user's word.
    Consent(Allow),
    /// The driver is a process that we start, and may end.
    OurProcess,
    /// The driver's mount namespace can be read.
    DriverNamespace,
    /// The driver lives in our own mount namespace: what we mount, it sees.
    SameNamespace,
    /// The tables of device-mapper devices can be changed.
    DeviceMapper,
    /// All of these.
    All(&'static [Need]),
    /// One of these.
    Any(&'static [Need]),
    /// Not this.
    Not(&'static Need),
}

impl Need {
    /// A driver that we may kill and start again.
    pub const RESTART: Self = Self::All(&[Self::Consent(Allow::Restart), Self::OurProcess]);
    /// Volumes that are mounted.
    pub const MOUNT: Self = Self::Volume(Access::Mount);
    /// Volumes that are raw block devices.
    pub const BLOCK: Self = Self::Volume(Access::Block);
    /// Volumes of any kind.
    pub const ANY_VOLUME: Self = Self::Any(&[Self::MOUNT, Self::BLOCK]);
    /// The driver stages.
    pub const STAGE: Self = Self::Node(NodeRpc::StageUnstageVolume);
    /// The driver tells of usage.
    pub const STATS: Self = Self::Node(NodeRpc::GetVolumeStats);

    /// What is lacking, if anything.
    pub fn lacks(&self, facts: &Facts) -> Option<Skip> {
        let lack = |lacking| {
            Some(Skip {
                need: self.to_string(),
                lacking,
            })
        };
        let unless = |there: bool, lacking| if there { None } else { lack(lacking) };
        match self {
            Self::Nothing => None,
            Self::Service(service) => unless(facts.has_service(*service), Lacking::Driver),
            Self::NodeService => unless(facts.has_node, Lacking::User),
            Self::Controller(rpc) => unless(facts.controller_can(*rpc), Lacking::Driver),
            Self::Groups(rpc) => unless(facts.groups_can(*rpc), Lacking::Driver),
            Self::Node(rpc) => unless(facts.node_can(*rpc), Lacking::Driver),
            Self::Volume(access) => facts.lacks_volume(*access),
            Self::OwnVolumes if !facts.controller_can(ControllerRpc::CreateDeleteVolume) => {
                lack(Lacking::Driver)
            }
            // The user's own volumes stand in for those that it could create.
            Self::OwnVolumes if !facts.creates() => Some(Skip {
                need: "volumes that the driver creates (volumes: names others)".to_owned(),
                lacking: Lacking::User,
            }),
            Self::OwnVolumes => None,
            Self::NfsLab => facts.lacks_nfs_lab(self.to_string()),
            Self::ContextDecides => unless(facts.config.context_decides(), Lacking::Driver),
            Self::Consent(consent) => unless(facts.allowed.contains(consent), Lacking::User),
            Self::OurProcess => unless(!facts.config.driver.command.is_empty(), Lacking::User),
            Self::DriverNamespace => facts.lacks_driver_namespace(),
            Self::SameNamespace => unless(facts.same_namespace, Lacking::Host),
            Self::DeviceMapper => facts.lacks_device_mapper(),
            Self::All(needs) => needs.iter().find_map(|need| need.lacks(facts)),
            Self::Any(needs) => {
                let lacks: Vec<_> = needs.iter().map(|need| need.lacks(facts)).collect();
                if lacks.iter().any(Option::is_none) {
                    None
                } else {
                    lacks.into_iter().flatten().next()
                }
            }
            Self::Not(need) => unless(need.lacks(facts).is_some(), Lacking::Driver),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, needs: &[Need], word: &str| {
            for (i, need) in needs.iter().enumerate() {
                write!(f, "{}{need}", if i == 0 { "" } else { word })?;
            }
            Ok(())
        };
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Service(service) => f.write_str(service.as_str_name()),
            Self::NodeService => f.write_str("a node endpoint"),
            Self::Controller(rpc) => write!(f, "controller {}", rpc.as_str_name()),
            Self::Groups(rpc) => write!(f, "group controller {}", rpc.as_str_name()),
            Self::Node(rpc) => write!(f, "node {}", rpc.as_str_name()),
            Self::Volume(Access::Mount) => f.write_str("a volume to mount"),
            Self::Volume(Access::Block) => f.write_str("a raw block volume"),
            Self::OwnVolumes => f.write_str("controller CREATE_DELETE_VOLUME"),
            Self::NfsLab => f.write_str(
                "volumes on NFS servers of the lab (${lab.nfs.server} in the configuration)",
            ),
            Self::ContextDecides => {
                f.write_str("volumes whose context decides (volume.context_decides)")
            }
            Self::Consent(consent) => write!(f, "allow: [{consent}]"),
            Self::OurProcess => f.write_str("a driver that we start (driver.command)"),
            Self::DriverNamespace => f.write_str("the driver's process (driver.pid)"),
            Self::SameNamespace => f.write_str("a driver in our own mount namespace"),
            Self::DeviceMapper => f.write_str("device-mapper"),
            Self::All(needs) => join(f, needs, " and "),
            Self::Any(needs) => join(f, needs, " or "),
            Self::Not(need) => write!(f, "no {need}"),
        }
    }
}
