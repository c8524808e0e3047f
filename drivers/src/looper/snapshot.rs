//! The snapshots: one folder each, as the volumes have, with a copy of the disk
//! image and one record in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tonic::Status;

use super::volume::{self, IMAGE, Volume};
use crate::common::serve::StoreError;
use crate::sys::file;
use crate::sys::filesystem::Filesystem;

const PREFIX: &str = "snap-";

/// All that is known of one snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    /// The name it was asked for by, which is how a repeated CreateSnapshot finds it.
    pub(super) name: String,
    pub(super) source_volume_id: String,
    /// When it was cut: seconds and nanoseconds since 1970.
    pub(super) created: (i64, i32),
    pub(super) origin: Origin,
    /// The group that it was cut with, and is deleted with.
    pub(super) group: Option<String>,
}

/// What a copy needs to know of what it is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) size_bytes: u64,
    pub(super) block: bool,
    pub(super) filesystem: Option<Filesystem>,
    /// How much of it the file system is known to fill.
    pub(super) filled: u64,
}

impl Origin {
    /// What a copy of this volume begins with.
    pub(super) fn of(volume: &Volume) -> Self {
        Self {
            size_bytes: volume.capacity_bytes,
            block: volume.block,
            filesystem: volume.filesystem,
            filled: volume.filled,
        }
    }
}

/// The snapshots on disk, and a copy of their records in memory.
pub(super) struct Snapshots {
    folder: PathBuf,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
}

impl Snapshots {
    /// Opens the folder, making it where there is none.
    pub(super) fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("snapshots");
        file::make_dir(&folder, 0o700)?;
        let found = volume::load_all::<Snapshot>(&folder, PREFIX)?;
        let by_id = found.into_iter().map(|found| (found.id.clone(), found));
        Ok(Self {
            snapshots: Mutex::new(by_id.collect()),
            folder,
        })
    }

    /// The snapshot of this id, if there is one.
    pub(super) fn find(&self, id: &str) -> Option<Snapshot> {
        self.lock().get(id).cloned()
    }

    /// The snapshot that was made under this name, if there is one.
    pub(super) fn named(&self, name: &str) -> Option<Snapshot> {
        self.lock()
            .values()
            .find(|snapshot| snapshot.name == name)
            .cloned()
    }

    /// Every snapshot, in the order of their ids.
    pub(super) fn all(&self) -> Vec<Snapshot> {
        self.lock().values().cloned().collect()
    }

    /// The copy of the disk image.
    pub(super) fn image(&self, id: &str) -> PathBuf {
        self.folder.join(id).join(IMAGE)
    }

    /// Makes a snapshot: all of it, or, after a crash, nothing.
    pub(super) fn create(
        &self,
        snapshot: &Snapshot,
        fill: impl FnOnce(&Path) -> Result<(), Status>,
    ) -> Result<(), Status> {
        volume::make(&self.folder, &snapshot.id, snapshot, fill)?;
        self.lock().insert(snapshot.id.clone(), snapshot.clone());
        Ok(())
    }

    /// Deletes a snapshot; what was made from it is a copy, and stays.
    pub(super) fn delete(&self, id: &str) -> Result<(), Status> {
        volume::remove(&self.folder, id, || drop(self.lock().remove(id)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Snapshot>> {
        // A record never changes, so a panic elsewhere leaves none half changed.
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new id, which no snapshot had before.
pub(super) fn new_id() -> Result<String, Status> {
    volume::new_id_of(PREFIX)
}

/// Whether this could be an id of a snapshot of ours.
pub(super) fn is_id(id: &str) -> bool {
    volume::is_id_of(PREFIX, id)
}
