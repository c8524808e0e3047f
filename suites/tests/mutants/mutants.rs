//! Which mutants there are, and what looks at each.

use std::collections::BTreeMap;

use csi_drivers::defect::Kind;
use csi_drivers::mutation::{Call, How, Mutation};

/// A driver that is to be told from the honest one.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// In which RPC it goes wrong.
    pub(crate) rpc: String,
    /// What goes wrong in it.
    pub(crate) mutations: Vec<Mutation>,
    /// Defects that it has besides, by name.
    pub(crate) defects: Vec<&'static str>,
}

impl Mutant {
    /// A driver in which one call goes wrong.
    pub(crate) fn of(mutation: Mutation) -> Self {
        Self {
            rpc: mutation.rpc.clone().unwrap_or_default(),
            mutations: vec![mutation],
            defects: Vec::new(),
        }
    }

    /// What it is called: all that is wrong with it.
    pub(crate) fn name(&self) -> String {
        let mutations = self.mutations.iter().map(ToString::to_string);
        let defects = self.defects.iter().map(|name| (*name).to_owned());
        mutations.chain(defects).collect::<Vec<_>>().join(" + ")
    }

    /// Whether one driver cannot be both.
    fn meets(&self, other: &Self) -> bool {
        let places = |mutant: &Self| -> Vec<_> {
            let places = mutant.mutations.iter();
            places.map(|one| (one.call, one.number)).collect()
        };
        self.rpc != other.rpc
            || places(self)
                .iter()
                .any(|place| places(other).contains(place))
    }

    /// Whether it fails, and hides nothing.
    pub(crate) fn is_loud(&self) -> bool {
        self.mutations
            .iter()
            .any(|mutation| mutation.how == How::Error)
    }

    /// Whether something comes after the answer.
    pub(crate) fn is_late(&self) -> bool {
        self.mutations
            .iter()
            .any(|mutation| mutation.how == How::Late)
    }
}

/// Puts the mutants that `is_joined` together, as many as `most` in one driver: of one
/// RPC, and no two that bend the same call. All others come first, each by itself.
pub(crate) fn batches(
    mutants: Vec<Mutant>,
    most: usize,
    is_joined: impl Fn(&Mutant) -> bool,
) -> Vec<Vec<Mutant>> {
    let (joined, single): (Vec<_>, Vec<_>) = mutants.into_iter().partition(is_joined);
    let mut batches: Vec<Vec<Mutant>> = Vec::new();
    for mutant in joined {
        let room = batches
            .iter_mut()
            .find(|batch| batch.len() < most && batch.iter().all(|other| !mutant.meets(other)));
        match room {
            Some(batch) => batch.push(mutant),
            None => batches.push(vec![mutant]),
        }
    }
    single
        .into_iter()
        .map(|one| vec![one])
        .chain(batches)
        .collect()
}

/// Another volume's object was there, at some time, that a call could be made on.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Others {
    pub(crate) target: bool,
    pub(crate) source: bool,
}

/// Each call that was made: its RPC, which it is, the how-manieth of its kind there.
pub(crate) type Calls = BTreeMap<(String, Call, u32), Others>;

/// Every call that the honest driver made, gone wrong in every way that there is.
pub(crate) fn of(calls: &Calls) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for ((rpc, call, number), others) in calls {
        for how in call.hows() {
            let is_possible = match how {
                How::WrongTarget => others.target,
                How::WrongSource => others.source,
                _ => true,
            };
            if is_possible {
                mutants.push(Mutant::of(Mutation {
                    rpc: Some(rpc.clone()),
                    call: *call,
                    number: Some(*number),
                    how: *how,
                }));
            }
        }
    }
    mutants
}

/// What judges the run as a whole.
const DRIVER: &str = "driver.";
/// What a driver has only in its memory is seen to be lost after its restart.
const COMES_BACK: &str = "driver-restart.comes-back";
const RESTART: &str = "driver-restart.";

/// Parts of the ids of the checks that look at an RPC, at what it undoes, and at what
/// goes on from its effect; and of those that own the steps on the way there, since
/// to all others a step that failed is none of theirs. None: all checks do.
pub(crate) fn concerned(rpc: &str) -> &'static [&'static str] {
    match rpc {
        "CreateVolume" => &["volume.", "node-stage.", "node-publish.", DRIVER, RESTART],
        "DeleteVolume" => &["delete-volume", "create-volume", DRIVER, RESTART],
        "CreateVolumeGroupSnapshot" | "DeleteVolumeGroupSnapshot" => {
            &["group-snapshot", "create-volume.", COMES_BACK, DRIVER]
        }
        "CreateSnapshot" | "DeleteSnapshot" => &["snapshot", "create-volume.", COMES_BACK, DRIVER],
        "ControllerPublishVolume" | "ControllerUnpublishVolume" => {
            &["controller-", "node-stage.", DRIVER, RESTART]
        }
        "ControllerExpandVolume" | "NodeExpandVolume" => {
            &["expand", "node-stats", DRIVER, "driver-killed.expand"]
        }
        "NodeStageVolume" => &["node-stage", "node-publish.", DRIVER, RESTART],
        "NodeUnstageVolume" => &["node-unstage", "node-stage.", DRIVER, RESTART],
        "NodePublishVolume" => &["node-publish", "node-unpublish.", DRIVER, RESTART],
        "NodeUnpublishVolume" => &[
            "node-unpublish",
            "node-publish.",
            "node-unstage.",
            DRIVER,
            RESTART,
        ],
        "NodeGetVolumeStats" => &["node-stats", "disk-"],
        _ => &[],
    }
}

/// The file systems that the first run is content with: none says all of them. Only
/// some of them can grow on every host, and only the loop driver has any to choose.
pub(crate) fn file_systems(driver: Kind, rpc: &str) -> &'static str {
    match (driver, rpc) {
        (Kind::Nfs | Kind::Fuse, _) | (_, "ControllerExpandVolume" | "NodeExpandVolume") => "",
        _ => "volume:\n  file_systems: [ext4]\n",
    }
}
