//! One call of a volume's life: what has to be before it, what holds after it, and
//! how it is taken back. Whatever interrupts it, these are the same.

use std::fmt;
use std::time::{Duration, Instant};

use csi_proto::rpc;
use csi_proto::v1;

use super::cx::Cx;
use super::hooks;
use super::interrupt::Sending;
use super::kind::Kind;
use super::marker::Marker;
use super::negate::{device_words, still_there};
use super::published::Published;
use super::see;
use super::staged::Staged;
use super::step::{Access, Step};
use super::stop::{Checked, Stop};
use super::together::together;
use super::volume::{Volume, Want};
use super::watches::Moment;
use crate::lab::OurPath;
use crate::node;

/// A call of a volume's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// `CreateVolume`.
    Create,
    /// `ControllerPublishVolume`.
    Attach,
    /// `NodeStageVolume`.
    Stage,
    /// `NodePublishVolume`.
    Publish,
    /// `NodeExpandVolume`.
    Expand,
    /// `NodeUnpublishVolume`.
    Unpublish,
    /// `NodeUnstageVolume`.
    Unstage,
    /// `DeleteVolume`.
    Delete,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "CreateVolume",
            Self::Attach => "ControllerPublishVolume",
            Self::Stage => "NodeStageVolume",
            Self::Publish => "NodePublishVolume",
            Self::Expand => "NodeExpandVolume",
            Self::Unpublish => "NodeUnpublishVolume",
            Self::Unstage => "NodeUnstageVolume",
            Self::Delete => "DeleteVolume",
        })
    }
}

/// A volume that is about to have one call made of it, or had it made.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    act: Act,
    volume: Volume<'a>,
    /// How long the call takes by itself.
    takes: Duration,
    /// What is to blame for what fails from now on, in words.
    story: String,
    /// From `NodeStageVolume` on.
    staged: Option<Staged<'a>>,
    /// From `NodePublishVolume` on.
    published: Option<Published<'a>>,
    /// What was written to it.
    marker: Option<Marker>,
    /// The expansion that is to be asked for, and the size before it.
    grow: Option<(v1::NodeExpandVolumeRequest, u64)>,
}

/// How long something takes.
async fn timed<T>(doing: impl Future<Output = Result<T, Stop>>) -> Result<(T, Duration), Stop> {
    let began = Instant::now();
    let done = doing.await?;
    Ok((done, began.elapsed()))
}

impl Act {
    /// Whether a used volume will not do, and a new one can be had.
    pub(super) fn needs_a_new_volume(self, cx: &Cx) -> bool {
        let used_will_do = matches!(
            self,
            Self::Attach | Self::Publish | Self::Unpublish | Self::Unstage
        );
        cx.facts().creates() && !used_will_do
    }

    fn want(self, cx: &Cx, kind: Kind) -> Want {
        let fresh = self.needs_a_new_volume(cx);
        Want {
            fresh,
            ..Want::of(kind)
        }
    }

    /// The whole way that the call is part of, and the call made twice, as a caller may;
    /// gives the volume, which is off the node again, and how long the call took.
    ///
    /// # Errors
    /// Declined, where that fails already: others tell of it.
    pub(super) async fn undisturbed(
        self,
        cx: &Cx,
        kind: Kind,
    ) -> Result<(Volume<'_>, Duration), Stop> {
        let subject = self.prepare(cx, kind, Duration::ZERO, None).await?;
        let subject = subject.after("undisturbed");
        let way = async {
            let ((), takes) = timed(subject.repeat()).await?;
            subject.repeat().await?;
            subject.holds().await?;
            subject.take_back().await?;
            Ok((subject.volume, takes))
        };
        let access = subject.volume.access();
        way.await.map_err(|stop| match stop {
            Stop::Fail(why) => Stop::Declined {
                access,
                step: Step::Publish(access),
                why,
            },
            other => other,
        })
    }

    /// A volume with all that comes before the call.
    pub(super) async fn prepare<'a>(
        self,
        cx: &'a Cx,
        kind: Kind,
        takes: Duration,
        volume: Option<Volume<'a>>,
    ) -> Result<Subject<'a>, Stop> {
        let want = self.want(cx, kind.clone());
        let volume = match volume {
            Some(volume) => volume,
            None if self == Self::Create => Volume::unborn(cx, want, kind)?,
            None => cx.volume(want).await?,
        };
        let mut subject = Subject {
            act: self,
            volume,
            takes,
            story: String::new(),
            staged: None,
            published: None,
            marker: None,
            grow: None,
        };
        if matches!(self, Self::Create | Self::Attach | Self::Delete) {
            return Ok(subject);
        }
        let staged = volume.to_stage().await?;
        subject.staged = Some(staged.clone());
        if self == Self::Stage {
            hooks::before_stage(cx, &volume.id()).await?;
            return Ok(subject);
        }
        staged.stage().await?;
        if self == Self::Publish {
            let (request, target) = staged.publish_request("a")?;
            subject.published = Some(Published {
                staged,
                target,
                request,
            });
            return Ok(subject);
        }
        let published = staged.publish("a").await?;
        let marker = Marker::new()?;
        if volume.keeps_data().is_ok() && published.try_write_if_allowed(&marker).await? {
            subject.marker = Some(marker);
        }
        match self {
            Self::Unstage => published.unpublish().await?,
            Self::Expand => {
                let before = published.size().await?;
                let (_, on_node) = volume.grow_in_the_controller(&published).await?;
                let none = || Stop::not_offered("expansion on the node");
                subject.grow = Some((on_node.ok_or_else(none)?, before));
            }
            _ => {}
        }
        subject.published = Some(published);
        Ok(subject)
    }
}

/// Loop devices that came with a volume and are there still, in words: also those
/// that no mount shows, and that lie on the same file.
async fn left_of(volume: &Volume<'_>) -> Option<String> {
    let mut left = volume.with(|claim| {
        let before = claim.loops_before.clone().unwrap_or_default();
        let mut all = node::loops().unwrap_or_default();
        all.retain(|device| {
            let same = |known: &node::LoopDevice| known.backing == device.backing;
            !before.contains(&device.id) && claim.devices.iter().any(same)
        });
        all
    });
    still_there(&mut left).await;
    let words: Vec<_> = left.iter().map(device_words).collect();
    // The negation takes them away.
    volume.with(|claim| {
        for device in left {
            if !claim.devices.iter().any(|known| known.id == device.id) {
                claim.devices.push(device);
            }
        }
    });
    (!words.is_empty()).then(|| format!("{} stays", words.join(", ")))
}

impl<'a> Subject<'a> {
    /// The volume.
    pub fn volume(&self) -> Volume<'a> {
        self.volume
    }

    /// How long the call takes by itself.
    pub fn takes(&self) -> Duration {
        self.takes
    }

    /// What was written to it before; none: nothing could be.
    pub fn marker(&self) -> Option<&Marker> {
        self.marker.as_ref()
    }

    /// The same, with what is to blame for what fails from now on: `after the driver
    /// was killed`.
    pub(super) fn after(mut self, story: &str) -> Self {
        story.clone_into(&mut self.story);
        self
    }

    fn cx(&self) -> &'a Cx {
        self.volume.cx
    }

    /// What fails now worked undisturbed a moment ago: the interruption is to blame,
    /// whoever owns the step. That there is no answer is told elsewhere.
    fn owned<T>(&self, done: Result<T, Stop>) -> Result<T, Stop> {
        let history = [Step::Answers, Step::Alive, Step::Speaks, Step::ComesBack];
        done.map_err(|stop| match stop {
            Stop::Blocked { step, .. } if history.contains(&step) => stop,
            Stop::Blocked { why, .. } | Stop::Declined { why, .. } | Stop::Fail(why) => {
                Stop::Fail(format!("{}: {why}", self.story))
            }
            other => other,
        })
    }

    /// Makes the call once, in this way. What is answered is not judged.
    pub(super) async fn send(&self, sending: Sending) -> Checked {
        let cx = self.cx();
        self.claims();
        match self.act {
            Act::Create => {
                let request = self.volume.create_request()?;
                cx.send::<rpc::CreateVolume>(&request, sending).await
            }
            Act::Attach => {
                let request = self.volume.attach_request();
                cx.send::<rpc::ControllerPublishVolume>(&request, sending)
                    .await
            }
            Act::Stage => {
                let request = self.staged()?.stage_request();
                cx.send::<rpc::NodeStageVolume>(&request, sending).await
            }
            Act::Publish => {
                let request = &self.published()?.request;
                cx.send::<rpc::NodePublishVolume>(request, sending).await
            }
            Act::Expand => {
                let request = &self.grow()?.0;
                cx.send::<rpc::NodeExpandVolume>(request, sending).await
            }
            Act::Unpublish => {
                let request = self.published()?.unpublish_request();
                cx.send::<rpc::NodeUnpublishVolume>(&request, sending).await
            }
            Act::Unstage => {
                let request = self.staged()?.unstage_request();
                cx.send::<rpc::NodeUnstageVolume>(&request, sending).await
            }
            Act::Delete => {
                let request = self.volume.delete_request();
                cx.send::<rpc::DeleteVolume>(&request, sending).await
            }
        }
    }

    /// Makes the call so many times at once. What is answered is not judged.
    ///
    /// # Errors
    /// One had no answer.
    pub async fn at_once(&self, times: usize) -> Checked {
        let calls = (0..times).map(|_| self.send(Sending::Plain));
        together(calls).await.into_iter().collect()
    }

    /// Makes the call and its negation at once. What is answered is not judged.
    ///
    /// # Errors
    /// One had no answer.
    pub async fn beside_its_negation(&self) -> Checked {
        let cx = self.cx();
        let negation = async {
            match self.act {
                Act::Attach => {
                    let request = self.volume.detach_request();
                    cx.send::<rpc::ControllerUnpublishVolume>(&request, Sending::Plain)
                        .await
                }
                Act::Stage => {
                    let request = self.staged()?.unstage_request();
                    cx.send::<rpc::NodeUnstageVolume>(&request, Sending::Plain)
                        .await
                }
                Act::Publish => {
                    let request = self.published()?.unpublish_request();
                    cx.send::<rpc::NodeUnpublishVolume>(&request, Sending::Plain)
                        .await
                }
                act => Err(Stop::ours(act, "it has no negation of its own")),
            }
        };
        let (call, negation) = tokio::join!(self.send(Sending::Plain), negation);
        call.and(negation)
    }

    /// From now on the call may have been done.
    fn claims(&self) {
        match (self.act, &self.staged, &self.published) {
            (Act::Attach, ..) => self.volume.with(|claim| claim.may_be_attached = true),
            (Act::Stage, Some(staged), _) => staged.claims_stage(),
            (Act::Publish, _, Some(published)) => published.staged.claims_target(&published.target),
            _ => {}
        }
    }

    /// Its staging; only from `NodeStageVolume` on.
    ///
    /// # Errors
    /// Ours: it has none yet.
    pub fn staged(&self) -> Result<&Staged<'a>, Stop> {
        let none = || Stop::ours(self.act, "the volume is not prepared for it");
        self.staged.as_ref().ok_or_else(none)
    }

    /// Its publication; only from `NodePublishVolume` on.
    ///
    /// # Errors
    /// Ours: it has none yet.
    pub fn published(&self) -> Result<&Published<'a>, Stop> {
        let none = || Stop::ours(self.act, "the volume is not prepared for it");
        self.published.as_ref().ok_or_else(none)
    }

    fn grow(&self) -> Result<&(v1::NodeExpandVolumeRequest, u64), Stop> {
        let none = || Stop::ours(self.act, "the volume is not prepared for it");
        self.grow.as_ref().ok_or_else(none)
    }

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
            self.volume.with(|claim| {
                claim.may_be_attached = false;
                claim.attached = None;
            });
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
