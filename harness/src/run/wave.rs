//! One case, from its body to its ledger; and many of them side by side.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::plan::Planned;
use super::room::Room;
use crate::check::{
    Checked, Cx, Evidence, Negated, Residue, Session, Step, Stop, Watchpoint, negate,
};
use crate::report::Event;

/// A case that ended, and is not settled yet.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) case: Planned,
    pub(super) checked: Checked,
    pub(super) trail: Vec<Evidence>,
    pub(super) stayed: Vec<Residue>,
    pub(super) duration: Duration,
    /// Calls made, and volumes taken or created.
    pub(super) calls: u64,
    pub(super) volumes: u64,
    /// It ended like this before, and was asked again by itself.
    pub(super) before: Option<Stop>,
    /// Places where nothing may be mounted until the quiet period is over.
    pub(super) watched: Vec<Watchpoint>,
    /// The driver died before all of it was taken back.
    pub(super) owed: Option<Arc<Cx>>,
    /// The driver died under it: what stayed is not its finding.
    pub(super) excused: bool,
}

impl Ended {
    /// A case that was not run.
    pub(super) fn not_run(case: Planned, checked: Checked) -> Self {
        Self {
            case,
            checked,
            trail: Vec::new(),
            stayed: Vec::new(),
            duration: Duration::ZERO,
            calls: 0,
            volumes: 0,
            before: None,
            watched: Vec::new(),
            owed: None,
            excused: false,
        }
    }

    /// Whether the driver died in one of its calls.
    pub(super) fn is_casualty(&self) -> bool {
        self.body_died() || self.owed.is_some()
    }

    /// Whether its body ended because the driver died; what was not asked
    /// because it is known to kill is no casualty.
    pub(super) fn body_died(&self) -> bool {
        let broke = |seen: &Evidence| matches!(seen, Evidence::Call(call) if call.code == "broken" || call.code == "no connection");
        matches!(
            self.checked,
            Err(Stop::Blocked {
                step: Step::Alive,
                ..
            })
        ) && self.trail.iter().any(broke)
    }

    /// Whether a step failed beside others, and worked when the case was asked
    /// again by itself. Silence and death have findings of their own.
    pub(super) fn worked_alone(&self) -> bool {
        let history = [Step::Answers, Step::Alive, Step::Speaks];
        match (&self.before, &self.checked) {
            (Some(Stop::Blocked { step, .. }), Ok(())) => !history.contains(step),
            (Some(Stop::Warn(_)), Ok(())) => true,
            _ => false,
        }
    }

    /// Takes back what is owed, now that the driver is there again, or without
    /// it.
    pub(super) async fn pay(&mut self, gone: bool) {
        let Some(cx) = self.owed.take() else { return };
        let negated = negate(&cx, false, gone).await;
        self.stayed.extend(negated.stayed);
        self.trail.extend(cx.take_trail());
        self.excused = true;
        if negated.interrupted {
            self.owed = Some(cx);
        }
    }
}

/// Runs one case to its end: body, negation, ledger, forced removal. A panic
/// or a deadline in the body skips none of the others.
pub(super) async fn run_case(
    session: Arc<Session>,
    case: Planned,
    events: UnboundedSender<Event>,
) -> Ended {
    let began = Instant::now();
    let _ = events.send(Event::CheckStarted {
        id: case.id.clone(),
    });
    let cx = Arc::new(Cx::new(
        case.check,
        case.id.clone(),
        case.kind.clone(),
        case.mode,
        session.clone(),
    ));
    let body = {
        let cx = cx.clone();
        let run = case.check.run;
        tokio::spawn(async move { run(&cx).await })
    };
    let stop = body.abort_handle();
    let limit = session.body_limit(case.check);
    let checked = match tokio::time::timeout(limit, body).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(broken)) => Err(Stop::Ours(format!(
            "the check itself broke: {}",
            panic_words(broken)
        ))),
        Err(_) => {
            stop.abort();
            Err(Stop::Ours(format!(
                "the check did not end within {limit:?}"
            )))
        }
    };
    cx.body_ended();
    let died = matches!(
        checked,
        Err(Stop::Blocked {
            step: Step::Alive,
            ..
        })
    ) && !session.is_alive().await;
    let volumes = cx.volumes();
    let watched = cx.take_watched();
    let negated = match died {
        true => Negated {
            interrupted: true,
            ..Negated::default()
        },
        false => negate(&cx, checked.is_ok(), false).await,
    };
    Ended {
        checked,
        trail: cx.take_trail(),
        calls: session.history().calls_of(&case.id),
        volumes,
        watched,
        stayed: negated.stayed,
        duration: began.elapsed(),
        owed: negated.interrupted.then_some(cx),
        ..Ended::not_run(case, Ok(()))
    }
}

fn panic_words(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "panic".to_owned()),
        Err(error) => error.to_string(),
    }
}

/// Runs cases side by side until the queue is empty, or until one ended
/// because the driver died or the user interrupts; then those in flight end,
/// and the rest of the queue waits.
pub(super) async fn side_by_side(
    session: &Arc<Session>,
    queue: &mut VecDeque<Planned>,
    jobs: usize,
    most_volumes: u32,
    events: &UnboundedSender<Event>,
    mut each: impl FnMut(Ended),
) {
    let mut running = JoinSet::new();
    let mut cases = HashMap::new();
    let mut room = Room::new(&session.facts, most_volumes);
    let mut draining = false;
    loop {
        while !draining && !session.is_interrupted() && running.len() < jobs {
            let Some(place) = queue.iter().position(|case| room.has(case)) else {
                break;
            };
            let Some(case) = queue.remove(place) else {
                break;
            };
            room.take(&case);
            let task = running.spawn(run_case(session.clone(), case.clone(), events.clone()));
            cases.insert(task.id(), case);
        }
        let (id, ended) = match running.join_next_with_id().await {
            None => return,
            Some(Ok((id, ended))) => (id, ended),
            // What a body does is caught; this is our own.
            Some(Err(error)) => {
                let id = error.id();
                let Some(case) = cases.get(&id).cloned() else {
                    continue;
                };
                (
                    id,
                    Ended::not_run(case, Err(Stop::Ours(panic_words(error)))),
                )
            }
        };
        cases.remove(&id);
        room.give(&ended.case);
        draining |= ended.is_casualty();
        each(ended);
    }
}
