//! Paths as a kubelet lays them out, in ours and in the driver's words.
//!
//! The kubelet makes the staging folder, and of a target only the parent: the
//! target itself is the driver's to make and to remove.

mod place;

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use self::place::Place;
use super::folder::{RunId, make_own, make_parents};
use super::journal::{Journal, JournalError};
use super::remove::{RemoveError, Removed, remove_tree};

/// How a volume is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// A file system, mounted.
    Mount,
    /// A raw block device.
    Block,
}

/// A folder under the name that the driver knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMap {
    /// Its name here.
    pub ours: PathBuf,
    /// Its name in the driver's mount namespace.
    pub drivers: PathBuf,
}

impl PathMap {
    /// The driver's name of a path; the path itself where the map says nothing of it.
    #[must_use]
    pub fn translate(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.ours).map_or_else(
            |_| path.to_owned(),
            |rest| match rest.as_os_str().is_empty() {
                true => self.drivers.clone(),
                false => self.drivers.join(rest),
            },
        )
    }
}

/// What the paths below a root look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// Short and readable, with the run and the check in them.
    Plain,
    /// As the kubelet has them below its own root, which some drivers parse.
    Kubelet {
        /// The driver's name.
        driver: String,
        /// The UID of the pod that we run in: a living kubelet clears away the
        /// folders of pods that it does not know. None: UIDs are made up.
        pod_uid: Option<String>,
    },
}

/// Where a run may make paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// Staging folders go below it; for [`Form::Kubelet`] the kubelet's root.
    pub staging: PathBuf,
    /// Targets go below it; for [`Form::Kubelet`] the kubelet's root.
    pub target: PathBuf,
    /// What paths look like below them.
    pub form: Form,
    /// Other names of the roots inside the driver; the first that fits counts.
    pub maps: Vec<PathMap>,
}

/// A path that was made for the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurPath {
    /// Where it is, free of symlinks.
    pub ours: PathBuf,
    /// What the driver is told.
    pub drivers: String,
    /// A folder of the run, or one that it shares with others.
    base: PathBuf,
    /// Below that: what belongs to this path alone.
    own: PathBuf,
}

impl OurPath {
    /// The folder above, as the driver knows it.
    pub fn drivers_parent(&self) -> String {
        let parent = Path::new(&self.drivers).parent().unwrap_or(Path::new("/"));
        parent.to_string_lossy().into_owned()
    }

    /// Removes what was made for this path. Mounts must be dealt with before.
    ///
    /// # Errors
    /// A mount or symlink stands in the way, or a call failed.
    pub fn remove(&self) -> Result<Removed, RemoveError> {
        remove_tree(&self.base, &self.own)
    }
}

/// The paths of one run.
#[derive(Debug)]
pub struct Layout {
    roots: Roots,
    run: RunId,
    journal: Arc<Journal>,
    /// Folders of ours that are made and in the journal.
    owned: Mutex<HashSet<PathBuf>>,
}

impl Layout {
    /// The layout of a run. The roots are made if they are missing, and made
    /// free of symlinks for our own use; the driver is told them as given.
    ///
    /// # Errors
    /// A root can neither be found nor made.
    pub fn for_run(roots: Roots, run: RunId, journal: Arc<Journal>) -> Result<Self, JournalError> {
        for root in [&roots.staging, &roots.target] {
            make_parents(&journal, root)?;
        }
        Ok(Self {
            roots,
            run,
            journal,
            owned: Mutex::default(),
        })
    }

    /// The staging folder of a volume, made (0750) as the kubelet does before
    /// NodeStageVolume. The same words give the same path.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn staging(
        &self,
        check: &str,
        volume: &str,
        access: Access,
    ) -> Result<OurPath, JournalError> {
        let path = self.make(
            &self.roots.staging,
            &self.staging_place(check, volume, access),
        )?;
        match DirBuilder::new().mode(0o750).create(&path.ours) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(JournalError::io("mkdir", &path.ours)(error))
            }
            _ => Ok(path),
        }
    }

    /// A target of a volume, of which only the parent is made (0750). The same
    /// words give the same path.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn target(
        &self,
        check: &str,
        volume: &str,
        name: &str,
        access: Access,
    ) -> Result<OurPath, JournalError> {
        self.make(
            &self.roots.target,
            &self.target_place(check, volume, name, access),
        )
    }

    /// The folders that are ours with all in them, as far as they were made.
    pub fn owned(&self) -> Vec<PathBuf> {
        self.owned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The roots below which all paths of the run lie, free of symlinks, and what
    /// the driver calls them.
    pub fn roots(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let roots = [&self.roots.staging, &self.roots.target];
        let drivers = |root: &Path| {
            let map = self
                .roots
                .maps
                .iter()
                .find(|map| root.starts_with(&map.ours));
            map.map_or_else(|| root.to_owned(), |map| map.translate(root))
        };
        let ours = roots.iter().filter_map(|root| root.canonicalize().ok());
        (ours.collect(), roots.map(|root| drivers(root)).into())
    }

    /// Makes all of a place but its last name.
    fn make(&self, root: &Path, place: &Place) -> Result<OurPath, JournalError> {
        let shared = root.join(&place.shared);
        make_parents(&self.journal, &shared)?;
        let shared = shared
            .canonicalize()
            .map_err(JournalError::io("realpath", &shared))?;
        let owned = shared.join(&place.owned);
        {
            let mut made = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
            if !made.contains(&owned) || !owned.exists() {
                make_own(&self.journal, &owned)?;
                made.insert(owned.clone());
            }
        }
        let ours = join(&join(&owned, &place.own), &place.last);
        // The block staging folder is the owned folder itself.
        if let Some(parent) = ours.parent().filter(|parent| parent.starts_with(&owned)) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(parent)
                .map_err(JournalError::io("mkdir", parent))?;
        }
        let given = join(
            &join(&root.join(&place.shared).join(&place.owned), &place.own),
            &place.last,
        );
        let map = self
            .roots
            .maps
            .iter()
            .find(|map| given.starts_with(&map.ours));
        let drivers = map.map_or_else(|| given.clone(), |map| map.translate(&given));
        let drivers = drivers.into_os_string().into_string().map_err(|path| {
            JournalError::io("name in a request", Path::new(&path))(std::io::Error::other(
                "not UTF-8",
            ))
        })?;
        let (base, own) = match place.own.as_os_str().is_empty() {
            true => (shared, place.owned.clone()),
            false => (owned, place.own.clone()),
        };
        Ok(OurPath {
            ours,
            drivers,
            base,
            own,
        })
    }
}

/// As [`Path::join`], without the slash that an empty path would add.
fn join(path: &Path, below: &Path) -> PathBuf {
    match below.as_os_str().is_empty() {
        true => path.to_owned(),
        false => path.join(below),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_changes_whole_names_only() {
        let map = PathMap {
            ours: "/var/lib/kubelet".into(),
            drivers: "/kubelet".into(),
        };
        assert_eq!(
            map.translate(Path::new("/var/lib/kubelet/pods")),
            Path::new("/kubelet/pods")
        );
        assert_eq!(
            map.translate(Path::new("/var/lib/kubelet")),
            Path::new("/kubelet")
        );
        assert_eq!(
            map.translate(Path::new("/var/lib/kubelet2/pods")),
            Path::new("/var/lib/kubelet2/pods")
        );
    }
}
