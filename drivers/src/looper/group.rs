//! The groups of snapshots: one folder each, with one record in it. The members are
//! snapshots as all others, and are deleted with their group.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::snapshot::Snapshots;
use super::volume;
use crate::common::serve::StoreError;
use crate::sys::file;

const PREFIX: &str = "group-";

/// All that is known of one group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) id: String,
    /// The name it was asked for by, which is how a repeated call finds it.
    pub(super) name: String,
    /// The volumes that were cut, in the order of their ids.
    pub(super) volumes: Vec<String>,
    /// Their snapshots, in the order of the volumes.
    pub(super) members: Vec<String>,
    /// When they were cut: seconds and nanoseconds since 1970.
    pub(super) created: (i64, i32),
}

/// The groups on disk, and a copy of their records in memory.
pub(super) struct Groups {
    folder: PathBuf,
    groups: Mutex<BTreeMap<String, Group>>,
}

impl Groups {
    /// Opens the folder, making it where there is none. Members of a group that a crash
    /// left half made are deleted.
    pub(super) fn open(state_dir: &Path, snapshots: &Snapshots) -> Result<Self, StoreError> {
        let folder = state_dir.join("groups");
        file::make_dir(&folder, 0o700)?;
        let found = volume::load_all::<Group>(&folder, PREFIX)?;
        let by_id = found.into_iter().map(|found| (found.id.clone(), found));
        let groups: BTreeMap<_, _> = by_id.collect();
        for snapshot in snapshots.all() {
            let lacks_group = |group: &String| !groups.contains_key(group);
            if snapshot.group.as_ref().is_some_and(lacks_group)
                && let Err(error) = snapshots.delete(&snapshot.id)
            {
                tracing::error!(why = error.message(), "a member of no group stays");
            }
        }
        Ok(Self {
            groups: Mutex::new(groups),
            folder,
        })
    }

    /// The group of this id, if there is one.
    pub(super) fn find(&self, id: &str) -> Option<Group> {
        self.lock().get(id).cloned()
    }

    /// The group that was made under this name, if there is one.
    pub(super) fn named(&self, name: &str) -> Option<Group> {
        self.lock()
            .values()
            .find(|group| group.name == name)
            .cloned()
    }

    /// Writes down a group whose members are there.
    pub(super) fn create(&self, group: &Group) -> Result<(), Status> {
        volume::make(&self.folder, &group.id, group, |_| Ok(()))?;
        self.lock().insert(group.id.clone(), group.clone());
        Ok(())
    }

    /// Forgets a group whose members are gone.
    pub(super) fn delete(&self, id: &str) -> Result<(), Status> {
        volume::remove(&self.folder, id, || drop(self.lock().remove(id)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        // A record never changes, so a panic elsewhere leaves none half changed.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new id, which no group had before.
pub(super) fn new_id() -> Result<String, Status> {
    volume::new_id_of(PREFIX)
}
