//! The records: which volumes were made, and where which was staged and published.
//!
//! Whether anything is mounted, only the mount table says. What is here tells
//! what it should be: whose, and how it was asked for. A lost record is no harm
//! to an unpublish, and a volume's id and context tell where it is without one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::flags::Flags;
use super::source::Source;
use crate::common::records as common;
use crate::common::serve::StoreError;
use crate::sys::SysError;

const RECORDS: &str = "records.json";

/// A volume that was asked for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) source: Source,
    /// What it was asked to have at least; nobody sees to it that it has no more.
    pub(super) capacity_bytes: u64,
    pub(super) parameters: BTreeMap<String, String>,
    /// How its share is mounted to make and delete it.
    pub(super) flags: Flags,
    /// Whether its folder was made; until then another attempt may ask for another.
    pub(super) is_made: bool,
}

/// What was mounted at one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) volume_id: String,
    pub(super) source: Source,
    pub(super) flags: Flags,
    pub(super) read_only: bool,
    /// Where it was bound from, if it was.
    pub(super) staging: Option<PathBuf>,
}

/// All records.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Records {
    /// By name.
    pub(super) volumes: BTreeMap<String, Made>,
    /// By staging path.
    pub(super) stages: BTreeMap<PathBuf, Place>,
    /// By target path.
    pub(super) targets: BTreeMap<PathBuf, Place>,
}

impl Records {
    /// The volume of this id, if it was made here.
    pub(super) fn volume(&self, id: &str) -> Option<(&String, &Made)> {
        self.volumes.iter().find(|(_, made)| made.source.id() == id)
    }
}

/// The records, in memory and on disk.
pub(super) type Store = common::Records<Records>;

/// Reads what is there. A forgetful driver, which no honest one is, does not know
/// what it had staged and published.
pub(super) fn open(state_dir: &Path, forgetful: bool) -> Result<Store, StoreError> {
    Store::open(state_dir.join(RECORDS), |records| {
        if forgetful {
            records.stages.clear();
            records.targets.clear();
        }
    })
}

/// An error of the node itself, told to the caller.
pub(super) fn internal(error: SysError) -> Status {
    Status::internal(error.to_string())
}
