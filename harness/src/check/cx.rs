//! What a check's body speaks to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use csi_proto::rpc::Rpc;
use csi_proto::v1::volume_capability::access_mode::Mode;

use super::attempt::AWAY;
use super::claims::Claims;
use super::facts::Facts;
use super::kind::Kind;
use super::late::Watchpoint;
use super::model::Check;
use super::outcome::Evidence;
use super::session::Session;
use super::step::{Access, Step};
use super::stop::Stop;
use super::volume::{Volume, Want};
use super::wait::{HURRY, Patience};
use crate::client::CallRecord;
use crate::client::{Answer, Code, Refusal, Reply};
use crate::node::MountTable;

/// How long what is refused to be taken back is asked again.
const INSISTING: Duration = Duration::from_secs(3);

/// The context of one check's body. Shared: a body may run two calls at once.
#[derive(Debug)]
pub struct Cx {
    pub(super) check: &'static Check,
    /// The check's id with its case.
    pub(super) id: String,
    pub(super) kind: Option<Kind>,
    pub(super) mode: Option<Mode>,
    pub(super) session: Arc<Session>,
    pub(super) claims: Mutex<Claims>,
    pub(super) trail: Mutex<Vec<Evidence>>,
    /// Its requests have canaries among their secrets.
    pub(super) canaries: AtomicBool,
    /// A call of this check was refused as busy until its deadline: the next ones
    /// are not waited for.
    pub(super) impatient: AtomicBool,
}

impl Cx {
    /// The context of one case of a check.
    pub fn new(
        check: &'static Check,
        id: String,
        kind: Option<Kind>,
        mode: Option<Mode>,
        session: Arc<Session>,
    ) -> Self {
        Self {
            check,
            id,
            kind,
            mode,
            session,
            claims: Mutex::default(),
            trail: Mutex::default(),
            canaries: AtomicBool::new(false),
            impatient: AtomicBool::new(false),
        }
    }

    /// What is known of the driver, the host and the user's wishes.
    pub fn facts(&self) -> &Facts {
        &self.session.facts
    }

    /// The run that the check is part of: its calls, its driver, its folders.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The kind of volume that this case is about; for a check without cases,
    /// what the user asks for first.
    pub fn kind(&self) -> Result<Kind, Stop> {
        let first = || self.facts().kinds().into_iter().next();
        self.kind
            .clone()
            .or_else(first)
            .ok_or_else(|| Stop::not_given("volume.access_types"))
    }

    /// The access mode that this case is about; for a check without such cases,
    /// what the user asks for first.
    pub fn mode(&self) -> Mode {
        let first = self.session.config().volume.access_modes.first();
        self.mode
            .or(first.map(|mode| Mode::from(*mode)))
            .unwrap_or(Mode::SingleNodeWriter)
    }

    /// A volume of this kind: one that is clean and free, or a new one.
    ///
    /// # Errors
    /// `CreateVolume` failed, or the driver does not offer volumes of the kind.
    pub async fn volume(&self, want: Want) -> Result<Volume<'_>, Stop> {
        Volume::get(self, want).await
    }

    /// Asks once. A refusal is an answer; no answer at all is the finding of
    /// the check that owns it, and blocks this one.
    ///
    /// # Errors
    /// No answer, a broken connection, or an answer that is not CSI.
    pub async fn ask<R: Rpc>(&self, request: &R::Request) -> Result<Asked<R::Response>, Stop> {
        self.session.may_ask(R::NAME, self.kind.as_ref())?;
        let reply = self
            .accounted(self.session.client.call::<R>(&self.id, request))
            .await;
        self.session.judge_connection(reply).await
    }

    /// A call, noted, with what happened on the node meanwhile put to its account.
    pub(super) async fn accounted<T>(&self, call: impl Future<Output = Reply<T>>) -> Reply<T> {
        let ran = self.session.ran_so_far();
        let from = self.session.moment().await;
        let reply = call.await;
        let to = match reply.record.code.as_str() {
            // It goes on, so this is no moment of its own; and what follows must not wait.
            "cut" => from,
            _ => self.session.moment().await,
        };
        self.session.accounts.call(&reply.record, from, to);
        self.session.kernel.hear();
        self.see(Evidence::Call(reply.record.clone()));
        self.note_what_ran(&reply.record.rpc, reply.record.n, ran);
        reply
    }

    /// Asks, and again with the same request while the driver says that it is
    /// busy (`ABORTED`) or not up (`UNAVAILABLE`), as a caller has to.
    ///
    /// # Errors
    /// As [`Cx::ask`].
    pub async fn ask_patiently<R: Rpc>(
        &self,
        request: &R::Request,
    ) -> Result<Asked<R::Response>, Stop> {
        let mut patience = Patience::new(self.session.client.deadline(R::NAME));
        let began = Instant::now();
        loop {
            let asked = self.ask::<R>(request).await?;
            let busy = asked
                .refusal()
                .is_some_and(|refusal| refusal.code.is_transient());
            let hurried = self.session.is_interrupted() && began.elapsed() > HURRY;
            if !busy || hurried || self.impatient.load(Ordering::Relaxed) {
                return Ok(asked);
            }
            if !patience.wait().await {
                self.impatient.store(true, Ordering::Relaxed);
                return Ok(asked);
            }
        }
    }

    /// Asks to take something back, and again a few times if it is refused: what
    /// is busy for a moment (a probe of udev's, a child that was just forked) is
    /// no fault of the driver, and the kubelet comes back too.
    ///
    /// # Errors
    /// As [`Cx::ask`].
    pub async fn ask_insisting<R: Rpc>(
        &self,
        request: &R::Request,
    ) -> Result<Asked<R::Response>, Stop> {
        let mut patience = Patience::brisk(INSISTING);
        let mut first = None;
        loop {
            let asked = self.ask_patiently::<R>(request).await?;
            if asked.is_ok() {
                // What we had broken or given up may still be at work at first.
                if !self.session.client.history().has_excused(&self.id) {
                    self.session.was_ok(R::NAME, first);
                }
                return Ok(asked);
            }
            let hopeless = [Code::INVALID_ARGUMENT, Code::NOT_FOUND, Code::UNIMPLEMENTED];
            let again = asked
                .refusal()
                .is_some_and(|refusal| !hopeless.contains(&refusal.code));
            if !again || self.impatient.load(Ordering::Relaxed) || !patience.wait().await {
                return Ok(asked);
            }
            // Other codes tell of something that is still at work, or in use.
            let own = asked
                .refusal()
                .filter(|refusal| refusal.code.is_own_error());
            first = first.or(own.map(|refusal| told(R::NAME, refusal)));
        }
    }

    /// Asks once while we have broken what the driver depends on. None: no answer
    /// within [`AWAY`], which is for the check to judge.
    ///
    /// # Errors
    /// A broken connection, or an answer that is not CSI.
    pub async fn ask_into_fault<R: Rpc>(
        &self,
        request: &R::Request,
    ) -> Result<Option<Asked<R::Response>>, Stop> {
        self.ask_into_fault_for::<R>(request, AWAY).await
    }

    /// The same, and the call is given up after `limit`.
    ///
    /// # Errors
    /// As [`Cx::ask_into_fault`].
    pub async fn ask_into_fault_for<R: Rpc>(
        &self,
        request: &R::Request,
        limit: Duration,
    ) -> Result<Option<Asked<R::Response>>, Stop> {
        self.session.may_ask(R::NAME, self.kind.as_ref())?;
        let client = &self.session.client;
        let limit = limit.min(client.longest_deadline());
        let reply = self
            .accounted(client.call_into_fault::<R>(&self.id, request, limit))
            .await;
        match reply.answer {
            Answer::Silent(_) => Ok(None),
            _ => self.session.judge_connection(reply).await.map(Some),
        }
    }

    /// The same to take something back: a refusal is asked again a few times, since what
    /// is busy for a moment is no fault of the driver.
    ///
    /// # Errors
    /// As [`Cx::ask_into_fault`].
    pub async fn insist_into_fault<R: Rpc>(
        &self,
        request: &R::Request,
    ) -> Result<Option<Asked<R::Response>>, Stop> {
        let mut patience = Patience::brisk(INSISTING);
        loop {
            let asked = self.ask_into_fault::<R>(request).await?;
            let refused = asked
                .as_ref()
                .is_some_and(|asked| asked.refusal().is_some());
            if !refused || !patience.wait().await {
                return Ok(asked);
            }
        }
    }

    /// Notes something that was seen, for the report.
    pub fn fact(&self, label: &str, text: impl Into<String>) {
        self.see(Evidence::Fact {
            label: label.to_owned(),
            text: text.into(),
        });
    }

    /// Notes what was seen elsewhere, for the report.
    pub fn show(&self, seen: &[Evidence]) {
        seen.iter().for_each(|seen| self.see(seen.clone()));
    }

    /// Notes a call of the run, for the report.
    pub fn call(&self, call: &CallRecord) {
        self.see(Evidence::Call(call.clone()));
    }

    /// The failure of a step: this check's own finding if it owns the step,
    /// else blocked by the check that does.
    pub fn blame(&self, step: Step, why: impl Into<String>) -> Stop {
        let why = why.into();
        if self.check.owns.contains(&step) {
            Stop::Fail(why)
        } else {
            Stop::Blocked {
                step,
                why,
                refused: false,
            }
        }
    }

    /// The mounts of our own namespace.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn mounts(&self) -> Result<MountTable, Stop> {
        MountTable::ours().map_err(|e| Stop::ours("read /proc/thread-self/mountinfo", e))
    }

    /// Marks where the body ended, and the taking back begins.
    pub fn body_ended(&self) {
        self.see(Evidence::TakenBack);
    }

    pub(super) fn see(&self, evidence: Evidence) {
        self.trail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(evidence);
    }

    /// How many volumes are claimed now.
    pub fn volumes(&self) -> u64 {
        self.claims().volumes.len() as u64
    }

    pub(super) fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places that it gave back, where nothing may be mounted until the run
    /// ends. The runner takes them when the body ended.
    pub fn take_watched(&self) -> Vec<Watchpoint> {
        std::mem::take(&mut self.claims().watched)
    }

    /// All that was seen, in order. The runner takes it when the body ended.
    pub fn take_trail(&self) -> Vec<Evidence> {
        std::mem::take(&mut *self.trail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An answer of the driver: OK or a refusal.
#[derive(Debug, Clone)]
#[must_use = "an answer is there to be judged"]
pub struct Asked<T> {
    pub(super) rpc: String,
    pub(super) answer: Result<T, Refusal>,
}

impl<T: Default> Asked<T> {
    /// What a call would be answered that there is no reason to make.
    pub(super) fn nothing_to_do(rpc: &str) -> Self {
        Self {
            rpc: rpc.to_owned(),
            answer: Ok(T::default()),
        }
    }
}

impl<T> Asked<T> {
    /// Takes what a driver answered from a reply; what is no answer stays.
    pub(super) fn from_reply(reply: Reply<T>) -> Result<Self, Box<Reply<T>>> {
        let rpc = reply.record.rpc.clone();
        match reply.answer {
            Answer::Ok(message) => Ok(Self {
                rpc,
                answer: Ok(message),
            }),
            Answer::Refused(refusal) => Ok(Self {
                rpc,
                answer: Err(refusal),
            }),
            answer => Err(Box::new(Reply {
                record: reply.record,
                answer,
            })),
        }
    }

    /// The refusal, if it was one.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.answer.as_ref().err()
    }

    /// The code of the answer, in words.
    pub fn code(&self) -> String {
        self.refusal()
            .map_or_else(|| "OK".to_owned(), |refusal| refusal.code.to_string())
    }

    /// Whether the answer is OK.
    pub fn is_ok(&self) -> bool {
        self.answer.is_ok()
    }

    /// The message of an OK; a refusal is a finding.
    ///
    /// # Errors
    /// The finding.
    pub fn ok(self) -> Result<T, Stop> {
        self.answer
            .map_err(|refusal| Stop::fail(told(&self.rpc, &refusal)))
    }

    /// The message of an OK; a refusal is the failure of this step.
    ///
    /// # Errors
    /// A finding, or blocked.
    pub fn ok_or(self, cx: &Cx, step: Step) -> Result<T, Stop> {
        self.answer
            .map_err(|refusal| match cx.blame(step, told(&self.rpc, &refusal)) {
                Stop::Blocked { step, why, .. } => Stop::Blocked {
                    step,
                    why,
                    refused: true,
                },
                finding => finding,
            })
    }

    /// The message of an OK; a refusal is the failure of this step, unless
    /// volumes of this access type turn out not to be offered at all.
    ///
    /// # Errors
    /// A finding, blocked, or declined.
    pub(super) fn ok_or_declined(self, cx: &Cx, step: Step, access: Access) -> Result<T, Stop> {
        let mut says_so = vec![Code::INVALID_ARGUMENT, Code::UNIMPLEMENTED];
        // After a stage that was OK, this code says that something else is amiss.
        if step != Step::Publish(access) || !cx.session.has_worked(Step::Stage(access), access) {
            says_so.push(Code::FAILED_PRECONDITION);
        }
        let declined = |refusal: &&Refusal| {
            says_so.contains(&refusal.code)
                && !cx.facts().claims(access)
                && !cx.session.has_worked(step, access)
        };
        match self.refusal().filter(declined) {
            Some(refusal) => Err(Stop::Declined {
                access,
                step,
                why: told(&self.rpc, refusal),
            }),
            None => self.ok_or(cx, step),
        }
    }

    /// OK is a finding, and so is a refusal with another code.
    ///
    /// # Errors
    /// The finding.
    pub fn refused_with(self, codes: &[Code]) -> Result<(), Stop> {
        let wanted: Vec<_> = codes.iter().map(Code::to_string).collect();
        let wanted = wanted.join(" or ");
        match self.answer {
            Ok(_) => Err(Stop::fail(format!(
                "{} answered OK; {wanted} was due",
                self.rpc
            ))),
            Err(refusal) if codes.contains(&refusal.code) => Ok(()),
            Err(refusal) => Err(Stop::fail(format!(
                "{}; {wanted} was due",
                told(&self.rpc, &refusal)
            ))),
        }
    }

    /// A refusal is due, and one of these codes says best why; with another it did
    /// nothing either, and said so: a warning.
    ///
    /// # Errors
    /// The finding, or the warning.
    pub fn refused_best_with(self, codes: &[Code]) -> Result<(), Stop> {
        let was_refused = self.refusal().is_some();
        self.refused_with(codes).map_err(|stop| match stop {
            Stop::Fail(why) if was_refused => Stop::Warn(why),
            other => other,
        })
    }
}

pub(super) fn told(rpc: &str, refusal: &Refusal) -> String {
    let Refusal { code, message } = refusal;
    let words: String = message.chars().take(300).collect();
    if words.is_empty() {
        format!("{rpc} answered {code}")
    } else {
        format!("{rpc} answered {code}: {words}")
    }
}
