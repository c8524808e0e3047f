//! The way that every call goes, from its request to its answer.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tonic::{Code, Request, Response, Status};

use super::locks::{Held, Locks};
use super::patience::Patience;
use crate::defect::{Defect, Defects};
use crate::sys;

/// A call that works on one volume at a time says which.
pub(crate) type Claim<'a> = Option<&'a str>;

/// What calls need of one another, and the defects that bite in all of them.
#[derive(Debug)]
pub(crate) struct Calls {
    defects: Defects,
    locks: Locks,
    delay: Option<Duration>,
    hung: AtomicBool,
    everything: Arc<Mutex<()>>,
}

/// A driver that answers calls.
pub(crate) trait Answers: Send + Sync + 'static {
    /// What its calls share.
    fn calls(&self) -> &Calls;
}

impl Calls {
    /// Calls that take at least `delay`, each.
    pub(crate) fn new(defects: Defects, delay: Option<Duration>) -> Self {
        Self {
            defects,
            locks: Locks::default(),
            delay,
            hung: AtomicBool::new(false),
            everything: Arc::default(),
        }
    }

    /// Claims one more volume for a call that works on two.
    ///
    /// # Errors
    ///
    /// ABORTED while another call holds it.
    pub(crate) fn hold(&self, key: &str) -> Result<Held, Status> {
        self.locks.hold(key)
    }

    /// An RPC that the driver does not offer.
    pub(crate) fn unimplemented<R>(&self, rpc: &'static str) -> Result<Response<R>, Status> {
        if self.defects.has(Defect::UNADVERTISED_RPC_PANICS) {
            std::process::abort();
        }
        tracing::info!(rpc, code = ?Code::Unimplemented, "refused");
        Err(Status::unimplemented(format!("{rpc} is not offered")))
    }

    /// Hangs for ever, the first time, with nothing held: the defect never-answers.
    pub(crate) async fn maybe_hang(&self) {
        if self.defects.has(Defect::NEVER_ANSWERS) && !self.hung.swap(true, Ordering::SeqCst) {
            tracing::info!("the call hangs");
            std::future::pending::<()>().await;
        }
    }
}

/// One call: claims the volume, does the work where it may block, and logs a
/// line that tells nothing of what was asked.
pub(crate) async fn call<D, Q, R>(
    driver: &Arc<D>,
    rpc: &'static str,
    request: Request<Q>,
    claim: impl FnOnce(&Q) -> Claim<'_>,
    work: impl FnOnce(&D, &Q, &Patience) -> Result<R, Status> + Send + 'static,
) -> Result<Response<R>, Status>
where
    D: Answers,
    Q: Debug + Send + Sync + 'static,
    R: Send + 'static,
{
    let began = Instant::now();
    let (patience, _caller) = Patience::of(request.metadata());
    let request = request.into_inner();
    if driver.calls().defects.has(Defect::SECRET_IN_LOG) {
        tracing::info!(rpc, ?request, "request");
    }
    let answer = guarded(driver, rpc, request, patience, claim, work).await;
    let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
    let took = began.elapsed().as_millis();
    match &answer {
        Ok(_) => tracing::info!(rpc, ?code, took_ms = took, "answered"),
        Err(status) => {
            tracing::warn!(
                rpc,
                ?code,
                took_ms = took,
                why = status.message(),
                "refused"
            );
        }
    }
    answer.map(Response::new)
}

async fn guarded<D, Q, R>(
    driver: &Arc<D>,
    rpc: &'static str,
    request: Q,
    patience: Patience,
    claim: impl FnOnce(&Q) -> Claim<'_>,
    work: impl FnOnce(&D, &Q, &Patience) -> Result<R, Status> + Send + 'static,
) -> Result<R, Status>
where
    D: Answers,
    Q: Send + Sync + 'static,
    R: Send + 'static,
{
    let calls = driver.calls();
    let shared = [Defect::GLOBAL_MUTEX, Defect::STATS_BLOCK_FOREVER];
    let one_for_all = match shared.iter().any(|defect| calls.defects.has(*defect)) {
        true => Some(Arc::clone(&calls.everything).lock_owned().await),
        false => None,
    };
    let claimed = claim(&request).filter(|key| !key.is_empty());
    let volume = claimed.map(str::to_owned);
    let held = match claimed {
        Some(key) if !calls.defects.has(Defect::NO_PER_VOLUME_LOCK) => Some(calls.locks.hold(key)?),
        _ => None,
    };
    if let Some(delay) = calls.delay {
        tokio::time::sleep(delay).await;
    }
    let driver = Arc::clone(driver);
    // The claim goes with the work, which goes on when the caller gives up, be
    // it to take back what it has done. The defect lets it go with the caller.
    let (held, _given_up_with_the_call) = match calls.defects.has(Defect::CANCELLED_WORK_CONTINUES)
    {
        true => (None, held),
        false => (held, None),
    };
    let work = move || {
        let held = held;
        let _one_for_all = one_for_all;
        let _here = sys::rpc::enter(rpc, volume);
        let answer = work(&driver, &request, &patience);
        if answer.is_err() && driver.calls().defects.has(Defect::LOCK_NOT_RELEASED) {
            std::mem::forget(held);
        }
        answer
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Status::internal(format!("the call ended early: {error}")))?
}
