//! A volume whose disk we can break, and what becomes of it.

mod find;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::stop::{Checked, Stop};
use super::volume::Volume;
use super::wait::Patience;
use crate::lab::{self, Mood, OurDisk};
use crate::node::{Look, Mount, Seen};

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
    disk: Option<Arc<OurDisk>>,
}

impl<'a> Breakable<'a> {
    fn of(volume: Volume<'a>, marker: Marker, disk: Option<Arc<OurDisk>>) -> Self {
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

    async fn becomes(&self, mood: Mood, how: &str) -> Checked {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        self.is_harmed();
        self.cx().fact("disk", format!("from now on, {how}"));
        set(disk.clone(), mood).await.map_err(|why| match mood {
            Mood::Well => Stop::ours("make a disk well again", why),
            _ => Stop::no_host(format!("a disk that can be broken: {why}")),
        })
    }

    /// Lets every read of it fail: if it is an image, until something is written to it or
    /// is about to be.
    ///
    /// # Errors
    /// The host cannot.
    pub async fn is_unreadable(&self) -> Checked {
        let how = match self.disk.as_deref() {
            Some(OurDisk::Mapped(_)) => "every read and write is an I/O error",
            _ => "every read is an I/O error, until it is written to or formatted",
        };
        self.becomes(Mood::Unreadable, how).await
    }

    /// Lets it end half way, until somebody makes it longer. What lies behind is kept.
    ///
    /// # Errors
    /// Nobody knows how long the volume is; the host cannot.
    pub async fn is_cut_short(&self) -> Checked {
        let whole = u64::try_from(self.volume.capacity()).unwrap_or_default();
        let half = whole / 2 / SECTORS * SECTORS;
        if half == 0 {
            return Err(Stop::not_offered("volumes with a capacity_bytes"));
        }
        let how = format!("it is {half} bytes long, and was {whole}");
        self.becomes(Mood::Short(half), &how).await
    }

    /// Lets it answer nothing, for some seconds at most.
    ///
    /// # Errors
    /// The host cannot.
    pub async fn hangs(&self) -> Checked {
        let how = "reads and writes are not answered";
        self.becomes(Mood::Hangs, how).await?;
        // Whatever a check does meanwhile; and the disk may be gone before that.
        if let Some(disk) = self.disk.as_ref().map(Arc::downgrade) {
            tokio::spawn(async move {
                tokio::time::sleep(HANGS).await;
                match disk.upgrade() {
                    Some(disk) if disk.mood() == Mood::Hangs => {
                        let _ = set(disk, Mood::Well).await;
                    }
                    _ => {}
                }
            });
        }
        Ok(())
    }

    /// Undoes all harm.
    ///
    /// # Errors
    /// Some of it stays: our own fault.
    pub async fn heals(&self) -> Checked {
        self.becomes(Mood::Well, "it is well").await
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
    /// It did not: its volumes do not lie on that disk when they are used.
    pub fn was_asked(&self) -> Checked {
        match &self.disk {
            Some(disk) if disk.was_asked() => Ok(()),
            _ => Err(Stop::not_offered(
                "volumes that are read from their disk when they are staged",
            )),
        }
    }

    /// Whether it was written to, or about to be formatted, while it could not be read or
    /// was too short.
    pub fn was_written(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.was_written())
    }

    /// Whether the same was done to a disk that stays ill whoever writes to it: then its
    /// data is there still, and nobody's merit.
    pub fn was_written_in_vain(&self) -> bool {
        matches!(self.disk.as_deref(), Some(OurDisk::Mapped(_))) && self.was_written()
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
        match &self.disk {
            Some(disk) if disk.carries(&mount) => {
                let how = "every read and write is an I/O error";
                self.becomes(Mood::Fails, how).await?;
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
        let alone = find::is_mounted_for_it_alone(published, mount)?;
        let stops = STOPS.contains(&mount.fs_type.as_str());
        if !alone || !stops {
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

async fn set(disk: Arc<OurDisk>, mood: Mood) -> Result<(), String> {
    let set = tokio::task::spawn_blocking(move || disk.set(mood)).await;
    set.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

/// Heals the disks that a check broke, before what it made is taken back.
pub(super) async fn heal(cx: &Cx) {
    let disks: Vec<_> = cx
        .claims()
        .volumes
        .iter()
        .filter_map(|v| v.disk.clone())
        .collect();
    for disk in disks {
        if let Err(error) = set(disk, Mood::Well).await {
            tracing::warn!(%error, "a disk stays ill");
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
            tracing::warn!(%error, "a disk of ours is not lifted");
        }
    }
    spoiled
}
