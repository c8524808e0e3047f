//! What was seen on the node, as plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::place::{Place, Staging};
use crate::node::klog::Record;
use crate::node::{LoopDevice, Mount, MountTable};

/// All that was seen, at about one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The kubelet's root, without symbolic links.
    pub(super) root: PathBuf,
    /// Every mount of our namespace.
    pub(super) table: MountTable,
    /// What the file systems below the root answered, by the id of the mount that
    /// was looked at: one for each file system, since the others show the same.
    pub(super) answers: BTreeMap<u64, Answer>,
    /// The block devices behind the mounts below the root, by number.
    pub(super) disks: BTreeMap<(u32, u32), Disk>,
    /// The devices that block targets stand for, by the target's path.
    pub(super) block_targets: BTreeMap<PathBuf, (u32, u32)>,
    /// The loop devices of the machine whose file was removed.
    pub(super) loops: Vec<DeletedLoop>,
    /// The volumes that pods have, as the kubelet wrote it down.
    pub(super) claims: Vec<Claim>,
    /// Those are not all: not every pod's folder could be read.
    pub(super) pods_unknown: bool,
    /// The volumes that are staged, as far as the kubelet wrote it down.
    pub(super) staged: BTreeMap<Staging, Volume>,
    /// The kernel log, from the oldest line that there is.
    pub(super) log: Vec<Record>,
    /// What could not be looked at, and why.
    pub(super) lacking: Vec<String>,
}

/// What a file system answered when it was asked for its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It lives.
    Alive,
    /// The kernel refused: the error number, and what was asked.
    Refused(i32, String),
    /// It did not answer in this time.
    Silent(Duration),
}

/// A block device behind a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disk {
    /// It is there, by this name.
    There {
        /// The kernel's name for it.
        name: String,
        /// In bytes; 0 for one that was disconnected.
        size: u64,
        /// The UUID of the file system on it, as the kernel log writes it.
        uuid: Option<String>,
        /// What came of reading its last bytes, where they were not read.
        unreadable: Option<Answer>,
    },
    /// The kernel has no device of that number.
    Gone,
}

/// A loop device whose file was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeletedLoop {
    pub(super) device: LoopDevice,
    /// Mounted in some namespace, or beneath another device.
    pub(super) in_use: bool,
}

/// A volume of a pod's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The pod's UID.
    pub(super) pod: String,
    /// The PV's name, or that of a volume of the pod alone.
    pub(super) name: String,
    /// It is a raw block volume.
    pub(super) block: bool,
    /// What `vol_data.json` says, if it could be read.
    pub(super) volume: Option<Volume>,
}

/// How the kubelet names a volume.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct Volume {
    /// The driver's name.
    #[serde(rename(deserialize = "driverName"))]
    pub driver: String,
    /// The volume's handle: the driver's id of it.
    #[serde(rename(deserialize = "volumeHandle"))]
    pub handle: String,
}

impl Facts {
    /// The mounts below the root, each with its place.
    pub(super) fn below(&self) -> impl Iterator<Item = (&Mount, Place)> {
        self.table
            .under(&self.root)
            .into_iter()
            .map(|mount| (mount, Place::of(&self.root, &mount.point)))
    }

    /// Whether a path leads to this mount: nothing lies over it.
    pub(super) fn is_on_top(&self, mount: &Mount) -> bool {
        let holding = self.table.holding(&mount.point);
        holding.is_some_and(|top| top.id == mount.id)
    }

    /// What a mount's file system answered, at this mount or at another of it.
    pub(super) fn answer_of(&self, mount: &Mount) -> Option<&Answer> {
        let same = self.table.of_device(mount.major, mount.minor);
        same.into_iter()
            .find_map(|other| self.answers.get(&other.id))
    }
}
