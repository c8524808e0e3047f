//! A whole run, from what the user said to the report.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::engine::{Engine, Finished};
use super::plan::{Plan, Selection};
use super::setup::{Setup, SetupError, connect, namespace_in_words};
use crate::check::{Check, Matrix, Session, Watches};
use crate::config::{Config, Expected};
use crate::lab::{RunFolder, leftovers, state_base};
use crate::node::Host;
use crate::report::{
    DriverInfo, Event, HostInfo, Report, Scope, Scrubber, Skips, SuiteInfo, Totals, Verdict,
};

/// A cap on the volumes on the node at once, where neither the driver nor the
/// user gives one.
const MOST_VOLUMES: u32 = 64;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the user said.
    pub config: Arc<Config>,
    /// What was prepared before the first thread.
    pub setup: Setup,
    /// The suite.
    pub checks: &'static [&'static Check],
    /// Which of it.
    pub selection: Selection,
    /// What made the report.
    pub suite: SuiteInfo,
}

/// What a run would do.
#[derive(Debug)]
pub struct Preview {
    /// The cases, with what is lacking.
    pub plan: Plan,
    /// At most so many volumes at once.
    pub volumes: u32,
    /// At most so many calls.
    pub calls: u32,
    /// The driver.
    pub driver: DriverInfo,
}

/// Runs it all: cleans up after killed runs, starts or finds the driver, runs
/// the checks, stops what it started, and tells of everything on the way.
///
/// # Errors
/// The run cannot begin.
pub async fn conduct(
    request: Request,
    events: UnboundedSender<Event>,
) -> Result<Report, SetupError> {
    let scrubber = Arc::new(Scrubber::new(request.config.secrets.values()));
    let events = scrubbed(scrubber.clone(), events);
    let began = Instant::now();
    let started_at_ms = now_ms();
    clean_up(&events).await;
    let (folder, session) = begin(&request).await?;
    let most_volumes = most_volumes(&session);
    let plan = plan(&request).against(&session.facts, most_volumes);
    let driver = driver_info(&session);
    let _ = events.send(Event::Started {
        total: plan.selected(),
        driver: format!("{} {}", driver.name, driver.version)
            .trim()
            .to_owned(),
        endpoint: driver.endpoint.clone(),
    });
    let scope = scope(&request, &session, &plan).await;
    let jobs = request.config.jobs;
    let engine = Engine::new(
        session.clone(),
        request.checks,
        jobs,
        most_volumes,
        events.clone(),
    );
    let Finished { mut checks, ledger } = engine.run(plan).await;
    // With a filter, nobody knows what came of the rest.
    if !request.selection.is_partial() {
        let known = |entry: &&Expected| {
            let base = entry.check.split('[').next();
            request.checks.iter().any(|check| base == Some(check.id))
        };
        let expected = request.config.expected.iter().filter(known);
        for idle in super::expected::settle(&mut checks, expected) {
            let _ = events.send(Event::Note(idle));
        }
    }
    let calls = session.history().calls();
    end(session, folder, &events).await;
    let totals = Totals::of(&checks);
    let mut report = Report {
        schema: 1,
        verdict: Verdict::of(&totals, request.selection.is_partial(), Skips::of(&checks)),
        driver,
        suite: request.suite,
        host: host_info(),
        scope,
        rerun: String::new(),
        started_at_ms,
        duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        calls,
        totals,
        checks,
        ledger,
    };
    scrubber.scrub_report(&mut report);
    let _ = events.send(Event::Ended(Box::new(report.clone())));
    Ok(report)
}

/// What a run would check, skip and need. It asks the driver what it offers,
/// and nothing else.
///
/// # Errors
/// The run cannot begin.
pub async fn preview(request: &Request) -> Result<Preview, SetupError> {
    let (folder, session) = begin(request).await?;
    let plan = plan(request).against(&session.facts, most_volumes(&session));
    let preview = Preview {
        volumes: plan.volumes(request.config.jobs),
        calls: plan.calls(),
        driver: driver_info(&session),
        plan,
    };
    let (nobody, _) = unbounded_channel();
    end(session, folder, &nobody).await;
    Ok(preview)
}

/// The cases that a request selects, whatever the driver offers.
pub fn plan(request: &Request) -> Plan {
    Plan::of(
        request.checks,
        &Matrix::of(&request.config),
        &request.selection,
    )
}

async fn begin(request: &Request) -> Result<(RunFolder, Arc<Session>), SetupError> {
    let folder = RunFolder::make(&state_base()).map_err(|e| SetupError::Folders(e.to_string()))?;
    match connect(request.config.clone(), &request.setup, &folder).await {
        Ok(session) => Ok((folder, Arc::new(session))),
        Err(error) => {
            let _ = tokio::task::spawn_blocking(move || folder.end()).await;
            Err(error)
        }
    }
}

/// Stops what was started and takes away what was made.
async fn end(session: Arc<Session>, folder: RunFolder, events: &UnboundedSender<Event>) {
    if let Some(driver) = &session.driver {
        driver.lock().await.stop().await;
    }
    drop(session);
    match tokio::task::spawn_blocking(move || folder.end()).await {
        Ok(Ok(cleaned)) => {
            for line in cleaned.iter().filter(|line| line.what != "folder") {
                let _ = events.send(Event::Note(format!(
                    "{} {}: {}",
                    line.what, line.object, line.then
                )));
            }
        }
        Ok(Err(error)) => {
            let _ = events.send(Event::Note(format!("the run's folder stays: {error}")));
        }
        Err(error) => tracing::error!(%error, "end of the run's folder"),
    }
}

/// Takes away what killed runs left.
async fn clean_up(events: &UnboundedSender<Event>) {
    let cleaned = tokio::task::spawn_blocking(|| {
        let found = leftovers(&state_base()).unwrap_or_default();
        found
            .into_iter()
            .filter_map(|leftover| leftover.clean().ok())
            .flatten()
            .collect::<Vec<_>>()
    });
    for line in cleaned.await.unwrap_or_default() {
        let _ = events.send(Event::Note(format!(
            "of a killed run: {} {}: {}",
            line.what, line.object, line.then
        )));
    }
}

/// A sender behind which every secret value is masked.
fn scrubbed(scrubber: Arc<Scrubber>, out: UnboundedSender<Event>) -> UnboundedSender<Event> {
    let (events, mut incoming) = unbounded_channel();
    tokio::spawn(async move {
        while let Some(mut event) = incoming.recv().await {
            match &mut event {
                Event::Called(call) => scrubber.scrub_call(call),
                Event::CheckSettled(settled) => scrubber.scrub_settled(settled),
                Event::Note(text) => scrubber.scrub_str(text),
                Event::Ended(report) => scrubber.scrub_report(report),
                Event::Started { .. } | Event::CheckStarted { .. } => {}
            }
            if out.send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn most_volumes(session: &Session) -> u32 {
    let said = session
        .facts
        .node_info
        .as_ref()
        .map(|info| info.max_volumes_per_node);
    let drivers = said
        .filter(|most| *most > 0)
        .and_then(|most| u32::try_from(most).ok());
    let users = session
        .config()
        .max_volumes
        .and_then(|most| u32::try_from(most).ok());
    let volumes = &session.config().volumes;
    let given = (!volumes.is_empty() && !volumes.iter().any(|volume| volume.is_template()))
        .then(|| u32::try_from(volumes.len()).unwrap_or(MOST_VOLUMES));
    [drivers, users, given]
        .into_iter()
        .flatten()
        .fold(MOST_VOLUMES, u32::min)
}

fn driver_info(session: &Session) -> DriverInfo {
    let endpoints = session
        .client
        .endpoints()
        .into_iter()
        .map(ToString::to_string);
    DriverInfo {
        name: session.facts.name.clone(),
        version: session.facts.version.clone(),
        endpoint: endpoints.collect::<Vec<_>>().join(" "),
        capabilities: session.facts.capabilities(),
    }
}

async fn scope(request: &Request, session: &Session, plan: &Plan) -> Scope {
    Scope {
        checks_in_suite: plan.in_suite,
        selected: plan.selected(),
        filters: request.selection.words(),
        allowed: session
            .facts
            .allowed
            .iter()
            .map(ToString::to_string)
            .collect(),
        driver_namespace: namespace_in_words(session).await,
        mounts_watched: session
            .watches
            .as_ref()
            .map_or_else(|| "not watched".to_owned(), Watches::in_words),
        deadline_ms: ms(request.config.deadline),
        quiet_period_ms: ms(session.quiet()),
        config: request.config.to_public_json(),
    }
}

fn host_info() -> HostInfo {
    let host = Host::look();
    let features = host
        .features
        .iter()
        .map(|f| (f.name.to_owned(), f.state.to_string()));
    HostInfo {
        features: features.collect(),
        kernel: host.kernel.clone(),
        arch: host.arch.clone(),
    }
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn now_ms() -> u64 {
    ms(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default())
}
