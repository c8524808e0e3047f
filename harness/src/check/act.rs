//! One call of a volume's life: what has to be before it, and how it is sent. What has to
//! hold after it is in [`converge`](super::converge).

use std::fmt;
use std::time::{Duration, Instant};

use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use super::cx::Cx;
use super::facts::Facts;
use super::hooks;
use super::interrupt::Sending;
use super::kind::Kind;
use super::marker::Marker;
use super::negate::{device_words, still_there};
use super::published::Published;
use super::staged::Staged;
use super::step::Step;
use super::stop::{Checked, Stop};
use super::together::together;
use super::volume::{Volume, Want};
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
    pub(super) act: Act,
    pub(super) volume: Volume<'a>,
    /// How long the call takes by itself.
    pub(super) takes: Duration,
    /// What is to blame for what fails from now on, in words.
    pub(super) story: String,
    /// From `NodeStageVolume` on.
    pub(super) staged: Option<Staged<'a>>,
    /// From `NodePublishVolume` on.
    pub(super) published: Option<Published<'a>>,
    /// What was written to it.
    pub(super) marker: Option<Marker>,
    /// The expansion that is to be asked for, and the size before it.
    pub(super) grow: Option<(v1::NodeExpandVolumeRequest, u64)>,
}

/// How long something takes.
async fn timed<T>(doing: impl Future<Output = Result<T, Stop>>) -> Result<(T, Duration), Stop> {
    let began = Instant::now();
    let done = doing.await?;
    Ok((done, began.elapsed()))
}

impl Act {
    /// The first call that a driver is asked for a volume that exists.
    pub fn first_of(facts: &Facts) -> Self {
        if facts.controller_can(ControllerRpc::PublishUnpublishVolume) {
            Self::Attach
        } else if facts.node_can(NodeRpc::StageUnstageVolume) {
            Self::Stage
        } else {
            Self::Publish
        }
    }

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
            let first = timed(subject.repeat()).await;
            if let Err(Stop::Fail(_)) = &first {
                // It was refused, and not given up: no volume has that name.
                subject.volume.with(|claim| {
                    if claim.id.is_none() {
                        claim.name = None;
                    }
                });
            }
            let ((), takes) = first?;
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
pub(super) async fn left_of(volume: &Volume<'_>) -> Option<String> {
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

    pub(super) fn cx(&self) -> &'a Cx {
        self.volume.cx
    }

    /// What fails now worked undisturbed a moment ago: the interruption is to blame,
    /// whoever owns the step. That there is no answer is told elsewhere.
    pub(super) fn owned<T>(&self, done: Result<T, Stop>) -> Result<T, Stop> {
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
    pub(super) fn claims(&self) {
        match (self.act, &self.staged, &self.published) {
            (Act::Attach, ..) => self.volume.with(|claim| claim.may_be_attached = true),
            (Act::Stage, Some(staged), _) => staged.claims_stage(),
            (Act::Publish, _, Some(published)) => {
                published.staged.claims_target(&published.target);
            }
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

    pub(super) fn grow(&self) -> Result<&(v1::NodeExpandVolumeRequest, u64), Stop> {
        let none = || Stop::ours(self.act, "the volume is not prepared for it");
        self.grow.as_ref().ok_or_else(none)
    }
}
