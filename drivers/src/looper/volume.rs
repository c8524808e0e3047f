//! The volumes: one folder each, with the disk image and one record in it.
//!
//! A record is written before what it tells of is done, and what it tells is
//! believed only as far as the kernel agrees: after a crash or a reboot it says
//! what may be there, and the mount table says what is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::mount::MsFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::Status;

use crate::common::capability::Capability;
use crate::common::serve::StoreError;
use crate::sys::SysError;
use crate::sys::file;
use crate::sys::filesystem::Filesystem;

const RECORD: &str = "volume.json";
pub(super) const IMAGE: &str = "disk.img";
/// What a crash may leave of a volume that was being made or deleted.
const MAKING: &str = "making-";
const DELETING: &str = "deleting-";
const PREFIX: &str = "vol-";

/// All that is known of one volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Volume {
    pub(super) id: String,
    /// The name it was asked for by, which is how a repeated CreateVolume finds it.
    pub(super) name: String,
    pub(super) capacity_bytes: u64,
    pub(super) parameters: BTreeMap<String, String>,
    /// Whether it was made for raw block access.
    pub(super) block: bool,
    /// The file system that it was made for, where it was made to be mounted.
    pub(super) filesystem: Option<Filesystem>,
    /// Where the controller published it.
    pub(super) attachment: Option<Attachment>,
    /// Its staging paths, and as what it is staged there.
    pub(super) stages: BTreeMap<PathBuf, Capability>,
    /// Its target paths.
    pub(super) targets: BTreeMap<PathBuf, Target>,
    /// What it was made from.
    #[serde(default)]
    pub(super) source: Option<Source>,
    /// How much of the disk its file system is known to fill, in bytes.
    #[serde(default)]
    pub(super) filled: u64,
    /// Its file system is frozen for a copy, or a killed process left it so.
    #[serde(default)]
    pub(super) frozen: bool,
    /// A file system is being made: until this is cleared again, what is on the
    /// device is half of one, and nobody's data.
    pub(super) formatting: bool,
}

/// What a volume was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// The snapshot of this id.
    Snapshot(String),
    /// The volume of this id.
    Volume(String),
}

/// What ControllerPublishVolume promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attachment {
    /// Handed to the node in `publish_context`.
    pub(super) id: String,
    pub(super) node: String,
    pub(super) capability: Capability,
    pub(super) readonly: bool,
}

/// How a volume is published at one target path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) staging: PathBuf,
    pub(super) capability: Capability,
    pub(super) readonly: bool,
}

impl Volume {
    /// Why this volume cannot be used in this way, or that it can.
    pub(super) fn check(&self, capability: &Capability) -> Result<(), String> {
        if capability.is_block() {
            let why = || "the volume was made to be mounted, not for block access".to_owned();
            return self.block.then_some(()).ok_or_else(why);
        }
        let Some(made) = self.filesystem else {
            return Err("the volume was made for block access, not to be mounted".to_owned());
        };
        match capability.fs_type() {
            Some(name) if name != made.name() => {
                Err(format!("the volume was made for {}", made.name()))
            }
            _ => Ok(()),
        }
    }

    /// Whether its file system was mounted to be read alone.
    pub(super) fn is_meant_read_only(&self) -> bool {
        let read_only = |stage: &Capability| {
            stage.is_reader_only() || stage.mount_options().mount.contains(MsFlags::MS_RDONLY)
        };
        self.stages.values().any(read_only)
            || self
                .attachment
                .as_ref()
                .is_some_and(|attachment| attachment.readonly)
    }

    /// `volume_context`: what never changes of it.
    pub(super) fn context(&self) -> BTreeMap<String, String> {
        let access = match self.filesystem {
            Some(filesystem) if !self.block => filesystem.name(),
            Some(_) => "any",
            None => "block",
        };
        BTreeMap::from([
            ("access".to_owned(), access.to_owned()),
            ("disk".to_owned(), self.id.clone()),
        ])
    }
}

/// The volumes on disk, and a copy of their records in memory.
pub(super) struct Store {
    folder: PathBuf,
    /// Links to the disk images of attached volumes, by volume.
    aliases: PathBuf,
    volumes: Mutex<BTreeMap<String, Volume>>,
}

impl Store {
    /// Opens the state folder, making it where there is none, and clears away
    /// what a crash left half made or half deleted. A forgetful driver, which no
    /// honest one is, does not know what it had staged and published.
    pub(super) fn open(state_dir: &Path, forgetful: bool) -> Result<Self, StoreError> {
        let folder = state_dir.join("volumes");
        let aliases = state_dir.join("by-id");
        for path in [state_dir, &folder, &aliases] {
            file::make_dir(path, 0o700)?;
        }
        let mut volumes = BTreeMap::new();
        for mut volume in load_all::<Volume>(&folder, PREFIX)? {
            if forgetful {
                volume.stages.clear();
                volume.targets.clear();
            }
            volumes.insert(volume.id.clone(), volume);
        }
        Ok(Self {
            folder,
            aliases,
            volumes: Mutex::new(volumes),
        })
    }

    /// The volume of this id.
    ///
    /// # Errors
    ///
    /// NOT_FOUND.
    pub(super) fn get(&self, id: &str) -> Result<Volume, Status> {
        self.find(id)
            .ok_or_else(|| Status::not_found("there is no volume of this volume_id"))
    }

    /// The volume of this id, if there is one.
    pub(super) fn find(&self, id: &str) -> Option<Volume> {
        self.lock().get(id).cloned()
    }

    /// The volume that was made under this name, if there is one.
    pub(super) fn named(&self, name: &str) -> Option<Volume> {
        self.lock()
            .values()
            .find(|volume| volume.name == name)
            .cloned()
    }

    /// Every volume, in the order of their ids.
    pub(super) fn all(&self) -> Vec<Volume> {
        self.lock().values().cloned().collect()
    }

    /// The disk image of a volume.
    pub(super) fn image(&self, id: &str) -> PathBuf {
        self.folder.join(id).join(IMAGE)
    }

    /// The name by which an attached volume's disk is found, as /dev/disk has them.
    pub(super) fn alias(&self, id: &str) -> PathBuf {
        self.aliases.join(id)
    }

    /// Gives an attached volume's disk its name.
    pub(super) fn name(&self, id: &str) -> Result<PathBuf, Status> {
        let alias = self.alias(id);
        file::lead(&alias, &self.image(id)).map_err(internal)?;
        Ok(alias)
    }

    /// Takes the name away.
    pub(super) fn unname(&self, id: &str) -> Result<(), Status> {
        file::remove_link(&self.alias(id)).map_err(internal)
    }

    /// Makes a volume: all of it, or, after a crash, nothing. `fill` puts into the
    /// disk image what it is to begin with.
    pub(super) fn create(
        &self,
        volume: &Volume,
        fill: impl FnOnce(&Path) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let length = |image: &Path| file::set_length(image, volume.capacity_bytes);
        make(&self.folder, &volume.id, volume, |image| {
            fill(image)?;
            length(image).map_err(internal)
        })?;
        self.lock().insert(volume.id.clone(), volume.clone());
        Ok(())
    }

    /// Deletes a volume and its data.
    pub(super) fn delete(&self, id: &str) -> Result<(), Status> {
        self.unname(id)?;
        remove(&self.folder, id, || drop(self.lock().remove(id)))
    }

    /// Changes the record of a volume, on disk first.
    pub(super) fn update(&self, id: &str, change: impl FnOnce(&mut Volume)) -> Result<(), Status> {
        // The caller has claimed the volume, so the map need not be held meanwhile.
        let mut volume = self.get(id)?;
        change(&mut volume);
        let path = self.folder.join(id).join(RECORD);
        file::replace(&path, &record(&volume)?).map_err(internal)?;
        self.lock().insert(volume.id.clone(), volume);
        Ok(())
    }

    /// The folder whose file system holds the disk images.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Volume>> {
        // A record is replaced whole, so a panic elsewhere leaves none half changed.
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new id, which no volume had before.
pub(super) fn new_id() -> Result<String, Status> {
    new_id_of(PREFIX)
}

/// A new id that begins with this.
pub(super) fn new_id_of(prefix: &str) -> Result<String, Status> {
    let random = file::random_hex(12).map_err(internal)?;
    Ok(format!("{prefix}{random}"))
}

/// Whether this could be an id of ours. Ids become folder names, so nothing
/// else is ever joined to a path.
pub(super) fn is_id(id: &str) -> bool {
    is_id_of(PREFIX, id)
}

/// The same, for ids that begin with this.
pub(super) fn is_id_of(prefix: &str, id: &str) -> bool {
    id.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// An error of the node itself, told to the caller.
pub(super) fn internal(error: SysError) -> Status {
    Status::internal(error.to_string())
}

/// What somebody still uses is the caller's to settle; all else is the node's trouble.
pub(super) fn busy(error: SysError) -> Status {
    match error.errno() {
        Some(libc::EBUSY) => Status::failed_precondition(error.to_string()),
        _ => internal(error),
    }
}

/// Makes the folder of a volume or a snapshot, with its record and its disk image:
/// all of it, or, after a crash, nothing.
pub(super) fn make(
    folder: &Path,
    id: &str,
    told: &impl Serialize,
    fill: impl FnOnce(&Path) -> Result<(), Status>,
) -> Result<(), Status> {
    let record = record(told)?;
    let making = folder.join(format!("{MAKING}{id}"));
    file::make_dir(&making, 0o700).map_err(internal)?;
    let finish = || {
        file::replace(&making.join(RECORD), &record)?;
        file::rename(&making, &folder.join(id))
    };
    let made = fill(&making.join(IMAGE)).and_then(|()| finish().map_err(internal));
    // What stays of it here is cleared away at the next start.
    made.inspect_err(|_| drop(file::remove_flat_dir(&making)))
}

/// Removes the folder of a volume or a snapshot: all of it, or, after a crash, at
/// the next start. `forget` is called when it is out of sight.
pub(super) fn remove(folder: &Path, id: &str, forget: impl FnOnce()) -> Result<(), Status> {
    let deleting = folder.join(format!("{DELETING}{id}"));
    file::rename(&folder.join(id), &deleting).map_err(internal)?;
    forget();
    file::remove_flat_dir(&deleting).map_err(internal)
}

/// The records in a folder, of those whose id begins with `prefix`; what a crash
/// left half made or half deleted is cleared away.
pub(super) fn load_all<T: DeserializeOwned>(
    folder: &Path,
    prefix: &str,
) -> Result<Vec<T>, StoreError> {
    let read = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(MAKING) || name.starts_with(DELETING) {
            file::remove_flat_dir(&path)?;
        } else if is_id_of(prefix, &name) {
            found.push(load(&path.join(RECORD))?);
        }
    }
    Ok(found)
}

fn record(told: &impl Serialize) -> Result<Vec<u8>, Status> {
    serde_json::to_vec_pretty(told)
        .map_err(|error| Status::internal(format!("cannot write the record: {error}")))
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let read = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(read)?;
    serde_json::from_slice(&bytes).map_err(|error| read(error.into()))
}
