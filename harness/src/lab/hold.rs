//! Holders of a busy mount.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::errand::{Child, Errand};
use crate::node::ProcessId;

/// How long a holder may take to get hold.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small process that keeps a mount busy until this is dropped. It holds
/// nothing else, and ends when the harness dies.
#[derive(Debug)]
pub struct Holder {
    child: Child,
}

impl Holder {
    /// Keeps a file or folder open.
    ///
    /// # Errors
    /// It cannot be opened, or not in time.
    pub fn open_file(path: &Path) -> io::Result<Self> {
        let held = c_path(path)?;
        Self::send(&Errand::HoldOpen { path: &held }, path)
    }

    /// Has a folder as its working directory.
    ///
    /// # Errors
    /// It cannot be entered, or not in time.
    pub fn working_directory(path: &Path) -> io::Result<Self> {
        let held = c_path(path)?;
        Self::send(&Errand::HoldDirectory { path: &held }, path)
    }

    /// Has a file mapped into its memory, and no descriptor of it.
    ///
    /// # Errors
    /// It cannot be opened or mapped, or not in time.
    pub fn mapped(path: &Path) -> io::Result<Self> {
        let held = c_path(path)?;
        Self::send(&Errand::HoldMapped { path: &held }, path)
    }

    /// Lives in a copy of our mount namespace, in which what is unmounted here stays
    /// mounted: as a container does that was started meanwhile.
    ///
    /// # Errors
    /// unshare(2) is refused, or does not return in time.
    pub fn namespace() -> io::Result<Self> {
        Self::send(&Errand::HoldNamespace, Path::new("a mount namespace"))
    }

    fn send(errand: &Errand<'_>, path: &Path) -> io::Result<Self> {
        let child = Child::send(errand)?;
        match child.answer(PATIENCE) {
            Some(Ok(())) => Ok(Self { child }),
            Some(Err(error)) => Err(io::Error::new(
                error.kind(),
                format!("hold {}: {error}", path.display()),
            )),
            None => {
                let late = format!("hold {}: no answer within {PATIENCE:?}", path.display());
                Err(io::Error::new(io::ErrorKind::TimedOut, late))
            }
        }
    }

    /// The process, for the journal.
    ///
    /// # Errors
    /// It is gone.
    pub fn id(&self) -> io::Result<ProcessId> {
        ProcessId::of(self.child.pid().cast_unsigned())
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
