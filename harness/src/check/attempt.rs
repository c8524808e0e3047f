//! Bringing a volume onto the node while what it lies on is away.

use std::time::Duration;

use csi_proto::rpc;

use super::cx::{Asked, Cx};
use super::late;
use super::marker::Marker;
use super::published::Published;
use super::ran;
use super::see::{self, Shown};
use super::servers::Server;
use super::session::SETTLE;
use super::stop::{Checked, Stop};
use super::volume::{Volume, owned};
use super::wait::Patience;
use super::watches::Moment;
use crate::lab::OurPath;
use crate::node::{self, Look, LookError, Seen};

/// How long a call may take whose server is away: long enough for a driver to come
/// to its own end, short enough for a run with many of them.
pub const AWAY: Duration = Duration::from_secs(20);

/// A volume that was asked onto the node, with its server away: staged where the
/// driver stages, and published if that was OK.
#[derive(Debug)]
pub struct Attempt<'a> {
    published: Published<'a>,
    said: Said,
    staged: bool,
    /// When the last answer came.
    answered: Moment,
}

/// What the driver said in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// NodePublishVolume answered OK.
    Published,
    /// One of the calls was refused: in words.
    Refused(String),
    /// One of the calls had no answer in time.
    Nothing,
}

impl Said {
    fn of<T>(asked: &Option<Asked<T>>, rpc: &str) -> Self {
        match asked {
            None => Self::Nothing,
            Some(asked) => match asked.refusal() {
                None => Self::Published,
                Some(refusal) => Self::Refused(format!("{rpc} answered {}", refusal.code)),
            },
        }
    }
}

impl<'a> Volume<'a> {
    /// Stages and publishes it with these mount flags too, as far as the driver goes
    /// along. Nothing that it answers is a finding by itself.
    ///
    /// # Errors
    /// No connection, or our own.
    pub async fn attempt(&self, name: &str, flags: &[&str]) -> Result<Attempt<'a>, Stop> {
        self.attempt_for(name, flags, AWAY).await
    }

    /// The same, and each call is given up after `limit`.
    ///
    /// # Errors
    /// No connection, or our own.
    pub async fn attempt_for(
        &self,
        name: &str,
        flags: &[&str],
        limit: Duration,
    ) -> Result<Attempt<'a>, Stop> {
        let cx = self.cx;
        self.with(|claim| claim.want.more_flags = owned(flags));
        let staged = self.to_stage().await?;
        let (request, target) = staged.publish_request(name)?;
        let published = Published {
            staged: staged.clone(),
            target,
            request,
        };
        let attempt = async |said, staged| Attempt {
            published: published.clone(),
            said,
            staged,
            answered: cx.session.moment().await,
        };
        if staged.path.is_some() {
            staged.claims_stage();
            let asked = cx
                .ask_into_fault_for::<rpc::NodeStageVolume>(&staged.stage_request(), limit)
                .await?;
            match Said::of(&asked, "NodeStageVolume") {
                Said::Published => {}
                said => return Ok(attempt(said, false).await),
            }
        }
        see::mounts_at(cx, &published.target, "before").await?;
        let is_new = staged.claims_target(&published.target);
        let asked = cx
            .ask_into_fault_for::<rpc::NodePublishVolume>(&published.request, limit)
            .await?;
        let said = Said::of(&asked, "NodePublishVolume");
        let refused = matches!(said, Said::Refused(_));
        staged.is_owed(&published.target, is_new, refused);
        Ok(attempt(said, true).await)
    }
}

impl<'a> Attempt<'a> {
    /// The volume where it was to be.
    pub fn published(&self) -> &Published<'a> {
        &self.published
    }

    /// Whether every call answered OK.
    pub fn is_ok(&self) -> bool {
        self.said == Said::Published
    }

    /// Whether NodeStageVolume answered OK, or is not offered.
    pub fn is_staged(&self) -> bool {
        self.staged
    }

    /// A refusal, or that there was no answer, in words; none: every call answered OK.
    pub fn failure(&self) -> Option<String> {
        match &self.said {
            Said::Published => None,
            Said::Refused(how) => Some(how.clone()),
            Said::Nothing => Some("a call had no answer".to_owned()),
        }
    }
}

impl Attempt<'_> {
    fn cx(&self) -> &Cx {
        self.published.cx()
    }

    fn target(&self) -> &OurPath {
        &self.published.target
    }

    /// The staging folder, where there is one, and the target.
    fn places(&self) -> Vec<&OurPath> {
        let staging = self.published.staged.path.iter();
        staging.chain([&self.published.target]).collect()
    }

    /// If the driver said that the volume is published, it is there. If not: where
    /// the bytes of a workload go, and when the mount comes once the server is back.
    ///
    /// # Errors
    /// The finding.
    pub async fn ok_means_mounted(&self, server: &Server<'_>) -> Checked {
        if self.said != Said::Published {
            return Ok(());
        }
        let cx = self.cx();
        let access = self.published.staged.volume.access();
        let shown = match see::shown_at(cx, self.target(), access, "at OK").await? {
            Shown::Volume => return Ok(()),
            shown => shown,
        };
        let marker = Marker::new()?;
        let written = self.write_beneath(&marker).await?;
        for helper in self.helpers() {
            cx.fact("still running", helper);
        }
        server.heal().await?;
        let late = cx.late_mount(self.target(), &self.answered).await;
        if written.is_ok() {
            self.where_it_went(&marker, late.is_some()).await?;
        }
        Err(Stop::fail(match late {
            Some(late) => format!(
                "NodePublishVolume answered OK while nothing was mounted at target_path; the mount came {} later",
                late.after(&self.answered)
            ),
            None => format!("NodePublishVolume answered OK, and {shown}"),
        }))
    }

    /// Writes as a workload would that believes the answer.
    async fn write_beneath(&self, marker: &Marker) -> Result<Result<Seen, LookError>, Stop> {
        let written = see::look(self.cx(), marker.write_file(&self.target().ours)).await?;
        if let Err(error) = &written {
            self.cx()
                .fact("a probe file", format!("cannot be written: {error}"));
        }
        Ok(written)
    }

    /// Where the bytes are that were written in between.
    async fn where_it_went(&self, marker: &Marker, mounted_since: bool) -> Checked {
        let cx = self.cx();
        let file = self.target().ours.join(marker.file());
        let look = Look::ReadBeneath {
            path: file.clone(),
            names: 2,
            max: node::look::MAX_BYTES,
        };
        let beneath = see::look(cx, look).await?;
        let there = matches!(&beneath, Ok(Seen::Bytes(bytes)) if marker.is(bytes));
        if !there {
            return Ok(());
        }
        let table = cx.mounts()?;
        let parent = self.target().ours.parent().unwrap_or(&self.target().ours);
        let disk = table.holding(parent).map(late::disk_beneath);
        let disk = disk.unwrap_or_else(|| "a file system without a name".to_owned());
        let hidden = match mounted_since {
            true => ", and is hidden beneath the mount since that came",
            false => "",
        };
        cx.fact(
            "meanwhile",
            format!(
                "a probe file that was written after the answer is on {disk}, the node's own disk{hidden}"
            ),
        );
        Ok(())
    }

    /// The processes that name one of our paths among their arguments, in words.
    fn helpers(&self) -> Vec<String> {
        ran::processes_at(&self.places())
    }

    /// Takes it back, whatever was answered: while the server is away, or, where
    /// the driver cannot do it then, with the server well again.
    ///
    /// # Errors
    /// It cannot be taken back.
    pub async fn take_back(&self, server: &Server<'_>) -> Checked {
        if !self.is_taken_back_now().await? {
            server.heal().await?;
            self.published.unpublish().await?;
            self.published.staged.unstage().await?;
        }
        Ok(())
    }

    async fn is_taken_back_now(&self) -> Result<bool, Stop> {
        let cx = self.cx();
        let mut patience = Patience::new(AWAY);
        loop {
            let asked = self.published.unpublish_into_fault().await?;
            let busy = |asked: &Asked<_>| asked.refusal().is_some_and(|r| r.code.is_transient());
            match asked {
                Some(asked) if asked.is_ok() => break,
                Some(asked) if busy(&asked) && patience.wait().await => {}
                _ => return Ok(false),
            }
        }
        self.published.staged.volume.with(|claim| {
            claim.published.retain(|path| path != self.target());
        });
        let Some(staging) = &self.published.staged.path else {
            return Ok(true);
        };
        let request = self.published.staged.unstage_request();
        let asked = cx
            .ask_into_fault::<rpc::NodeUnstageVolume>(&request)
            .await?;
        let gone = asked.is_some_and(|asked| asked.is_ok());
        if gone {
            let volume = self.published.staged.volume;
            volume.with(|claim| claim.staged.retain(|path| path != staging));
        }
        Ok(gone)
    }

    /// No process that tries to mount the volume outlives the answer. A call that
    /// was not answered may still be at work.
    ///
    /// # Errors
    /// The finding.
    pub async fn no_helper_outlives_the_answer(&self) -> Checked {
        match self.said {
            Said::Nothing => Ok(()),
            _ => self.no_helper_stays("the call was answered").await,
        }
    }

    /// No process is left that still tries to mount the volume.
    ///
    /// # Errors
    /// The finding.
    pub async fn no_helper_stays(&self, since: &str) -> Checked {
        let mut patience = Patience::brisk(SETTLE);
        loop {
            let left = self.helpers();
            let Some(first) = left.first() else {
                return Ok(());
            };
            if !patience.wait().await {
                return Err(Stop::fail(format!(
                    "{since}, and a process still tries to mount the volume: {first}"
                )));
            }
        }
    }

    /// Nothing may be mounted any more where it was to be, until the run ends.
    ///
    /// # Errors
    /// Our own.
    pub async fn nothing_may_come(&self) -> Checked {
        let volume = self.published.staged.volume;
        let since = match self.published.staged.path {
            Some(_) => "NodeUnpublishVolume and NodeUnstageVolume answered OK",
            None => "NodeUnpublishVolume answered OK",
        };
        for path in self.places() {
            // It is watched from now on, and taken away when the run ends.
            volume.with(|claim| {
                claim.targets.retain(|target| target != path);
                claim.staged.retain(|staged| staged != path);
            });
            self.cx().nothing_may_come(path, since).await?;
        }
        Ok(())
    }

    /// What was not mounted at the answer is not mounted later: after OK, until the
    /// quiet period is over; after a refusal, until that of the run is.
    ///
    /// # Errors
    /// The finding.
    pub async fn nothing_comes_after_the_answer(&self) -> Checked {
        let cx = self.cx();
        let target = self.target();
        if !see::mounts_at(cx, target, "at the answer")
            .await?
            .is_empty()
        {
            return Ok(());
        }
        match &self.said {
            // Whether anything may still come, nobody can say.
            Said::Nothing => Ok(()),
            Said::Refused(how) => {
                // It is not published: nothing is owed.
                self.published.staged.volume.with(|claim| {
                    claim.published.retain(|path| path != target);
                    claim.targets.retain(|path| path != target);
                });
                cx.nothing_may_come(target, how).await
            }
            Said::Published => match cx.late_mount(target, &self.answered).await {
                None => Ok(()),
                Some(late) => Err(Stop::fail(format!(
                    "a mount came to target_path {} after NodePublishVolume had answered OK",
                    late.after(&self.answered)
                ))),
            },
        }
    }
}
