//! A volume that is published at a target path.

use std::path::Path;

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::volume_capability::access_mode::Mode;

use super::cx::Cx;
use super::marker::Marker;
use super::see::{self, Shown};
use super::staged::Staged;
use super::step::{Access, Step};
use super::stop::Stop;
use crate::lab::OurPath;
use crate::node::superblock;
use crate::node::{Look, LookError, Mount, Seen};

/// A volume at a target path, as far as the driver's answer goes.
#[derive(Debug, Clone)]
pub struct Published<'a> {
    pub(super) staged: Staged<'a>,
    pub(super) target: OurPath,
    pub(super) request: v1::NodePublishVolumeRequest,
}

impl<'a> Published<'a> {
    /// The staged volume beneath.
    pub fn staged(&self) -> &Staged<'a> {
        &self.staged
    }

    /// The target path.
    pub fn target(&self) -> &OurPath {
        &self.target
    }

    /// The request that published it.
    pub fn request(&self) -> &v1::NodePublishVolumeRequest {
        &self.request
    }

    pub(super) fn cx(&self) -> &'a Cx {
        self.staged.volume.cx
    }

    fn access(&self) -> Access {
        self.staged.volume.access()
    }

    /// Sees that the volume is there at all: mounted, or a block device.
    ///
    /// # Errors
    /// It is not: the failure of the publish step, or of mount propagation.
    pub(super) async fn is_there(&self) -> Result<(), Stop> {
        let cx = self.cx();
        let shown = see::shown_at(cx, &self.target, self.access(), "at OK").await?;
        let step = match shown {
            Shown::Volume => return Ok(()),
            Shown::OnlyToTheDriver(_) => Step::Propagates,
            Shown::Nothing(_) | Shown::OurOwnFolder(_) => Step::Publish(self.access()),
        };
        Err(cx.blame(step, format!("NodePublishVolume answered OK, and {shown}")))
    }

    /// The mounts at the target, bottom first.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn mounts(&self, when: &str) -> Result<Vec<Mount>, Stop> {
        see::mounts_at(self.cx(), &self.target, when).await
    }

    /// Whether the mount at the target is read-only, by itself or by its file
    /// system.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn is_read_only(&self) -> Result<bool, Stop> {
        Ok(self
            .mounts("now")
            .await?
            .last()
            .is_some_and(Mount::is_read_only))
    }

    /// Whether what is mounted is a folder of a larger file system, and not one of
    /// its own.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn is_a_folder(&self) -> Result<bool, Stop> {
        let mounts = self.mounts("now").await?;
        Ok(mounts
            .last()
            .is_some_and(|mount| mount.root != Path::new("/")))
    }

    /// Waits for the quiet period: for what a driver does after its answer.
    pub async fn quiet_period(&self) {
        tokio::time::sleep(self.cx().session.quiet()).await;
    }

    /// Whether the access mode is one of a writer.
    ///
    /// # Errors
    /// It is a reader's.
    pub fn is_for_writing(&self) -> Result<(), Stop> {
        let capability = self.staged.volume.capability();
        let mode = capability
            .access_mode
            .map(|mode| mode.mode())
            .unwrap_or_default();
        match mode {
            Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly => {
                Err(Stop::not_given("an access mode of a writer"))
            }
            _ => Ok(()),
        }
    }

    /// The volume is still there, when something else was taken away.
    ///
    /// # Errors
    /// It is not.
    pub async fn is_still_there(&self, when: &str) -> Result<(), Stop> {
        match see::shown_at(self.cx(), &self.target, self.access(), when).await? {
            Shown::Volume => Ok(()),
            shown => Err(Stop::fail(format!("{when}, {shown}"))),
        }
    }

    /// A mount that is left at the target, in words.
    ///
    /// # Errors
    /// The mounts cannot be read.
    pub async fn mount_left(&self, when: &str) -> Result<Option<String>, Stop> {
        see::mount_left(self.cx(), &self.target, when).await
    }

    /// Whether the target is read-only in the driver's own mount namespace, where
    /// that is not ours: flags of a mount that are changed there do not propagate.
    pub async fn is_read_only_to_the_driver(&self) -> bool {
        if self.cx().facts().same_namespace {
            return false;
        }
        let theirs = self.cx().session.drivers_mounts().await;
        let at = Path::new(&self.target.drivers);
        theirs.is_some_and(|table| {
            table
                .at(at)
                .last()
                .is_some_and(|mount| mount.is_read_only())
        })
    }

    /// Exactly one mount is at the target.
    ///
    /// # Errors
    /// There are more, or none.
    pub async fn is_mounted_once(&self) -> Result<(), Stop> {
        let mounts = self.mounts("now").await?;
        match mounts.len() {
            1 => Ok(()),
            n => Err(Stop::fail(format!(
                "{n} mounts are at the target path; one was due"
            ))),
        }
    }

    /// The same for a volume that is mounted; a block device may be a node of its own.
    ///
    /// # Errors
    /// There are more, or none.
    pub async fn is_mounted_once_if_mounted(&self) -> Result<(), Stop> {
        match self.access() {
            Access::Mount => self.is_mounted_once().await,
            Access::Block => Ok(()),
        }
    }

    /// The names in the folder that the mount at the target hides; none: it is empty.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn lies_beneath(&self) -> Result<Option<String>, Stop> {
        let listed = |path| Look::ListBeneath {
            path,
            names: 1,
            max: 20,
        };
        match self.look(listed).await? {
            Ok(Seen::Names(listing)) if listing.names.is_empty() => Ok(None),
            Ok(Seen::Names(listing)) => {
                let names = listing.names.iter().map(|name| name.name.to_string_lossy());
                Ok(Some(names.collect::<Vec<_>>().join(", ")))
            }
            Ok(other) => Err(Stop::ours("list beneath a mount", format!("{other:?}"))),
            // The mount that holds it cannot be copied: its folder is not to be seen.
            Err(_) => Ok(None),
        }
    }

    /// Publishes it once more at the same place, with the same request.
    ///
    /// # Errors
    /// No answer.
    pub async fn publish_again(
        &self,
    ) -> Result<super::cx::Asked<v1::NodePublishVolumeResponse>, Stop> {
        self.staged
            .send_publish(self.request.clone(), &self.target)
            .await
    }

    /// Writes a marker into the volume.
    ///
    /// # Errors
    /// It cannot be written: the failure of the write step.
    pub async fn write(&self, marker: &Marker) -> Result<(), Stop> {
        self.is_for_writing()?;
        self.try_write(marker).await?.map_err(|why| {
            let step = Step::Write(self.access());
            self.cx().blame(
                step,
                format!("a writer published the volume, and cannot write: {why}"),
            )
        })
    }

    /// Tries to write a marker; the inner error is why the kernel refused.
    ///
    /// # Errors
    /// It cannot be told, or we are not allowed to write to this volume.
    pub async fn try_write(&self, marker: &Marker) -> Result<Result<(), String>, Stop> {
        self.may_write()?;
        // Never onto the bare folder, which is the node's own disk.
        self.is_still_there("before a write").await?;
        let path = &self.target.ours;
        let written = match self.access() {
            Access::Mount => see::look(self.cx(), marker.write_file(path)).await?,
            Access::Block => match see::own_disk(self.cx(), &self.target).await? {
                Ok(disk) => see::look(self.cx(), marker.write_device(path, disk)).await?,
                Err(error) => Err(error),
            },
        };
        Ok(match written {
            Ok(_) => {
                let (volume, check) = (self.staged.volume.id(), &self.cx().id);
                self.cx().session.marks(marker, volume, check);
                self.cx().fact(
                    "marker",
                    format!("{marker} written through {}", self.target.ours.display()),
                );
                Ok(())
            }
            Err(error) => {
                let why = error.to_string();
                self.cx().fact("write refused", why.clone());
                Err(why)
            }
        })
    }

    /// Writes a marker where that is allowed and possible; whether it was written.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn try_write_if_allowed(&self, marker: &Marker) -> Result<bool, Stop> {
        if self.is_for_writing().is_err() || self.may_write().is_err() {
            return Ok(false);
        }
        Ok(self.try_write(marker).await?.is_ok())
    }

    pub(super) fn may_write(&self) -> Result<(), Stop> {
        let read_only = self.staged.volume.with(|claim| claim.given_read_only);
        if read_only {
            return Err(Stop::not_given(
                "a volume that may be written to (scratch: true)",
            ));
        }
        Ok(())
    }

    /// The marker is in the volume.
    ///
    /// # Errors
    /// It is not, or other bytes are there.
    pub async fn shows(&self, marker: &Marker) -> Result<(), Stop> {
        match self.read(marker).await? {
            Some(bytes) if marker.is(&bytes) => Ok(()),
            Some(_) => Err(Stop::fail(format!(
                "other bytes than the marker {marker} are in the volume at {}",
                self.target.ours.display()
            ))),
            None => {
                if let Some(other) = self.marked_by_another().await? {
                    self.cx().fact("another volume", other);
                }
                Err(Stop::fail(format!(
                    "the marker {marker} is not in the volume at {}",
                    self.target.ours.display()
                )))
            }
        }
    }

    /// Whether the marker is in the volume.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub async fn holds(&self, marker: &Marker) -> Result<bool, Stop> {
        let found = self.read(marker).await?;
        Ok(found.is_some_and(|bytes| marker.is(&bytes)))
    }

    /// The marker is not in the volume.
    ///
    /// # Errors
    /// It is: this is the volume that it was written to.
    pub async fn lacks(&self, marker: &Marker) -> Result<(), Stop> {
        match self.holds(marker).await? {
            true => Err(Stop::fail(format!(
                "the marker {marker} of another volume is at {}",
                self.target.ours.display()
            ))),
            false => Ok(()),
        }
    }

    /// Whose markers are in the volume, where they are another volume's: this one was
    /// swapped for it.
    async fn marked_by_another(&self) -> Result<Option<String>, Stop> {
        let listed = self.look(|path| Look::ReadDir { path, max: 200 }).await?;
        let Ok(Seen::Names(listing)) = listed else {
            return Ok(None);
        };
        let marked =
            |file: &crate::node::look::Name| self.cx().session.marked(&file.name.to_string_lossy());
        Ok(listing.names.iter().find_map(marked))
    }

    async fn read(&self, marker: &Marker) -> Result<Option<Vec<u8>>, Stop> {
        match see::look(
            self.cx(),
            marker.read_look(&self.target.ours, self.access()),
        )
        .await?
        {
            Ok(Seen::Bytes(bytes)) => Ok(Some(bytes)),
            Ok(other) => Err(Stop::ours("read a marker", format!("{other:?}"))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Stop::fail(format!("the volume cannot be read: {error}"))),
        }
    }

    /// The file system that stands on the block device at the target, if any.
    ///
    /// # Errors
    /// The device cannot be read.
    pub async fn file_system_on_device(&self) -> Result<Option<&'static str>, Stop> {
        let read = async |offset| {
            let look = |path| Look::ReadDevice {
                path,
                offset,
                len: superblock::HEAD,
            };
            match self.look(look).await? {
                Ok(Seen::Bytes(bytes)) => Ok(bytes),
                Ok(other) => Err(Stop::ours("read a block device", format!("{other:?}"))),
                Err(error) => Err(Stop::fail(format!(
                    "the block device cannot be read: {error}"
                ))),
            }
        };
        if let Some(found) = superblock::at_head(&read(0).await?) {
            return Ok(Some(found));
        }
        Ok(superblock::is_btrfs(&read(superblock::BTRFS_AT).await?).then_some("btrfs"))
    }

    /// One look at the target path.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn look(
        &self,
        look: impl FnOnce(std::path::PathBuf) -> Look,
    ) -> Result<Result<Seen, LookError>, Stop> {
        see::look(self.cx(), look(self.target.ours.clone())).await
    }

    /// The request that takes the publication back.
    pub fn unpublish_request(&self) -> v1::NodeUnpublishVolumeRequest {
        v1::NodeUnpublishVolumeRequest {
            volume_id: self.staged.volume.id(),
            target_path: self.target.drivers.clone(),
        }
    }

    /// Asks to take the publication back, and looks at nothing.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask_unpublish(
        &self,
    ) -> Result<super::cx::Asked<v1::NodeUnpublishVolumeResponse>, Stop> {
        self.cx()
            .ask_patiently::<rpc::NodeUnpublishVolume>(&self.unpublish_request())
            .await
    }

    /// Takes the publication back, and sees that no mount is left of it.
    ///
    /// # Errors
    /// The step failed, or a mount is left.
    pub async fn unpublish(&self) -> Result<(), Stop> {
        let cx = self.cx();
        let step = Step::Unpublish(self.access());
        let asked = cx
            .ask_insisting::<rpc::NodeUnpublishVolume>(&self.unpublish_request())
            .await?;
        asked.ok_or(cx, step)?;
        if let Some(left) = see::mount_left(cx, &self.target, "after unpublish").await? {
            return Err(cx.blame(step, format!("NodeUnpublishVolume answered OK, and {left}")));
        }
        self.staged
            .volume
            .with(|claim| claim.published.retain(|p| *p != self.target));
        Ok(())
    }

    /// What is at the target path now that it was unpublished; none: nothing,
    /// as it should be.
    ///
    /// # Errors
    /// No answer in time.
    pub async fn left_at_target(&self) -> Result<Option<String>, Stop> {
        see::path_left(self.cx(), &self.target).await
    }
}
