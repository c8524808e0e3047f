//! The root folder of a mounted volume, and what its mount says of itself.

use super::published::Published;
use super::stop::{Checked, Stop};
use crate::node::{Look, Seen};

/// The permission bits, with setuid, setgid and sticky.
const BITS: u32 = 0o7777;

impl Published<'_> {
    /// The permission bits of the volume's root folder.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub async fn root_mode(&self) -> Result<u32, Stop> {
        match self.look(|path| Look::Stat { path }).await? {
            Ok(Seen::Stat(stat)) => Ok(stat.mode & BITS),
            Ok(other) => Err(Stop::ours("stat the root folder", format!("{other:?}"))),
            Err(error) => Err(Stop::fail(format!(
                "the root folder of the volume cannot be looked at: {error}"
            ))),
        }
    }

    /// Changes them, as a workload may. A file system that keeps none is no finding.
    ///
    /// # Errors
    /// It does not take them, or we are not allowed to write to this volume.
    pub async fn set_root_mode(&self, mode: u32) -> Checked {
        self.is_for_writing()?;
        self.may_write()?;
        // Never of the bare folder, which is the node's own.
        self.is_still_there("before a chmod").await?;
        let unable = || Stop::not_offered("a file system that keeps the mode of its root folder");
        let changed = self.look(|path| Look::SetMode { path, mode }).await?;
        changed.map_err(|_| unable())?;
        self.cx()
            .fact("root folder", format!("mode set to {mode:04o}"));
        match self.root_mode().await? == mode {
            true => Ok(()),
            false => Err(unable()),
        }
    }

    /// The value of an option of the file system (`vers` of `vers=4.2`), as
    /// mountinfo tells it.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn super_option(&self, name: &str) -> Result<Option<String>, Stop> {
        let mounts = self.mounts("now").await?;
        let options = mounts.last().map(|mount| mount.super_options.as_slice());
        let value = |option: &String| {
            let (key, value) = option.split_once('=')?;
            (key == name).then(|| value.to_owned())
        };
        Ok(options.unwrap_or_default().iter().find_map(value))
    }
}
