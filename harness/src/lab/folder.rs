//! The run's own folder, and what it keeps there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clean::Leftover;
use super::cleaned::Cleaned;
use super::identity::FileIdentity;
use super::journal::{Entry, Journal, JournalError};
use super::random::random_hex;

/// Where runs keep their state: `CSI_CONFORMANCE_STATE`, or
/// `/var/lib/csi-conformance`.
#[must_use]
pub fn state_base() -> PathBuf {
    match std::env::var_os("CSI_CONFORMANCE_STATE") {
        Some(base) if !base.is_empty() => PathBuf::from(base),
        _ => PathBuf::from("/var/lib/csi-conformance"),
    }
}

/// The name of a run: eight hexadecimal digits. Short, since a socket's path
/// must stay under 108 bytes (unix(7)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunId(String);

impl RunId {
    fn random() -> io::Result<Self> {
        random_hex(4).map(Self)
    }

    /// The eight digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `<base>/runs/<run id>/`, for the user's eyes only (0700), with the journal.
#[derive(Debug)]
pub struct RunFolder {
    id: RunId,
    path: PathBuf,
    journal: Arc<Journal>,
}

impl RunFolder {
    /// Makes the folder of a new run, and begins its journal. The state folder
    /// is made if it is missing, and stays.
    ///
    /// # Errors
    /// Something cannot be made: not root, a read-only or full file system.
    pub fn make(base: &Path) -> Result<Self, JournalError> {
        let runs = base.join("runs");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runs)
            .map_err(JournalError::io("mkdir", &runs))?;
        let id = RunId::random().map_err(JournalError::io("name a run in", &runs))?;
        let path = runs.join(id.as_str());
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(JournalError::io("mkdir", &path))?;
        let path = path
            .canonicalize()
            .map_err(JournalError::io("realpath", &path))?;
        let journal = Arc::new(Journal::begin(&path)?);
        Ok(Self { id, path, journal })
    }

    /// The run's name.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The folder, free of symlinks.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Ends the run: what its journal tells is taken away as the next run would
    /// do it, then the folder itself. What is told besides the run's own
    /// folders had been left behind.
    ///
    /// # Errors
    /// The journal cannot be read, or somebody still holds it.
    pub fn end(self) -> Result<Vec<Cleaned>, JournalError> {
        let journal = Arc::try_unwrap(self.journal).map_err(|journal| JournalError::Held {
            path: journal.path().to_owned(),
        })?;
        Leftover::own(journal).clean()
    }
}

/// Makes a folder that is to be ours with all in it, and tells the journal
/// before and after. It must not be there yet.
pub(super) fn make_own(journal: &Journal, path: &Path) -> Result<(), JournalError> {
    journal.write(&Entry::Folder {
        path: path.to_owned(),
        made: None,
    })?;
    DirBuilder::new()
        .mode(0o750)
        .create(path)
        .map_err(JournalError::io("mkdir", path))?;
    let made = identity(path)?;
    journal.write(&Entry::Folder {
        path: path.to_owned(),
        made: Some(made),
    })
}

/// Makes the folders on the way to one of ours where they are missing. Others
/// may use them afterwards, so they are not ours.
pub(super) fn make_parents(journal: &Journal, path: &Path) -> Result<(), JournalError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_parents(journal, above)?;
    }
    match DirBuilder::new().mode(0o750).create(path) {
        Ok(()) => {
            let made = identity(path)?;
            journal.write(&Entry::Parent {
                path: path.to_owned(),
                made: Some(made),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(JournalError::io("mkdir", path)(error)),
    }
}

fn identity(path: &Path) -> Result<FileIdentity, JournalError> {
    fs::File::open(path)
        .and_then(FileIdentity::of)
        .map_err(JournalError::io("fstat", path))
}
