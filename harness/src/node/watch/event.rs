//! One mount that came or went.

use super::super::mountinfo::Mount;
use super::doer::Doer;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// What became of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// It is there, where it was not.
    Attached,
    /// It is there no more.
    Detached,
}

/// One mount that came or went. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEvent {
    /// When we learned of it; it was so by then. The kernel tells no time.
    pub at: Instant,
    /// What became of it.
    pub what: Change,
    /// The mount as it was when it was last read: at its coming, or, where the
    /// table is read again at each change, just before it went. `None` where
    /// it had come and gone before it could be looked at.
    pub mount: Option<Arc<Mount>>,
    /// Its unique id, never given again until the next boot. Only mount events
    /// tell it.
    pub unique_id: Option<u64>,
    /// Who did it. Only mount events tell it, and not of a process in a pid
    /// namespace that we do not see.
    pub by: Option<Arc<Doer>>,
}

impl MountEvent {
    /// Whether it is about a mount at exactly this path, as mountinfo has it:
    /// absolute, with no symbolic link in it.
    pub fn is_at(&self, point: &Path) -> bool {
        self.mount.as_ref().is_some_and(|m| m.point == point)
    }

    /// Whether a mount came to exactly this path.
    pub fn attaches_at(&self, point: &Path) -> bool {
        self.what == Change::Attached && self.is_at(point)
    }

    /// Whether a mount went from exactly this path.
    pub fn detaches_at(&self, point: &Path) -> bool {
        self.what == Change::Detached && self.is_at(point)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attached => "attached",
            Self::Detached => "detached",
        })
    }
}

/// `attached: 52 30 0:45 / /target rw - tmpfs none rw; by mount (pid 17)`.
impl fmt::Display for MountEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        match (&self.mount, self.unique_id) {
            (Some(mount), _) => f.write_str(&mount.line())?,
            (None, Some(id)) => write!(f, "mount {id}, gone before it could be looked at")?,
            (None, None) => f.write_str("a mount gone before it could be looked at")?,
        }
        match &self.by {
            Some(doer) => write!(f, "; by {doer}"),
            None => Ok(()),
        }
    }
}
