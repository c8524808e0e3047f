//! A share, mounted for the driver's own work on it, at a folder that nobody
//! else knows.

use std::path::{Path, PathBuf};

use nix::mount::MntFlags;
use tonic::Status;

use super::driver::Driver;
use super::flags::Flags;
use super::mounting;
use super::source::Source;
use super::store::internal;
use crate::common::patience::Patience;
use crate::sys::disposable::{self, Chore};
use crate::sys::{SysError, file, mountinfo};

/// A mounted share; it is unmounted when this is dropped.
pub(super) struct Workplace<'a> {
    driver: &'a Driver,
    path: PathBuf,
}

impl<'a> Workplace<'a> {
    /// Mounts a source at a new folder.
    pub(super) fn at(
        driver: &'a Driver,
        source: &Source,
        flags: &Flags,
        patience: &Patience,
    ) -> Result<Self, Status> {
        let name = file::random_hex(8).map_err(internal)?;
        let path = driver.workplaces.join(name);
        file::make_dir(&path, 0o700).map_err(internal)?;
        let workplace = Self { driver, path };
        mounting::mount(
            driver,
            source,
            &flags.for_work(),
            false,
            &workplace.path,
            patience,
        )?;
        Ok(workplace)
    }

    /// Where the share is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workplace<'_> {
    fn drop(&mut self) {
        let gone = mounting::undo(self.driver, &self.path)
            // Nobody else has it; what the kernel still holds goes when it can.
            .or_else(|_| mounting::unmount_stale(&self.path))
            .and_then(|()| mounting::remove_mount_point(&self.path));
        if let Err(error) = gone {
            // The next start clears it away.
            tracing::warn!(why = error.message(), "could not leave a share");
        }
    }
}

/// Clears away what a driver that was killed had mounted for its work.
pub(super) fn clear(workplaces: &Path) -> Result<(), SysError> {
    let patience = Patience::lasting(std::time::Duration::from_secs(10));
    for mount in mountinfo::mounts()?.iter().rev() {
        if mount.mount_point.starts_with(workplaces) {
            let flags = MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH;
            let _ = disposable::run(Chore::Unmount(&mount.mount_point, flags), &patience);
        }
    }
    file::remove_empty_dirs(workplaces)
}

/// Whether there is such a folder on the server, asked by mounting it.
///
/// # Errors
///
/// NOT_FOUND where there is none; whatever keeps the server from saying so.
pub(super) fn is_there(
    driver: &Driver,
    source: &Source,
    flags: &Flags,
    patience: &Patience,
) -> Result<(), Status> {
    Workplace::at(driver, source, flags, patience).map(drop)
}
