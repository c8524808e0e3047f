//! Whether a volume's device is in use still, when it was said to be taken from the node.

use std::path::PathBuf;

use super::faults::InUse;
use super::marker::Marker;
use super::see;
use super::session::SETTLE;
use super::staged::Staged;
use super::stop::{Checked, Stop};
use super::volume::Volume;
use super::wait::Patience;
use crate::node::{self, BlockDevice, Look, Mount, Seen};

impl Volume<'_> {
    /// The device of the volume that somebody still uses, in words: a loop device that
    /// has its file, or a disk that cannot be opened for oneself (`O_EXCL`, open(2)).
    /// To be asked between calls for the volume alone: an open of ours would make an
    /// honest mkfs fail.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn device_in_use(&self) -> Result<Option<String>, Stop> {
        let (loops, disks) = self.with(|claim| (claim.devices.clone(), claim.disks.clone()));
        let there = node::loops().unwrap_or_default();
        if let Some(device) = loops
            .iter()
            .find(|l| there.iter().any(|other| other.id == l.id))
        {
            let file = device.backing.display();
            return Ok(Some(format!(
                "/dev/loop{} still has its file {file}",
                device.number
            )));
        }
        for disk in disks
            .iter()
            .filter(|disk| disk.on_loop.is_none() && is_there(disk))
        {
            let path = PathBuf::from("/dev").join(&disk.name);
            let look = Look::OpenExclusive { path: path.clone() };
            if let Ok(Seen::Exclusive { free: false }) = see::look(self.cx, look).await? {
                return Ok(Some(format!("{} is in use", path.display())));
            }
        }
        Ok(None)
    }

    /// The same, once whoever used it has ended: what the kernel needs a moment for is
    /// waited for.
    async fn device_stays_in_use(&self) -> Result<bool, Stop> {
        stays(|| async { Ok(self.device_in_use().await?.is_some()) }).await
    }
}

impl Staged<'_> {
    /// Whether the file system of a mount that is gone is in use still, where no mount
    /// shows it. Not known: no.
    ///
    /// # Errors
    /// The mounts cannot be read; no answer in time.
    async fn is_hidden(&self, gone: &Mount) -> Result<bool, Stop> {
        let cx = self.volume.cx;
        let (major, minor) = gone.dev();
        let shown = |table: &node::MountTable| !table.of_device(major, minor).is_empty();
        let theirs = cx.session.drivers_mounts().await;
        if shown(&cx.mounts()?) || theirs.as_ref().is_some_and(shown) {
            return Ok(false);
        }
        let look = Look::FileSystem {
            path: gone.point.clone(),
            dev: gone.dev(),
        };
        let seen = see::look(cx, look).await?;
        Ok(matches!(seen, Ok(Seen::FileSystem { there: true })))
    }

    /// The same, once whoever used it has ended.
    async fn stays_hidden(&self, gone: &Mount) -> Result<bool, Stop> {
        stays(|| self.is_hidden(gone)).await
    }
}

/// Whether this is so still when the kernel has had its moment.
async fn stays<F>(is_so: impl Fn() -> F) -> Result<bool, Stop>
where
    F: Future<Output = Result<bool, Stop>>,
{
    let mut patience = Patience::brisk(SETTLE);
    while is_so().await? {
        if !patience.wait().await {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether this number is the same disk still.
fn is_there(disk: &BlockDevice) -> bool {
    let (major, minor) = disk.id.number;
    node::block_device(major, minor).is_ok_and(|now| now.id == disk.id)
}

impl Staged<'_> {
    /// Publishes it, has it used in this way, and takes it from the node meanwhile. If
    /// all of that is answered with OK, nobody uses its device any more.
    ///
    /// # Errors
    /// The finding: its mounts were only put out of sight.
    pub async fn comes_down_in_use(&self, way: InUse) -> Checked {
        let target = self.publish("a").await?;
        let marker = Marker::new()?;
        target.write(&marker).await?;
        let mount = target.mounts("before, in use").await?.pop();
        let holder = target.hold(way, &marker)?;
        let unpublished = target.ask_unpublish().await?.is_ok();
        if !unpublished
            || target
                .mount_left("after unpublish, in use")
                .await?
                .is_some()
        {
            // It was refused, as it may be, or is another check's finding.
            drop(holder);
            target.unpublish().await?;
            return self.unstage().await;
        }
        let unstaged = self.path.is_none() || self.ask_unstage().await?.is_ok();
        let gone = unstaged && self.mount_left("after unstage, in use").await?.is_none();
        let used = match gone {
            true => self.volume.device_in_use().await?,
            false => None,
        };
        let hidden = match &mount {
            Some(mount) if gone && used.is_none() => self.is_hidden(mount).await?,
            _ => false,
        };
        drop(holder);
        if !gone {
            self.unstage().await?;
        }
        match used {
            // Only where it was our process that used it.
            Some(used) if !self.volume.device_stays_in_use().await? => {
                return Err(Stop::fail(put_out_of_sight(way, &used)));
            }
            _ => {}
        }
        match mount {
            // Whose it is then, and whether it may be used, its server knows.
            Some(mount) if hidden && !self.stays_hidden(&mount).await? => {
                let ((major, minor), fs) = (mount.dev(), &mount.fs_type);
                let used = format!("its file system ({fs}, {major}:{minor}) is in use still");
                Err(Stop::Warn(put_out_of_sight(way, &used)))
            }
            _ => Ok(()),
        }
    }

    /// The same, used in a mount namespace of somebody else's, which the driver cannot
    /// do anything about: to refuse is as good as OK. When that is gone, all of it is.
    ///
    /// # Errors
    /// The step failed.
    pub async fn comes_down_elsewhere(&self) -> Checked {
        let target = self.publish("a").await?;
        let marker = Marker::new()?;
        target.try_write_if_allowed(&marker).await?;
        let holder = target.hold(InUse::Namespace, &marker)?;
        // What was answered with OK need not be answered a second time.
        let unpublished = target.ask_unpublish().await?.is_ok();
        let unstaged = unpublished && self.path.is_some() && self.ask_unstage().await?.is_ok();
        drop(holder);
        if !unpublished || target.mount_left("afterwards").await?.is_some() {
            target.unpublish().await?;
        }
        match unstaged && self.mount_left("afterwards").await?.is_none() {
            true => Ok(()),
            false => self.unstage().await,
        }
    }
}

fn put_out_of_sight(way: InUse, used: &str) -> String {
    format!(
        "{way}, everything was answered with OK, no mount is to be seen, and {used}: it was only put out of sight"
    )
}
