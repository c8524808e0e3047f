//! What a check made: its claim in the ledger, and what the negation through
//! the driver has to take back.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::content::SnapshotClaim;
use super::group::GroupClaim;
use super::kind::Kind;
use super::late::Watchpoint;
use super::volume::Want;
use crate::lab::{OurDisk, OurPath};
use crate::node::{BlockDevice, DiskId, LoopDevice};

/// All that one check made, in the order of making.
#[derive(Debug, Default)]
pub struct Claims {
    /// Its volumes.
    pub volumes: Vec<VolumeClaim>,
    /// Its snapshots.
    pub snapshots: Vec<SnapshotClaim>,
    /// Its group snapshots.
    pub groups: Vec<GroupClaim>,
    /// Places that it gave back, where nothing may be mounted until the run ends.
    pub watched: Vec<Watchpoint>,
    /// NFS servers of the lab's that it has for itself.
    pub servers: Vec<u32>,
}

/// One volume of a check.
#[derive(Debug, Clone)]
pub struct VolumeClaim {
    /// What it was asked to be.
    pub want: Want,
    /// Its kind.
    pub kind: Kind,
    /// The name that it was created by; none for a static one.
    pub name: Option<String>,
    /// Its id, once it is known.
    pub id: Option<String>,
    /// Its number in the run, for paths.
    pub number: u64,
    /// `CreateVolumeResponse.volume.volume_context`, or the user's.
    pub context: BTreeMap<String, String>,
    /// Its size as the driver told it, in bytes; 0: unknown.
    pub capacity: i64,
    /// The context from attach, while it is (or may be) attached.
    pub attached: Option<BTreeMap<String, String>>,
    /// Whether `ControllerPublishVolume` was asked and not yet taken back.
    pub may_be_attached: bool,
    /// Where it is, or may be, staged.
    pub staged: Vec<OurPath>,
    /// Where it is, or may be, published.
    pub published: Vec<OurPath>,
    /// Every target path that was ever asked for.
    pub targets: Vec<OurPath>,
    /// Those of them whose folder nobody is owed: nothing but a refusal was answered for
    /// it, or we took its mount away. A kubelet removes it.
    pub not_owed: Vec<OurPath>,
    /// Loop devices that first appeared when it was staged or published.
    pub devices: Vec<LoopDevice>,
    /// Block devices that it was mounted from or shown as, of whatever kind.
    pub disks: Vec<BlockDevice>,
    /// The loop devices there were before its first step on the node since it was attached.
    pub loops_before: Option<HashSet<DiskId>>,
    /// It is the user's, and not marked `scratch`: it is only read.
    pub given_read_only: bool,
    /// It is the user's, and is asked for with `readonly` always.
    pub readonly: bool,
    /// Its disk, which is ours to break.
    pub disk: Option<Arc<OurDisk>>,
    /// We did harm to its disk or file system: it serves no other check.
    pub harmed: bool,
    /// It was published once: whatever the driver makes on a new volume is made.
    pub was_up: bool,
    /// Its place among the user's static volumes, to be given back.
    pub given: Option<usize>,
}

impl VolumeClaim {
    /// A volume of which nothing is made yet.
    pub fn new(want: Want, kind: Kind, number: u64) -> Self {
        Self {
            want,
            kind,
            name: None,
            id: None,
            number,
            context: BTreeMap::new(),
            capacity: 0,
            attached: None,
            may_be_attached: false,
            staged: Vec::new(),
            published: Vec::new(),
            targets: Vec::new(),
            not_owed: Vec::new(),
            devices: Vec::new(),
            disks: Vec::new(),
            loops_before: None,
            given_read_only: false,
            readonly: false,
            disk: None,
            harmed: false,
            was_up: false,
            given: None,
        }
    }

    /// Whether the driver created it for us, and owes us its deletion.
    pub fn is_ours(&self) -> bool {
        self.name.is_some()
    }

    /// It was taken from this node. A device that comes with the next attach is not one
    /// that stage or publish made: what there is before them is asked for again.
    pub fn was_detached(&mut self) {
        self.may_be_attached = false;
        self.attached = None;
        self.loops_before = None;
    }
}

impl Claims {
    /// The volume of this handle.
    pub fn of(&mut self, handle: usize) -> &mut VolumeClaim {
        &mut self.volumes[handle]
    }
}

/// Whether there are disks, and none of them is made from a file (loop) or mapped from
/// other disks (device-mapper) of this node.
pub(super) fn are_no_ones_here(disks: &[BlockDevice]) -> bool {
    let is_made_here = |disk: &BlockDevice| disk.on_loop.is_some() || disk.name.starts_with("dm-");
    !disks.is_empty() && !disks.iter().any(is_made_here)
}

#[cfg(test)]
mod tests {
    use super::are_no_ones_here;
    use crate::node::{BlockDevice, DiskId, LoopDevice};

    fn disk(name: &str, on_loop: Option<LoopDevice>) -> BlockDevice {
        BlockDevice {
            name: name.to_owned(),
            id: DiskId {
                number: (8, 0),
                diskseq: None,
            },
            size: 1 << 30,
            read_only: false,
            part_of: None,
            on_loop,
        }
    }

    #[test]
    fn disks_of_a_cloud_are_told_from_those_that_are_made_here() {
        assert!(are_no_ones_here(&[disk("sda", None)]));
        assert!(are_no_ones_here(&[disk("nvme1n1", None)]));
        assert!(!are_no_ones_here(&[]));
        assert!(!are_no_ones_here(&[disk("dm-3", None)]));
        let image = LoopDevice {
            number: 0,
            id: disk("loop0", None).id,
            backing: "/volumes/disk.img".into(),
            backing_deleted: false,
            read_only: false,
            size: 1 << 30,
            offset: 0,
            autoclear: false,
        };
        assert!(!are_no_ones_here(&[disk("loop0", Some(image))]));
    }
}
