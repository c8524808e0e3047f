//! Faults between the calls: what a workload or a stranger does to a target.

use std::fmt;
use std::path::Path;

use super::marker::Marker;
use super::published::Published;
use super::staged::Staged;
use super::stop::Stop;
use crate::lab::{self, Holder};
use crate::node::{Mount, MountTable};

/// How a process uses what is mounted at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// It has a file open.
    OpenFile,
    /// It has a file mapped into its memory.
    MappedFile,
    /// It has the root folder as its working directory.
    WorkingDirectory,
    /// It lives in a mount namespace of its own, where the mount is as well.
    Namespace,
}

impl InUse {
    /// Those that keep an unmount in our namespace busy.
    pub const BUSY: [Self; 3] = [Self::OpenFile, Self::MappedFile, Self::WorkingDirectory];
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFile => "a process has a file open",
            Self::MappedFile => "a process has a file mapped into its memory",
            Self::WorkingDirectory => "a process has it as its working directory",
            Self::Namespace => "a process has it mounted in a namespace of its own",
        })
    }
}

/// A second mount on top of a published volume; ours to take away.
#[derive(Debug)]
pub struct Cover<'a> {
    published: &'a Published<'a>,
    id: u64,
}

impl Published<'_> {
    /// A process that holds the marker's file open, as a workload that has not
    /// ended yet. It ends when this is dropped.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn hold_open(&self, marker: &Marker) -> Result<Holder, Stop> {
        self.hold_path_open(&self.target.ours.join(marker.file()))
    }

    pub(super) fn hold_path_open(&self, path: &Path) -> Result<Holder, Stop> {
        self.cx().fact("held open", path.display().to_string());
        Holder::open_file(path).map_err(|e| Stop::ours(format!("hold {} open", path.display()), e))
    }

    /// A process that uses the volume through the target in this way, until the
    /// holder is dropped. The marker was written there.
    ///
    /// # Errors
    /// It cannot get hold of it.
    pub fn hold(&self, way: InUse, marker: &Marker) -> Result<Holder, Stop> {
        let file = self.target.ours.join(marker.file());
        self.cx().fact("in use", way.to_string());
        let holder = match way {
            InUse::OpenFile => Holder::open_file(&file),
            InUse::MappedFile => Holder::mapped(&file),
            InUse::WorkingDirectory => Holder::working_directory(&self.target.ours),
            InUse::Namespace => Holder::namespace(),
        };
        holder.map_err(|e| Stop::ours(format!("{way} at {}", self.target.ours.display()), e))
    }

    /// The volume mounted once more on top of itself, as a stranger or a lost
    /// race leaves it.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn cover(&self) -> Result<Cover<'_>, Stop> {
        let path = &self.target.ours;
        if self.cx().mounts()?.at(path).is_empty() {
            return Err(Stop::fail(
                "the mount at target_path is gone, and nobody unpublished it",
            ));
        }
        let wrong = |e: &dyn std::fmt::Display| {
            Stop::ours(format!("mount {} over itself", path.display()), e)
        };
        lab::cover(self.cx().session.touches(path)).map_err(|e| wrong(&e))?;
        let table = MountTable::ours().map_err(|e| wrong(&e))?;
        let top = table.at(path).last().map(|mount| mount.id);
        let id = top.ok_or_else(|| wrong(&"it is not there"))?;
        self.cx().fact(
            "a second mount",
            format!("the volume once more over itself at {}", path.display()),
        );
        Ok(Cover {
            published: self,
            id,
        })
    }
}

impl Staged<'_> {
    /// A process that has the staging mount as its working directory; none where
    /// nothing is mounted at the staging path.
    ///
    /// # Errors
    /// The folder cannot be entered, or the mounts cannot be read.
    pub async fn hold_folder(&self) -> Result<Option<Holder>, Stop> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        if self.mounts("before").await?.is_empty() {
            return Ok(None);
        }
        let holder = Holder::working_directory(&path.ours);
        holder
            .map(Some)
            .map_err(|e| Stop::ours(format!("enter {}", path.ours.display()), e))
    }
}

impl Cover<'_> {
    /// Takes it away if it is still there.
    ///
    /// # Errors
    /// The mounts cannot be read, or the kernel refuses.
    pub fn lift(&self) -> Result<(), Stop> {
        let path = &self.published.target.ours;
        let table = self.published.cx().mounts()?;
        let at = table.at(path);
        let is_ours = |mount: &&Mount| mount.id == self.id;
        if at.last().is_some_and(is_ours) {
            lab::uncover(path).map_err(|e| Stop::ours(format!("unmount {}", path.display()), e))?;
        }
        Ok(())
    }
}
