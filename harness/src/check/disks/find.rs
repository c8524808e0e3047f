//! The disk behind a volume, and whether it is ours to break.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Breakable;
use crate::check::cx::Cx;
use crate::check::marker::Marker;
use crate::check::published::Published;
use crate::check::session::LOOK;
use crate::check::stop::Stop;
use crate::check::volume::{Volume, Want};
use crate::lab::{Disk, Mapped, OurDisk};
use crate::node::{self, BackingId, LookError, LoopDevice, MappedDevice, Mount};

/// What a volume was seen to lie on.
enum Behind {
    /// The image behind a loop device.
    Image(PathBuf),
    /// A device-mapper device of its own.
    Mapped(MappedDevice),
}

impl Cx {
    /// A volume whose disk, or whose file system, can be broken under it.
    ///
    /// # Errors
    /// A step failed.
    pub async fn breakable(&self) -> Result<Breakable<'_>, Stop> {
        let (volume, marker, behind) = self.used_once(Want::any()).await?;
        let disk = match behind {
            Ok(behind) => take(self, behind).await.ok(),
            Err(_) => None,
        };
        Ok(Breakable::of(volume, marker, disk))
    }

    /// A volume whose disk is ours.
    ///
    /// # Errors
    /// A step failed; the driver's volumes are not of that kind; the host cannot.
    pub async fn breakable_disk(&self) -> Result<Breakable<'_>, Stop> {
        let (volume, marker, behind) = self.used_once(Want::any()).await?;
        let disk = take(self, behind?).await?;
        Ok(Breakable::of(volume, marker, Some(disk)))
    }

    /// A volume that was on the node once, with a marker in it.
    ///
    /// # Errors
    /// A step failed.
    pub async fn marked_volume(&self) -> Result<(Volume<'_>, Marker), Stop> {
        self.marked(Want::any()).await
    }

    /// The same, of this kind.
    ///
    /// # Errors
    /// A step failed.
    pub async fn marked(&self, want: Want) -> Result<(Volume<'_>, Marker), Stop> {
        let (volume, marker, _) = self.used_once(want).await?;
        Ok((volume, marker))
    }

    /// A volume at a target path, with a marker in it, whose data outlives its pod.
    ///
    /// # Errors
    /// A step failed, or the volumes are ephemeral.
    pub async fn in_use(&self, want: Want) -> Result<(Published<'_>, Marker), Stop> {
        let volume = self.volume(want).await?;
        volume.keeps_data()?;
        let target = volume.stage().await?.publish("a").await?;
        let marker = Marker::new()?;
        target.write(&marker).await?;
        Ok((target, marker))
    }

    /// As [`Cx::marked`], with what it was seen to lie on.
    async fn used_once(
        &self,
        want: Want,
    ) -> Result<(Volume<'_>, Marker, Result<Behind, Stop>), Stop> {
        let (target, marker) = self.in_use(want).await?;
        let (staged, volume) = (target.staged(), target.staged().volume());
        let image = image(&volume).await;
        let mapped = mapped(&target).await;
        target.unpublish().await?;
        staged.unstage().await?;
        volume.detach().await?;
        let left = volume.devices_left().await;
        let behind = match (left.first(), image, mapped) {
            (Some(device), Ok(_), _) => Err(Stop::not_offered(format!(
                "loop devices that go when the volume is unstaged ({device} stays)"
            ))),
            (_, Ok(image), _) => Ok(Behind::Image(image)),
            (_, Err(_), Ok(Some(device))) => is_off_the_node(device).map(Behind::Mapped),
            (_, Err(_), Err(why)) => Err(why),
            (_, Err(why), Ok(None)) => Err(why),
        };
        Ok((volume, marker, behind))
    }
}

/// The file behind the loop device that carries a volume.
async fn image(volume: &Volume<'_>) -> Result<PathBuf, Stop> {
    let need = || {
        Stop::not_offered(
            "volumes on loop devices, with an image that can be seen, or on device-mapper devices",
        )
    };
    let device = volume.with(|claim| claim.devices.last().cloned());
    let device = device
        .filter(|device| !device.backing_deleted)
        .ok_or_else(need)?;
    if !volume.cx.facts().same_namespace {
        return Err(Stop::no_host("a driver in our own mount namespace"));
    }
    match is_behind(&device.backing, &device).await {
        Ok(true) => Ok(device.backing),
        _ => Err(need()),
    }
}

/// Whether this path leads to the very file behind the device.
async fn is_behind(path: &Path, device: &LoopDevice) -> Result<bool, LookError> {
    let stat = node::look::stat(path, LOOK).await?;
    let behind = device.backing_id(LOOK).await?;
    let found = BackingId {
        dev: stat.dev,
        ino: stat.ino,
    };
    Ok(behind == Some(found))
}

/// The device-mapper device that a volume is mounted from, where nobody but this volume
/// uses it; none where it is no such device.
async fn mapped(target: &Published<'_>) -> Result<Option<MappedDevice>, Stop> {
    let mounts = target.mounts("where its disk is looked for").await?;
    let Some(mount) = mounts.last() else {
        return Ok(None);
    };
    let (major, minor) = mount.dev();
    let look = |error: io::Error| Stop::ours("look for a device-mapper device", error);
    let Some(device) = MappedDevice::numbered(major, minor).map_err(look)? else {
        return Ok(None);
    };
    let used = |by: String| {
        Stop::not_offered(format!(
            "volumes that have {} for themselves ({by} uses it)",
            device.name
        ))
    };
    if !is_mounted_for_it_alone(target, mount)? {
        return Err(used("another mount".to_owned()));
    }
    if let Some(holder) = device.holders().map_err(look)?.first() {
        return Err(used(holder.clone()));
    }
    if let Some(skip) = target.cx().facts().lacks_device_mapper() {
        return Err(Stop::Lack(skip));
    }
    Ok(Some(device))
}

/// Whether a file system is one that is mounted nowhere but where this volume was asked for.
pub(super) fn is_mounted_for_it_alone(target: &Published<'_>, mount: &Mount) -> Result<bool, Stop> {
    let volume = target.staged().volume();
    let places: Vec<PathBuf> = volume.with(|claim| {
        let all = claim.targets.iter().chain(&claim.staged);
        all.map(|path| path.ours.clone()).collect()
    });
    let table = volume.cx.mounts()?;
    let (major, minor) = mount.dev();
    let is_ours = |other: &&Mount| places.iter().any(|place| other.point.starts_with(place));
    let all = table.of_device(major, minor);
    Ok(mount.root == Path::new("/") && !all.is_empty() && all.iter().all(is_ours))
}

/// A device whose volume was unstaged: it is there still, and mounted by nobody.
fn is_off_the_node(device: MappedDevice) -> Result<MappedDevice, Stop> {
    if !device.is_there() {
        return Err(Stop::not_offered(
            "device-mapper devices that stay when the volume is unstaged",
        ));
    }
    match node::mountinfo::is_mounted_anywhere(device.id.number) {
        Ok(false) => Ok(device),
        Ok(true) => Err(Stop::not_offered(format!(
            "volumes that are mounted nowhere when they are unstaged ({} is)",
            device.name
        ))),
        Err(error) => Err(Stop::ours("look who has a device mounted", error)),
    }
}

/// Makes a disk ours.
async fn take(cx: &Cx, behind: Behind) -> Result<Arc<OurDisk>, Stop> {
    let journal = cx.session.journal.clone();
    let (told, need) = match &behind {
        Behind::Image(image) => (
            format!("{} is served by us from now on", image.display()),
            "FUSE",
        ),
        Behind::Mapped(device) => (
            format!(
                "the table of {} ({}) is ours to change",
                device.name, device.kernel_name
            ),
            "device-mapper",
        ),
    };
    let make = move || match behind {
        Behind::Image(image) => Disk::over(&image, journal).map(OurDisk::Image),
        Behind::Mapped(device) => Mapped::over(device, journal).map(OurDisk::Mapped),
    };
    let made = tokio::task::spawn_blocking(make).await;
    let made = made.map_err(|error| Stop::ours("make a disk ours", error))?;
    let disk = made.map_err(|error| Stop::no_host(format!("{need}: {error}")))?;
    cx.fact("disk", told);
    Ok(Arc::new(disk))
}
