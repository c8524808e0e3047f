//! What is wrong on a living node? No driver is asked, and nothing is changed.
//!
//! | file | answers |
//! |---|---|
//! | `place` | which place of the kubelet's is a path? |
//! | `gather` | what is there to see? All looks are made here, none can hang |
//! | `facts` | what was seen, as plain data |
//! | `judge` | what of it is wrong? Pure functions over the facts |
//! | `log` | which lines of the kernel log speak of a device? |
//! | `finding` | one thing found wrong, for people and for programs |
//!
//! A node is alive: the kubelet stages, publishes and takes away while we look.
//! What was found is therefore looked at a second time, and told only if it still
//! stands.

mod facts;
mod finding;
mod gather;
mod judge;
mod log;
mod place;

pub use finding::{Audit, Finding, Kind, SCHEMA, Tool};

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::node::{LookError, look};

/// Where to look, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// The kubelet's root: `/var/lib/kubelet`, where nothing else was said to it.
    pub kubelet_root: PathBuf,
    /// How long one look at a mount may take before the mount counts as hanging.
    pub deadline: Duration,
    /// How long to wait before what was found is looked at again.
    pub settle: Duration,
}

/// There is nothing to audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The kubelet's root is none.
    #[error("{}: {why}; --kubelet-root names the kubelet's own folder", .path.display())]
    Root {
        /// What was named.
        path: PathBuf,
        /// Why it is none.
        why: String,
    },
    /// What all else hangs on could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Looks at the node, twice where something was found.
///
/// # Errors
/// See [`AuditError`]. What could not be looked at besides is no error; it stands
/// in [`Audit::lacking`].
pub async fn audit(options: &Options) -> Result<Audit, AuditError> {
    let root = root(options).await?;
    let facts = gather::gather(&root, options.deadline).await?;
    let first = judge::judge(&facts);
    if first.is_empty() {
        return Ok(Audit::new(&facts, first));
    }
    tokio::time::sleep(options.settle).await;
    let facts = gather::gather(&root, options.deadline).await?;
    let mut stays = judge::judge(&facts);
    stays.retain(|finding| first.iter().any(|before| before.is_same(finding)));
    Ok(Audit::new(&facts, stays))
}

/// The kubelet's root as the mount table names it: without symbolic links.
async fn root(options: &Options) -> Result<PathBuf, AuditError> {
    let path = &options.kubelet_root;
    let wrong = |why: &str| AuditError::Root {
        path: path.clone(),
        why: why.to_owned(),
    };
    if !path.is_absolute() {
        return Err(wrong("not an absolute path"));
    }
    match look::stat_follow(path, options.deadline).await {
        Ok(stat) if stat.is_dir() => {}
        Ok(_) => return Err(wrong("not a folder")),
        Err(error) if error.is_not_found() => return Err(wrong("no such folder")),
        Err(LookError::NoAnswer { .. }) => return Err(wrong("it does not answer")),
        Err(error) => return Err(wrong(&error.to_string())),
    }
    // It answered just now.
    let real = |path: &Path| path.canonicalize();
    real(path).map_err(|error| wrong(&error.to_string()))
}
