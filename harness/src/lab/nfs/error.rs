//! What can go wrong with a server, in words.

use std::io;
use std::path::Path;

use crate::lab::JournalError;

/// An NFS server could not be made, or not be told to do something.
#[derive(Debug, thiserror::Error)]
pub enum NfsError {
    /// The host lacks what a server needs; what, and the way out.
    #[error("no NFS server can be made here: {0}")]
    Missing(String),
    /// A name that would not do as the name of a folder.
    #[error("{0:?} is no name for an export: letters, digits, `-` and `_` make one")]
    Name(String),
    /// The server has such an export already.
    #[error("{0} is exported already")]
    Twice(String),
    /// The server has no such export.
    #[error("{0} is no share of this server")]
    NoShare(String),
    /// Nothing of NFS is to be served.
    #[error("an NFS server needs a version to serve")]
    NoVersion,
    /// All addresses that were tried are in use.
    #[error("no free network of four addresses was found in 198.18.0.0/15 for an NFS server")]
    NoAddress,
    /// A system call or a file of the kernel's refused.
    #[error("NFS server: {what} {object}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        object: String,
        /// What the system answered.
        error: io::Error,
    },
    /// A tool failed.
    #[error("NFS server: {command}: {said}")]
    Tool {
        /// The command line.
        command: String,
        /// Its standard error, or how it ended.
        said: String,
    },
    /// The journal cannot be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Turns what a call on a path answered into words.
pub(super) fn failed<E: Into<io::Error>>(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> NfsError {
    move |error| NfsError::Io {
        what,
        object: path.display().to_string(),
        error: error.into(),
    }
}
