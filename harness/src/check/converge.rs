//! What has to hold of a volume after one call of its life, whatever interrupted it:
//! the same call again, its negation, and what is there then.

use csi_proto::rpc;

use super::act::{Act, Subject, left_of};
use super::claims::VolumeClaim;
use super::marker::Marker;
use super::published::Published;
use super::see;
use super::staged::Staged;
use super::step::Access;
use super::stop::{Checked, Stop};
use super::volume::Volume;
use super::watches::Moment;
use crate::lab::OurPath;

impl<'a> Subject<'a> {
    /// Makes the same call again, until it is OK.
    ///
    /// # Errors
    /// It never is.
    pub async fn repeat(&self) -> Checked {
        let done = self.try_repeat().await;
        self.owned(done)
    }

    async fn try_repeat(&self) -> Checked {
        let cx = self.cx();
        self.claims();
        match self.act {
            Act::Create => {
                let request = self.volume.create_request()?;
                let made = cx.ask_until_ok::<rpc::CreateVolume>(&request).await?;
                self.volume.is_made(made).await
            }
            Act::Attach => {
                let request = self.volume.attach_request();
                let response = cx
                    .ask_until_ok::<rpc::ControllerPublishVolume>(&request)
                    .await?;
                let context = response.publish_context.into_iter().collect();
                self.volume.with(|claim| claim.attached = Some(context));
                Ok(())
            }
            Act::Stage => self.stage_until_ok(self.staged()?).await,
            Act::Publish => {
                let published = self.published()?;
                cx.ask_until_ok::<rpc::NodePublishVolume>(&published.request)
                    .await?;
                see::claim_disk(&self.volume, &published.target);
                Ok(())
            }
            Act::Expand => {
                cx.ask_until_ok::<rpc::NodeExpandVolume>(&self.grow()?.0)
                    .await?;
                Ok(())
            }
            Act::Unpublish => self.unpublish_until_ok(self.published()?).await,
            Act::Unstage => self.unstage_until_ok(self.staged()?).await,
            Act::Delete => {
                let request = self.volume.delete_request();
                cx.ask_until_ok::<rpc::DeleteVolume>(&request).await?;
                self.volume.is_deleted();
                Ok(())
            }
        }
    }

    async fn stage_until_ok(&self, staged: &Staged<'a>) -> Checked {
        let request = staged.stage_request();
        self.cx()
            .ask_until_ok::<rpc::NodeStageVolume>(&request)
            .await?;
        if let Some(path) = &staged.path {
            see::claim_disk(&self.volume, path);
        }
        Ok(())
    }

    async fn unpublish_until_ok(&self, published: &Published<'a>) -> Checked {
        let request = published.unpublish_request();
        self.cx()
            .ask_until_undone::<rpc::NodeUnpublishVolume>(&request)
            .await?;
        if let Some(left) = published.mount_left("after unpublish").await? {
            return Err(Stop::fail(format!(
                "NodeUnpublishVolume answered OK, and {left}"
            )));
        }
        self.volume
            .with(|claim| claim.published.retain(|path| *path != published.target));
        Ok(())
    }

    async fn unstage_until_ok(&self, staged: &Staged<'a>) -> Checked {
        let Some(path) = &staged.path else {
            return Ok(());
        };
        let request = staged.unstage_request();
        self.cx()
            .ask_until_undone::<rpc::NodeUnstageVolume>(&request)
            .await?;
        if let Some(left) = staged.mount_left("after unstage").await? {
            return Err(Stop::fail(format!(
                "NodeUnstageVolume answered OK, and {left}"
            )));
        }
        self.volume
            .with(|claim| claim.staged.retain(|staged| staged != path));
        Ok(())
    }

    /// All is as it is after one call that was not interrupted.
    ///
    /// # Errors
    /// The finding.
    pub async fn holds(&self) -> Checked {
        let held = self.try_holds().await;
        self.owned(held)
    }

    async fn try_holds(&self) -> Checked {
        match self.act {
            Act::Create => self.has_one_id().await,
            Act::Attach => {
                let staged = self.volume.stage().await?;
                staged.publish("a").await?.unpublish().await?;
                staged.unstage().await
            }
            Act::Stage => {
                let staged = self.staged()?;
                let mounts = staged.mounts("after the repeat").await?.len();
                at_most_one(mounts, "staging_target_path")?;
                self.is_usable(&staged.publish("a").await?).await
            }
            Act::Publish => {
                let published = self.published()?;
                let mounts = published.mounts("after the repeat").await?.len();
                at_most_one(mounts, "target_path")?;
                published.is_still_there("after the repeat").await?;
                self.is_usable(published).await
            }
            Act::Expand => {
                let (before, published) = (self.grow()?.1, self.published()?);
                let after = published.size().await?;
                if after <= before {
                    return Err(Stop::fail(format!(
                        "NodeExpandVolume answered OK, and the size is still {after}"
                    )));
                }
                self.shows_what_was_written(published).await
            }
            Act::Unpublish => {
                let again = self.staged()?.publish("b").await?;
                self.shows_what_was_written(&again).await
            }
            Act::Unstage => {
                let staged = self.staged()?;
                staged.stage().await?;
                self.shows_what_was_written(&staged.publish("b").await?)
                    .await
            }
            Act::Delete => Ok(()),
        }
    }

    /// The volume that was created is the one that its name stands for.
    ///
    /// # Errors
    /// The finding.
    pub async fn is_known_by_its_name(&self) -> Checked {
        match self.volume.with(|claim| claim.is_ours()) {
            true => self.owned(self.has_one_id().await),
            false => Ok(()),
        }
    }

    async fn has_one_id(&self) -> Checked {
        let request = self.volume.create_request()?;
        let again = self
            .cx()
            .ask_until_ok::<rpc::CreateVolume>(&request)
            .await?;
        let again = again.volume.map(|volume| volume.volume_id);
        let (first, again) = (self.volume.id(), again.unwrap_or_default());
        match first == again {
            true => Ok(()),
            false => Err(Stop::fail(format!(
                "CreateVolume answered {first:?}, and {again:?} for the same name"
            ))),
        }
    }

    /// What is written through it is there.
    async fn is_usable(&self, published: &Published<'a>) -> Checked {
        let marker = Marker::new()?;
        if published.try_write_if_allowed(&marker).await? {
            published.shows(&marker).await?;
        }
        Ok(())
    }

    async fn shows_what_was_written(&self, published: &Published<'a>) -> Checked {
        match &self.marker {
            Some(marker) => published.shows(marker).await,
            None => Ok(()),
        }
    }

    /// Takes the volume off the node, and sees that nothing of it stays.
    ///
    /// # Errors
    /// The finding.
    pub async fn take_back(&self) -> Checked {
        let taken = self.try_take_back().await;
        self.owned(taken)
    }

    async fn try_take_back(&self) -> Checked {
        let cx = self.cx();
        while let Some(target) = self.volume.with(|claim| claim.published.last().cloned()) {
            let staged = self.volume.to_stage().await?;
            let (request, _) = staged.publish_request("a")?;
            let published = Published {
                staged,
                target,
                request,
            };
            self.unpublish_until_ok(&published).await?;
        }
        if self.volume.with(|claim| !claim.staged.is_empty()) {
            let staged = self.volume.to_stage().await?;
            self.unstage_until_ok(&staged).await?;
        }
        if let Some(left) = left_of(&self.volume).await {
            return Err(Stop::fail(format!(
                "all was taken back, every call answered OK, and {left}"
            )));
        }
        if self.act == Act::Attach {
            let request = self.volume.detach_request();
            cx.ask_until_ok::<rpc::ControllerUnpublishVolume>(&request)
                .await?;
            self.volume.with(VolumeClaim::was_detached);
        }
        Ok(())
    }

    /// After its negation alone, the whole way can be gone again, and nothing of
    /// either stays.
    ///
    /// # Errors
    /// The finding.
    pub async fn goes_its_way_again(&self) -> Checked {
        let gone = async {
            let staged = self.volume.stage().await?;
            let published = staged.publish("a").await?;
            let mounts = staged.mounts("the second time").await?.len();
            at_most_one(mounts, "staging_target_path")?;
            let mounts = published.mounts("the second time").await?.len();
            at_most_one(mounts, "target_path")?;
            self.try_take_back().await
        };
        let gone = gone.await;
        self.owned(gone)
    }

    /// From now on nothing may be mounted where it was to be. An empty folder is put
    /// there, so that what is under way finds its place.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub async fn watched(&self) -> Result<Watched<'a>, Stop> {
        let staging = self.staged.as_ref().and_then(|staged| staged.path.clone());
        let target = self.published.as_ref().map(|published| &published.target);
        let target = target.filter(|_| self.volume.access() == Access::Mount);
        let watched = Watched {
            story: self.story.clone(),
            volume: self.volume,
            staging,
            target: target.cloned(),
            since: self.cx().session.moment().await,
        };
        for place in watched.places() {
            let made = std::fs::create_dir_all(&place.ours);
            made.map_err(|e| Stop::ours(format!("mkdir {}", place.ours.display()), e))?;
        }
        Ok(watched)
    }
}

fn at_most_one(mounts: usize, at: &str) -> Checked {
    match mounts {
        0 | 1 => Ok(()),
        n => Err(Stop::fail(format!("{n} mounts are at {at}"))),
    }
}

/// Places that were given back.
#[derive(Debug)]
pub struct Watched<'a> {
    story: String,
    volume: Volume<'a>,
    staging: Option<OurPath>,
    target: Option<OurPath>,
    since: Moment,
}

impl Watched<'_> {
    fn places(&self) -> impl Iterator<Item = &OurPath> {
        self.staging.iter().chain(&self.target)
    }

    /// Nothing was mounted there since.
    ///
    /// # Errors
    /// The finding.
    pub fn nothing_came(&self) -> Checked {
        for place in self.places() {
            let came = self.volume.cx.came_here(place, &self.since);
            // Where nothing is mounted, the folder goes again.
            let _ = place.remove();
            if let Some(after) = came {
                // It is to be taken back after all.
                self.volume.with(|claim| {
                    claim.staged.extend(self.staging.clone());
                    claim.published.extend(self.target.clone());
                });
                return Err(Stop::fail(format!(
                    "{}, and its negation answered OK: {after} later a mount came to {}",
                    self.story,
                    place.ours.display()
                )));
            }
        }
        Ok(())
    }
}
