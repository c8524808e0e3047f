//! What became of the things that a run left.

/// What was done with one thing that a run had made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// `broken disk`, `process`, `freeze` (of a file system), `mount`, `NFS server`,
    /// `loop device`, `folder`, `volume`, `journal`.
    pub what: &'static str,
    /// The path, device, or id.
    pub object: String,
    /// What became of it.
    pub then: Then,
}

/// What became of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It is gone.
    Removed,
    /// The mount is off the tree, and ends in the kernel with its last user.
    Detached,
    /// It is not ours any more, or not ours to remove; it will not be tried again.
    LeftAlone(String),
    /// It is ours and could not be removed; the next run tries again.
    Stuck(String),
}

impl std::fmt::Display for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Removed => f.write_str("removed"),
            Self::Detached => f.write_str("detached: it ends with its last user"),
            Self::LeftAlone(why) => write!(f, "left alone: {why}"),
            Self::Stuck(why) => write!(f, "left: {why}"),
        }
    }
}

pub(super) fn cleaned(what: &'static str, object: String, then: Then) -> Cleaned {
    Cleaned { what, object, then }
}
