//! In which RPC a thread is at work: whose calls to the kernel these are, how many
//! there were, and what the driver was told that is not so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::kernel::On;
use super::mountinfo::Mount;
use crate::mutation::Call;

/// The name of what is done outside of any RPC, such as when the driver starts.
pub const START: &str = "start";

thread_local! {
    static HERE: RefCell<Rpc> = const { RefCell::new(Rpc::outside()) };
}

/// One RPC that is being answered.
#[derive(Debug)]
struct Rpc {
    name: &'static str,
    volume: Option<String>,
    counts: BTreeMap<Call, u32>,
    told: Told,
}

/// What the driver believes because it was deceived.
#[derive(Debug, Default)]
struct Told {
    mounted: Vec<On>,
    unmounted: Vec<PathBuf>,
    cleared: Vec<PathBuf>,
    lies: u32,
}

impl Rpc {
    const fn outside() -> Self {
        Self {
            name: START,
            volume: None,
            counts: BTreeMap::new(),
            told: Told {
                mounted: Vec::new(),
                unmounted: Vec::new(),
                cleared: Vec::new(),
                lies: 0,
            },
        }
    }
}

/// This thread works on an RPC, on this volume, until this is dropped.
#[derive(Debug)]
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.replace(Rpc::outside());
    }
}

/// Enters an RPC.
pub(crate) fn enter(name: &'static str, volume: Option<String>) -> Entered {
    HERE.replace(Rpc {
        name,
        volume,
        ..Rpc::outside()
    });
    Entered
}

/// One call to the kernel: in which RPC, for which volume, the how-manieth.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) rpc: &'static str,
    pub(super) volume: Option<String>,
    pub(super) number: u32,
}

/// Counts a call.
pub(super) fn count(call: Call) -> Place {
    HERE.with_borrow_mut(|here| {
        let number = here.counts.entry(call).or_default();
        *number += 1;
        Place {
            rpc: here.name,
            number: *number,
            volume: here.volume.clone(),
        }
    })
}

/// How many calls there were up to a moment.
#[derive(Debug)]
pub(super) struct Mark(BTreeMap<Call, u32>);

/// Marks this moment, to which [`again`] goes back.
pub(super) fn mark() -> Mark {
    HERE.with_borrow(|here| Mark(here.counts.clone()))
}

/// What was begun at a mark begins anew, since others were faster: the same calls have
/// the same numbers, however often.
pub(super) fn again(from: &Mark) {
    HERE.with_borrow_mut(|here| here.counts.clone_from(&from.0));
}

/// How often this RPC was deceived, this time included.
pub(super) fn deceive() -> u32 {
    HERE.with_borrow_mut(|here| {
        here.told.lies += 1;
        here.told.lies
    })
}

/// From now on, looks in this RPC find that the call was made.
pub(super) fn tell(call: Call, on: &On) {
    HERE.with_borrow_mut(|here| match call {
        Call::Mount | Call::MountNfs => here.told.mounted.push(on.clone()),
        Call::Umount => here.told.unmounted.push(on.at.clone()),
        Call::LoopClear => here.told.cleared.push(on.at.clone()),
        _ => {}
    });
}

/// Whether this RPC was told that the device was cleared.
pub(super) fn is_told_cleared(device: &Path) -> bool {
    HERE.with_borrow(|here| here.told.cleared.iter().any(|told| told == device))
}

/// The mount table as this RPC was told that it is.
pub(super) fn as_told(mut mounts: Vec<Mount>) -> Vec<Mount> {
    HERE.with_borrow(|here| {
        for at in &here.told.unmounted {
            if let Some(top) = mounts.iter().rposition(|mount| mount.mount_point == *at) {
                mounts.remove(top);
            }
        }
        for on in &here.told.mounted {
            if let Some(mount) = imagined(on, &mounts) {
                mounts.push(mount);
            }
        }
    });
    mounts
}

/// The line of a mount that was never made: of a bind, that of its source.
fn imagined(on: &On, mounts: &[Mount]) -> Option<Mount> {
    let from = on.from.as_ref()?;
    let bound = mounts
        .iter()
        .rfind(|mount| mount.mount_point == *from)
        .cloned();
    let device = || Mount {
        device: (0, 0),
        root: PathBuf::from("/"),
        mount_point: PathBuf::new(),
        options: vec!["rw".to_owned()],
        // `server:/path` is no path of this node.
        fs_type: if from.is_absolute() { "ext4" } else { "nfs4" }.to_owned(),
        source: from.clone(),
        super_options: vec!["rw".to_owned()],
    };
    Some(Mount {
        mount_point: on.at.clone(),
        ..bound.unwrap_or_else(device)
    })
}
