//! Calls that are interrupted: given up by the caller, or struck by the end or a
//! standstill of the driver; and asked again until they are done.

use std::sync::atomic::Ordering;
use std::time::Duration;

use csi_proto::rpc::Rpc;

use super::act::{Act, Subject};
use super::cx::{Asked, Cx, told};
use super::kind::Kind;
use super::step::Access;
use super::stop::{Checked, Stop};
use super::together::{each, together};
use super::volume::Volume;
use super::wait::Patience;
use crate::client::Code;

/// How a call is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The caller gives up.
    Cut,
    /// The driver is killed, and started again.
    Killed,
    /// The driver stands still for a while (SIGSTOP), and the caller gives up
    /// meanwhile.
    Frozen,
}

/// How a call is sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sending {
    /// Until its answer.
    Plain,
    /// It is interrupted: by ourselves after so long, or by what happens to the driver.
    Interrupted(Option<Duration>),
}

/// How many calls are interrupted side by side, each at another moment.
const CALLS: usize = 6;
/// The last moment, in times of what the call takes by itself: side by side they
/// take longer.
const LAST: f64 = 1.8;
/// How long a driver stands still.
const STANDSTILL: Duration = Duration::from_millis(100);
/// How long other refusals than that the driver is busy are not believed, at least:
/// what was interrupted may be in its own way for a moment. It is longer for a driver
/// that is given more time for its calls.
const INSISTING: Duration = Duration::from_secs(3);
/// Refusals of the request itself.
const FINAL: [Code; 2] = [Code::INVALID_ARGUMENT, Code::UNIMPLEMENTED];
/// What part of a deadline that is.
const OF_THE_DEADLINE: u32 = 12;

impl Cx {
    /// Asks once, in this way. What is answered, if anything is, does not count.
    pub(super) async fn send<R: Rpc>(&self, request: &R::Request, sending: Sending) -> Checked {
        let Sending::Interrupted(after) = sending else {
            return self.ask::<R>(request).await.map(drop);
        };
        self.session.may_ask(R::NAME, self.kind.as_ref())?;
        let client = &self.session.client;
        self.accounted(client.call_interrupted::<R>(&self.id, request, after))
            .await;
        Ok(())
    }

    /// Asks again with the same request until the answer is OK: at once while the
    /// driver is busy, for what was interrupted may be at work still; a few times
    /// where it refuses.
    ///
    /// # Errors
    /// It never is; or as [`Cx::ask`].
    pub async fn ask_until_ok<R: Rpc>(&self, request: &R::Request) -> Result<R::Response, Stop> {
        self.until::<R>(request, |_| false).await?.ok()
    }

    /// The same, to take something back that may not have been done at all: some
    /// drivers know no such volume then (`NOT_FOUND`), and the node shows what is left.
    pub(super) async fn ask_until_undone<R: Rpc>(&self, request: &R::Request) -> Checked {
        let unknown = |code| code == Code::NOT_FOUND;
        self.until::<R>(request, unknown).await.map(drop)
    }

    /// Asks until the answer is OK, or a refusal that is as good.
    async fn until<R: Rpc>(
        &self,
        request: &R::Request,
        is_as_good: impl Fn(Code) -> bool,
    ) -> Result<Asked<R::Response>, Stop> {
        let deadline = self.session.client.deadline(R::NAME);
        let mut patience = Patience::brisk(deadline);
        let mut insisting = None;
        loop {
            let asked = self.ask::<R>(request).await?;
            let refusal = match asked.refusal().cloned() {
                Some(refusal) if !is_as_good(refusal.code) => refusal,
                _ => return Ok(asked),
            };
            let again = match refusal.code.is_transient() {
                // No time makes the request another one.
                false if FINAL.contains(&refusal.code) => false,
                true if self.impatient.load(Ordering::Relaxed) => false,
                true => {
                    let again = patience.wait().await;
                    self.impatient.fetch_or(!again, Ordering::Relaxed);
                    again
                }
                false => {
                    let insisting = insisting.get_or_insert_with(|| {
                        Patience::brisk(INSISTING.max(deadline / OF_THE_DEADLINE))
                    });
                    insisting.wait().await
                }
            };
            if !again {
                return Err(Stop::fail(format!(
                    "{}, when it was asked again",
                    told(R::NAME, &refusal)
                )));
            }
        }
    }

    /// Several volumes, each with this call of its life interrupted at another moment
    /// of it: what came of the calls nobody knows. What is then done with each is done
    /// at once. First, one of each kind goes its whole way undisturbed, which shows how
    /// long the call takes, and that only the interruption can be to blame for what
    /// follows.
    ///
    /// # Errors
    /// The undisturbed way fails, the driver does not come back, or as `then` does.
    pub async fn interrupted<'a, U, F>(
        &'a self,
        act: Act,
        how: How,
        then: impl Fn(Subject<'a>) -> F,
    ) -> Result<Vec<U>, Stop>
    where
        F: Future<Output = Result<U, Stop>>,
    {
        let undisturbed = self.undisturbed(act).await?;
        let mut subjects = Vec::new();
        for n in 0..self.calls_for(&undisturbed) {
            let (volume, takes) = &undisturbed[n % undisturbed.len()];
            // Those that went the whole way can go it again, unless they must be new.
            let first = n < undisturbed.len() && !act.needs_a_new_volume(self);
            subjects.push((volume.kind(), *takes, first.then_some(*volume)));
        }
        let subjects = each(subjects, |(kind, takes, volume)| {
            act.prepare(self, kind, takes, volume)
        })
        .await?;
        let takes: Vec<_> = subjects.iter().map(Subject::takes).collect();
        let moments = self.moments(&takes);
        let story = match how {
            How::Cut => format!("after {act} was given up"),
            How::Killed => format!("after the driver was killed in {act}"),
            How::Frozen => format!("after the driver was stopped in {act}"),
        };
        self.fact(
            "moments",
            format!("{moments:.1?}; by itself the call takes {takes:.1?}"),
        );
        let subjects = subjects.into_iter().map(|subject| subject.after(&story));
        let subjects: Vec<_> = subjects.zip(moments).collect();
        if how == How::Cut {
            return each(subjects, async |(subject, moment)| {
                subject.send(Sending::Interrupted(Some(moment))).await?;
                then(subject).await
            })
            .await;
        }
        self.strike(&subjects, how).await?;
        each(subjects, |(subject, _)| then(subject)).await
    }

    /// A volume of each access type that stands before this call of its life, and has
    /// gone the whole way undisturbed before. `story` is to blame for what fails from
    /// now on.
    ///
    /// # Errors
    /// The undisturbed way fails.
    pub async fn prepared(&self, act: Act, story: &str) -> Result<Vec<Subject<'_>>, Stop> {
        let undisturbed = self.undisturbed(act).await?;
        let subjects = each(undisturbed, |(volume, takes)| {
            let used = (!act.needs_a_new_volume(self)).then_some(volume);
            act.prepare(self, volume.kind(), takes, used)
        })
        .await?;
        Ok(subjects
            .into_iter()
            .map(|subject| subject.after(story))
            .collect())
    }

    /// One of each kind goes its whole way, as far as the kind is offered at all.
    async fn undisturbed(&self, act: Act) -> Result<Vec<(Volume<'_>, Duration)>, Stop> {
        let kinds = self.kinds_for(act)?;
        let way = each(kinds, |kind| act.undisturbed(self, kind)).await;
        way.map_err(|stop| match stop {
            Stop::Declined { why, .. } => {
                Stop::not_offered(format!("{act} that works when nothing disturbs it ({why})"))
            }
            other => other,
        })
    }

    /// Lets pass what a call may take that goes on although nobody waits for it.
    pub async fn let_go_on(&self, takes: Duration) {
        const LEAST: Duration = Duration::from_millis(300);
        const MOST: Duration = Duration::from_secs(5);
        tokio::time::sleep((takes * 3).clamp(LEAST, MOST)).await;
    }

    /// Sends all calls so that each has lasted for a time of its own when the driver
    /// is struck.
    async fn strike(&self, subjects: &[(Subject<'_>, Duration)], how: How) -> Checked {
        let moments = subjects.iter().map(|(_, moment)| *moment);
        let last = moments.max().unwrap_or_default();
        let calls = together(subjects.iter().map(|(subject, moment)| async move {
            tokio::time::sleep(last - *moment).await;
            let given_up = (how == How::Frozen).then_some(*moment + STANDSTILL);
            subject.send(Sending::Interrupted(given_up)).await
        }));
        let blow = async {
            tokio::time::sleep(last).await;
            if how == How::Frozen {
                let _frozen = self.freeze_driver().await?;
                tokio::time::sleep(STANDSTILL).await;
                return Ok(());
            }
            self.kill_driver().await
        };
        let (calls, blow) = tokio::join!(calls, blow);
        blow?;
        if how == How::Killed {
            self.start_driver().await?;
        }
        calls.into_iter().collect()
    }

    /// When each of these calls is interrupted, given how long it takes by itself:
    /// spread over the whole of it and a little beyond, and elsewhere each time.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn moments(&self, takes: &[Duration]) -> Vec<Duration> {
        const GOLDEN: f64 = 0.618_034;
        let shift = (self.session.number() as f64 * GOLDEN).fract();
        let part = |n: usize| (n as f64 + shift) / takes.len() as f64;
        let moment = |(n, takes): (usize, &Duration)| takes.mul_f64(LAST * part(n));
        takes.iter().enumerate().map(moment).collect()
    }

    /// One kind of each access type that there are volumes of.
    fn kinds_for(&self, act: Act) -> Result<Vec<Kind>, Stop> {
        let facts = self.facts();
        // ext4 cannot grow while it is mounted where this capability is lacking.
        let can = |kind: &Kind| match kind {
            Kind::Mount(fs) if act == Act::Expand && (fs.is_empty() || fs.starts_with("ext")) => {
                facts.has_cap_sys_resource
            }
            _ => true,
        };
        let mut lacking = None;
        let mut kinds = Vec::new();
        for access in [Access::Mount, Access::Block] {
            match facts.lacks_volume(access) {
                Some(skip) => lacking = Some(Stop::Lack(skip)),
                None => {
                    let all = facts.kinds().into_iter();
                    kinds.extend(all.filter(can).find(|kind| kind.access() == access));
                }
            }
        }
        match lacking {
            Some(lacking) if kinds.is_empty() => Err(lacking),
            None if kinds.is_empty() => Err(Stop::no_host("CAP_SYS_RESOURCE")),
            _ => {
                kinds.truncate(self.at_once().max(1));
                Ok(kinds)
            }
        }
    }

    /// How many calls can be made side by side, with a volume for each. Of the user's
    /// own volumes we have only those that went their way: others may hold the rest.
    fn calls_for(&self, undisturbed: &[(Volume<'_>, Duration)]) -> usize {
        let given = self.facts().given(None).map(|_| undisturbed.len());
        given
            .into_iter()
            .fold(CALLS.min(self.at_once()), usize::min)
    }

    /// How many volumes the node takes at once, as the driver says or the user.
    fn at_once(&self) -> usize {
        let info = self.facts().node_info.as_ref();
        let drivers = info.map(|info| info.max_volumes_per_node);
        let drivers = drivers.filter(|most| *most > 0);
        let drivers = drivers.and_then(|most| usize::try_from(most).ok());
        let users = self.session.config().max_volumes;
        [drivers, users]
            .into_iter()
            .flatten()
            .fold(usize::MAX, usize::min)
    }
}
