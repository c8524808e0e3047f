//! A volume whose disk we can break, and what becomes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::session::LOOK;
use super::stop::{Checked, Stop};
use super::volume::{Volume, Want};
use super::wait::Patience;
use crate::lab::{self, Disk, Mood};
use crate::node::{self, BackingId, DiskId, Look, LookError, LoopDevice, Mount, Seen};

/// Disks have whole sectors, whatever their size, in bytes.
const SECTORS: u64 = 4096;

/// How long a disk hangs at most, whatever a check does meanwhile.
const HANGS: Duration = Duration::from_secs(8);

/// A volume that was used once, holds a marker, is on no node, and whose disk is ours
/// to break from now on.
#[derive(Debug)]
pub struct Breakable<'a> {
    volume: Volume<'a>,
    marker: Marker,
    /// None: its disk is not ours, but a file system on it may be stopped.
    disk: Option<Arc<Disk>>,
}

impl Cx {
    /// A volume whose disk, or whose file system, can be broken under it.
    ///
    /// # Errors
    /// A step failed.
    pub async fn breakable(&self) -> Result<Breakable<'_>, Stop> {
        let (volume, marker, image) = self.used_once(Want::any()).await?;
        let disk = match image {
            Ok(image) => interpose(self, &image).await.ok(),
            Err(_) => None,
        };
        Ok(Breakable::of(volume, marker, disk))
    }

    /// A volume whose disk is ours.
    ///
    /// # Errors
    /// A step failed; the driver's volumes are not of that kind; the host cannot.
    pub async fn breakable_disk(&self) -> Result<Breakable<'_>, Stop> {
        let (volume, marker, image) = self.used_once(Want::any()).await?;
        let disk = interpose(self, &image?).await?;
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

    /// As [`Cx::marked`], with the image behind its loop device.
    async fn used_once(
        &self,
        want: Want,
    ) -> Result<(Volume<'_>, Marker, Result<PathBuf, Stop>), Stop> {
        let (target, marker) = self.in_use(want).await?;
        let (staged, volume) = (target.staged(), target.staged().volume());
        let image = image(&volume).await;
        target.unpublish().await?;
        staged.unstage().await?;
        volume.detach().await?;
        let left = volume.devices_left().await;
        let image = match left.first() {
            Some(device) => Err(Stop::not_offered(format!(
                "loop devices that go when the volume is unstaged ({device} stays)"
            ))),
            None => image,
        };
        Ok((volume, marker, image))
    }
}

/// The file behind the loop device that carries a volume.
async fn image(volume: &Volume<'_>) -> Result<PathBuf, Stop> {
    let need = || Stop::not_offered("volumes on loop devices, with an image that can be seen");
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

async fn interpose(cx: &Cx, image: &Path) -> Result<Arc<Disk>, Stop> {
    let (path, journal) = (image.to_owned(), cx.session.journal.clone());
    let made = tokio::task::spawn_blocking(move || Disk::over(&path, journal)).await;
    let made = made.map_err(|error| Stop::ours("put a disk of ours over an image", error))?;
    let disk = made.map_err(|error| Stop::no_host(format!("FUSE: {error}")))?;
    cx.fact(
        "disk",
        format!("{} is served by us from now on", image.display()),
    );
    Ok(Arc::new(disk))
}

impl<'a> Breakable<'a> {
    fn of(volume: Volume<'a>, marker: Marker, disk: Option<Arc<Disk>>) -> Self {
        volume.with(|claim| claim.disk.clone_from(&disk));
        Self {
            volume,
            marker,
            disk,
        }
    }

    /// The volume.
    pub fn volume(&self) -> Volume<'a> {
        self.volume
    }

    /// What was written to it.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    fn cx(&self) -> &'a Cx {
        self.volume.cx
    }

    fn becomes(&self, mood: Mood, how: &str) {
        if let Some(disk) = &self.disk {
            self.is_harmed();
            self.cx().fact("disk", format!("from now on, {how}"));
            disk.set(mood);
        }
    }

    /// Lets every read of it fail, until something is written to it or is about to be.
    pub fn is_unreadable(&self) {
        self.becomes(
            Mood::Unreadable,
            "every read is an I/O error, until it is written to or formatted",
        );
    }

    /// Lets it end half way, until somebody makes it longer. What lies behind is kept.
    ///
    /// # Errors
    /// Nobody knows how long the volume is.
    pub fn is_cut_short(&self) -> Checked {
        let whole = u64::try_from(self.volume.capacity()).unwrap_or_default();
        let half = whole / 2 / SECTORS * SECTORS;
        if half == 0 {
            return Err(Stop::not_offered("volumes with a capacity_bytes"));
        }
        let how = format!("it is {half} bytes long, and was {whole}");
        self.becomes(Mood::Short(half), &how);
        Ok(())
    }

    /// Lets it answer nothing, for some seconds at most.
    pub fn hangs(&self) {
        self.becomes(Mood::Hangs, "reads and writes are not answered");
        // Whatever a check does meanwhile; and the disk may be gone before that.
        if let Some(disk) = self.disk.as_ref().map(Arc::downgrade) {
            tokio::spawn(async move {
                tokio::time::sleep(HANGS).await;
                match disk.upgrade() {
                    Some(disk) if disk.mood() == Mood::Hangs => disk.set(Mood::Well),
                    _ => {}
                }
            });
        }
    }

    /// Undoes all harm.
    pub fn heals(&self) {
        self.becomes(Mood::Well, "it is well");
    }

    /// Since when it is well again.
    pub fn healed(&self) -> Instant {
        let healed = self.disk.as_ref().and_then(|disk| disk.healed());
        healed.unwrap_or_else(Instant::now)
    }

    /// Waits until somebody waits for it.
    ///
    /// # Errors
    /// Nobody asked it for anything.
    pub async fn is_waited_for(&self) -> Checked {
        let mut patience = Patience::brisk(HANGS);
        while !self.disk.as_ref().is_some_and(|disk| disk.was_asked()) {
            if !patience.wait().await {
                return self.was_asked();
            }
        }
        Ok(())
    }

    /// The driver asked it for something while it was ill.
    ///
    /// # Errors
    /// It did not: its volumes do not lie on the image when they are used.
    pub fn was_asked(&self) -> Checked {
        match &self.disk {
            Some(disk) if disk.was_asked() => Ok(()),
            _ => Err(Stop::not_offered(
                "volumes that are read from their image when they are staged",
            )),
        }
    }

    /// Whether it was written to, or about to be formatted, while it could not be read or
    /// was too short.
    pub fn was_written(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.was_written())
    }

    /// Takes the disk from under the published volume: reads and writes are I/O
    /// errors. Where the disk is not ours, its file system is stopped, which a
    /// workload cannot tell from that.
    ///
    /// # Errors
    /// It cannot be done with this volume, or a workload notices nothing.
    pub async fn fails_under(&self, published: &Published<'_>) -> Checked {
        published.may_write()?;
        let mounts = published.mounts("before").await?;
        let Some(mount) = mounts.last().cloned() else {
            return Err(Stop::not_offered("volumes that are mounted at target_path"));
        };
        let ours = self.devices_on_our_disk();
        match &self.disk {
            Some(disk) if !ours.is_empty() => {
                self.becomes(Mood::Fails, "every read and write is an I/O error");
                // What nobody wrote to for a while, nobody knows to be gone.
                let written = Marker::new()?.write_file(&published.target().ours);
                let _ = see::look(self.cx(), written).await?;
                let disk = disk.clone();
                let _ = tokio::task::spawn_blocking(move || disk.forget_cached()).await;
            }
            _ => self.stops_file_system(&mount, published).await?,
        }
        match published.trouble(&self.marker).await? {
            Some(_) => Ok(()),
            None => Err(Stop::Unknown(
                "the disk fails, and a workload does not notice".to_owned(),
            )),
        }
    }

    /// The loop devices that are attached to our disk now.
    fn devices_on_our_disk(&self) -> Vec<DiskId> {
        let Some(disk) = &self.disk else {
            return Vec::new();
        };
        let all = node::loops().unwrap_or_default();
        let on_it = |device: &&LoopDevice| device.backing == disk.path();
        all.iter().filter(on_it).map(|device| device.id).collect()
    }

    /// From here on what the kernel says of it is our doing.
    fn is_harmed(&self) {
        self.cx().session.harms_disks(&self.cx().id);
        self.volume.with(|claim| claim.harmed = true);
    }

    /// Only a file system of its own, that is mounted nowhere but where this volume
    /// was asked for.
    async fn stops_file_system(&self, mount: &Mount, published: &Published<'_>) -> Checked {
        const STOPS: [&str; 3] = ["ext4", "xfs", "f2fs"];
        let cx = self.cx();
        let places: Vec<PathBuf> = self.volume.with(|claim| {
            let all = claim.targets.iter().chain(&claim.staged);
            all.map(|path| path.ours.clone()).collect()
        });
        let table = cx.mounts()?;
        let (major, minor) = mount.dev();
        let is_ours = |other: &&Mount| places.iter().any(|place| other.point.starts_with(place));
        let all = table.of_device(major, minor);
        let alone = !all.is_empty() && all.iter().all(is_ours);
        let stops = STOPS.contains(&mount.fs_type.as_str());
        if mount.root != Path::new("/") || !alone || !stops {
            return Err(Stop::not_offered(
                "volumes with a file system of their own that can be stopped (ext4, xfs)",
            ));
        }
        self.is_harmed();
        let path = published.target().ours.clone();
        let stopped = tokio::task::spawn_blocking(move || lab::shut_down(&path)).await;
        let wrong = |error: &dyn std::fmt::Display| Stop::ours("stop a file system", error);
        let stopped = stopped.map_err(|e| wrong(&e))?.map_err(|e| wrong(&e))?;
        stopped.ok_or_else(|| Stop::no_host("a kernel that stops this file system"))?;
        cx.fact("file system", "from now on, it is stopped");
        Ok(())
    }
}

impl Published<'_> {
    /// What a workload is told that writes a file, lists the folder and reads what is
    /// there: the first error; none: all is well.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn trouble(&self, marker: &Marker) -> Result<Option<String>, Stop> {
        let path = &self.target().ours;
        let looks = [
            Marker::new()?.write_file(path),
            Look::ReadDir {
                path: path.clone(),
                max: 1,
            },
            marker.read_look(path, super::step::Access::Mount),
        ];
        for look in looks {
            match see::look(self.cx(), look).await? {
                Err(error) => {
                    self.cx().fact("a workload is told", error.to_string());
                    return Ok(Some(error.to_string()));
                }
                Ok(Seen::Bytes(bytes)) if !marker.is(&bytes) => {
                    return Ok(Some("other bytes than were written".to_owned()));
                }
                Ok(_) => {}
            }
        }
        Ok(None)
    }
}

/// Heals the disks that a check broke, before what it made is taken back.
pub(super) fn heal(cx: &Cx) {
    for volume in &cx.claims().volumes {
        if let Some(disk) = &volume.disk {
            disk.set(Mood::Well);
        }
    }
}

/// Takes away the disk of ours beneath a volume that is off the node; whether there
/// was harm: such a volume serves no other check.
pub(super) async fn lift(volume: &mut VolumeClaim) -> bool {
    let disk = volume.disk.take();
    let spoiled = disk.is_some() || volume.harmed;
    if let Some(disk) = disk {
        let lifted = tokio::task::spawn_blocking(move || disk.lift()).await;
        if let Ok(Err(error)) = lifted {
            tracing::warn!(%error, "a disk of ours stays over its image");
        }
    }
    spoiled
}
