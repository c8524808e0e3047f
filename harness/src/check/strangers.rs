//! What a stranger does to the paths of a volume: something else is mounted there
//! beforehand, or its mount is taken away behind the driver's back.

use std::path::{Path, PathBuf};

use csi_proto::rpc;
use csi_proto::v1;

use super::cx::{Asked, Cx};
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::staged::Staged;
use super::step::Access;
use super::stop::{Checked, Stop};
use super::volume::{Volume, owned};
use crate::lab::{self, DeadMount, Holder, OurMount, OurPath};
use crate::node::{self, LoopDevice, Seen};

/// A small file system with a file in it, mounted at a path of a volume's.
#[derive(Debug)]
pub struct Stranger<'a> {
    cx: &'a Cx,
    canary: Marker,
    there: OurMount,
    home: OurMount,
    folder: OurPath,
}

impl Cx {
    /// Mounts one at a folder of ours.
    ///
    /// # Errors
    /// Our own.
    pub async fn stranger_at(&self, path: &OurPath) -> Result<Stranger<'_>, Stop> {
        let wrong = |error: &dyn std::fmt::Display| {
            Stop::ours(
                format!("mount a stranger at {}", path.ours.display()),
                error,
            )
        };
        let folder = self.folder_of_ours().map_err(|e| wrong(&e))?;
        let home = OurMount::memory(&folder.ours).map_err(|e| wrong(&e))?;
        let canary = Marker::new()?;
        let written = see::look(self, canary.write_file(&folder.ours)).await?;
        written.map_err(|e| wrong(&e))?;
        let there = OurMount::bind(&folder.ours, self.session.touches(&path.ours));
        let there = there.map_err(|e| wrong(&e))?;
        self.fact(
            "a stranger",
            format!("another file system is mounted at {}", path.ours.display()),
        );
        Ok(Stranger {
            cx: self,
            canary,
            there,
            home,
            folder,
        })
    }

    /// A mount elsewhere on the node that answers nothing, until it is dropped.
    ///
    /// # Errors
    /// There is no FUSE.
    pub fn dead_mount(&self) -> Result<Dead, Stop> {
        let folder = self
            .folder_of_ours()
            .map_err(|error| Stop::ours("make a folder", error))?;
        let mount =
            DeadMount::at(&folder.ours).map_err(|error| Stop::no_host(format!("FUSE: {error}")))?;
        self.fact(
            "a dead mount",
            format!("{} answers nothing from now on", folder.ours.display()),
        );
        Ok(Dead { mount, folder })
    }

    fn folder_of_ours(&self) -> Result<OurPath, lab::JournalError> {
        let number = self.session.number().to_string();
        let layout = &self.session.layout;
        layout.staging("stranger", &number, Access::Mount)
    }
}

impl Stranger<'_> {
    /// What lies in it is there still, wherever it is mounted.
    ///
    /// # Errors
    /// It is not: somebody deleted what was nobody's to delete.
    pub async fn is_unharmed(&self) -> Checked {
        let look = self.canary.read_look(&self.folder.ours, Access::Mount);
        match see::look(self.cx, look).await? {
            Ok(Seen::Bytes(bytes)) if self.canary.is(&bytes) => Ok(()),
            _ => Err(Stop::fail(
                "a file of another file system, which was mounted at the path beforehand, is gone",
            )),
        }
    }

    /// Whether its file shows at a target.
    ///
    /// # Errors
    /// It does: the driver shows what is not the volume.
    pub async fn is_not_at(&self, target: &Published<'_>) -> Checked {
        target.lacks(&self.canary).await
    }

    /// Takes it away from the path, if nothing is on top of it.
    ///
    /// # Errors
    /// Our own.
    pub fn leaves(&self) -> Checked {
        let left = self.there.lift();
        left.map_err(|error| Stop::ours("take a mount of ours away", error))
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        let lifted = self.there.lift().and_then(|()| self.home.lift());
        if lifted.is_ok() {
            let _ = self.folder.remove();
        }
    }
}

/// A mount elsewhere on the node that answers nothing, until this is dropped.
#[derive(Debug)]
pub struct Dead {
    mount: DeadMount,
    folder: OurPath,
}

impl Drop for Dead {
    fn drop(&mut self) {
        if self.mount.lift().is_ok() {
            let _ = self.folder.remove();
        }
    }
}

impl<'a> Published<'a> {
    /// What is published here, mounted at another path of ours too, until this is
    /// dropped.
    ///
    /// # Errors
    /// Our own.
    pub fn is_also_at(&self, path: &OurPath) -> Result<OurMount, Stop> {
        let there = OurMount::bind(&self.target.ours, self.cx().session.touches(&path.ours));
        let there = there.map_err(|error| {
            Stop::ours(
                format!("mount another volume at {}", path.ours.display()),
                error,
            )
        })?;
        self.cx().fact(
            "a stranger",
            format!("another volume is mounted at {}", path.ours.display()),
        );
        Ok(there)
    }

    /// Takes its mount away, and the driver is not told.
    ///
    /// # Errors
    /// There is none, or our own.
    pub fn loses_its_mount(&self) -> Checked {
        // Whether it can be taken back then, one check asks.
        let target = self.target.clone();
        self.staged.volume.with(|claim| claim.not_owed.push(target));
        loses(self.cx(), &self.target)
    }

    /// How it is measured; a refusal is an answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_stats(&self) -> Result<Asked<v1::NodeGetVolumeStatsResponse>, Stop> {
        let request = v1::NodeGetVolumeStatsRequest {
            volume_id: self.staged.volume.id(),
            volume_path: self.target.drivers.clone(),
            staging_target_path: self.request.staging_target_path.clone(),
        };
        self.cx()
            .ask_patiently::<rpc::NodeGetVolumeStats>(&request)
            .await
    }
}

impl<'a> Staged<'a> {
    /// Takes the mount at the staging path away, and the driver is not told.
    ///
    /// # Errors
    /// There is none, or our own.
    pub fn loses_its_mount(&self) -> Checked {
        match &self.path {
            Some(path) => loses(self.volume.cx, path),
            None => Err(Stop::not_offered("a mount at staging_target_path")),
        }
    }

    /// The volume as it would be at the target of this name, which nobody has asked
    /// for yet.
    ///
    /// # Errors
    /// The parent of the target cannot be made.
    pub fn at_target(&self, name: &str) -> Result<Published<'a>, Stop> {
        let (request, target) = self.publish_request(name)?;
        Ok(Published {
            staged: self.clone(),
            target,
            request,
        })
    }

    /// A process that has the volume's loop device open, as a probe of udev's or a
    /// scrubber does. It ends when this is dropped. None: there is no such device.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn hold_device(&self) -> Result<Option<Holder>, Stop> {
        let device = self.volume.with(|claim| claim.devices.last().cloned());
        let there = |device: &LoopDevice| {
            let now = LoopDevice::numbered(device.number);
            matches!(now, Ok(Some(now)) if now.id == device.id)
        };
        let Some(device) = device.filter(there) else {
            return Ok(None);
        };
        let path: PathBuf = device.path();
        self.volume.cx.fact("held open", path.display().to_string());
        let held = Holder::open_file(&path);
        held.map(Some)
            .map_err(|e| Stop::ours(format!("hold {} open", path.display()), e))
    }
}

impl Published<'_> {
    /// Makes the mount point, as a caller may.
    ///
    /// # Errors
    /// Our own.
    pub fn makes_target(&self) -> Checked {
        self.staged.claims_target(&self.target);
        match std::fs::create_dir(&self.target.ours) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Stop::ours(
                format!("make {}", self.target.ours.display()),
                error,
            )),
            _ => Ok(()),
        }
    }
}

impl Volume<'_> {
    /// From now on it is asked for with these mount flags too.
    pub fn wants_flags(&self, flags: &[&str]) {
        self.with(|claim| claim.want.more_flags = owned(flags));
    }

    /// The file behind the loop device that it was last seen on.
    pub fn last_image(&self) -> Option<PathBuf> {
        self.with(|claim| claim.devices.last().map(|device| device.backing.clone()))
    }

    /// The loop devices that carry this image now.
    pub fn devices_of(&self, image: &Path) -> Vec<LoopDevice> {
        let mut all = node::loops().unwrap_or_default();
        all.retain(|device| device.backing == image);
        all
    }

    /// Those that came since, in words. Should one stay, it is this check's to take
    /// away.
    pub fn new_devices_of(&self, image: &Path, before: &[LoopDevice]) -> Vec<String> {
        let mut new = self.devices_of(image);
        new.retain(|device| !before.iter().any(|known| known.id == device.id));
        self.with(|claim| claim.devices.extend(new.iter().cloned()));
        new.iter().map(super::negate::device_words).collect()
    }
}

/// Unmounts all that is at a path of ours.
fn loses(cx: &Cx, path: &OurPath) -> Checked {
    let gone = lab::unmount_all(cx.session.touches(&path.ours));
    let gone = gone.map_err(|e| Stop::ours(format!("unmount {}", path.ours.display()), e))?;
    if gone == 0 {
        return Err(Stop::not_offered(format!(
            "a mount at {}",
            path.ours.display()
        )));
    }
    cx.fact(
        "unmounted behind the driver's back",
        path.ours.display().to_string(),
    );
    Ok(())
}

/// A link that a driver names in a context, led elsewhere until this is dropped.
#[derive(Debug)]
pub struct Misled {
    link: PathBuf,
    led_to: PathBuf,
}

impl<'a> Volume<'a> {
    /// The links that its publish context names, by key: the driver's other names for
    /// its device.
    pub fn aliases(&self) -> Vec<(String, PathBuf)> {
        let named = self.publish_context().into_iter();
        named
            .map(|(key, value)| (key, PathBuf::from(value)))
            .filter(|(_, path)| path.is_absolute() && path.is_symlink())
            .collect()
    }

    /// Lets a link of this volume's lead to where the other's of the same key leads,
    /// as after a rescan that gave the names anew. Only for a driver that runs on a
    /// scratch file system of ours.
    ///
    /// # Errors
    /// There is no such link, or our own.
    pub fn alias_leads_to(&self, other: &Volume<'_>) -> Result<Misled, Stop> {
        let need = "a link to the volume's device in publish_context";
        if self.cx.session.scratch.is_none() {
            return Err(Stop::no_host(
                "a driver that runs on a scratch file system of ours",
            ));
        }
        let theirs = other.aliases();
        let pair = self.aliases().into_iter().find_map(|(key, link)| {
            let (_, to) = theirs.iter().find(|(other, _)| *other == key)?;
            Some((link, std::fs::read_link(to).ok()?))
        });
        let (link, to) = pair.ok_or_else(|| Stop::not_offered(need))?;
        let wrong = |e| Stop::ours(format!("lead {} elsewhere", link.display()), e);
        let led_to = std::fs::read_link(&link).map_err(wrong)?;
        lead(&link, &to).map_err(wrong)?;
        self.cx.fact(
            "a link",
            format!("{} leads to {} from now on", link.display(), to.display()),
        );
        Ok(Misled { link, led_to })
    }
}

impl Drop for Misled {
    fn drop(&mut self) {
        // A driver may have put it right, or taken it away.
        if self.link.is_symlink()
            && let Err(error) = lead(&self.link, &self.led_to)
        {
            tracing::warn!(%error, link = %self.link.display(), "a link stays led elsewhere");
        }
    }
}

/// Replaces a link in one step.
fn lead(link: &Path, to: &Path) -> std::io::Result<()> {
    let mut aside = link.as_os_str().to_owned();
    aside.push(".csi-conformance");
    std::os::unix::fs::symlink(to, &aside)?;
    std::fs::rename(&aside, link)
}
