//! `run`: from the command line to the report and the exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use csi_drivers::defect::Defects;
use csi_harness::config::{self, Config};
use csi_harness::lab::{Scratch, state_base};
use csi_harness::node::Host;
use csi_harness::report::{Ways, exit_code};
use csi_harness::run::{Request, Selection, Setup, conduct};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use super::args::RunArgs;
use super::screen::say;
use super::show::{Shown, show};
use super::{clean, plan};
use crate::builtin::{self, BuiltIn, Chosen};
use crate::shell::quoted;
use crate::wrong::Wrong;
use crate::{names, root, suite};

/// Where the report is written, where nobody says.
const REPORT_DIR: &str = "csi-conformance-report";

/// Runs the suite. No thread is started before all of it is prepared.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Wrong> {
    let mut config = Config::load(args.config.as_deref()).map_err(Wrong::from)?;
    let host = Host::look();
    let built_in = is_built_in(args, &config);
    if built_in {
        let defects = Defects::parse_for(which(args).into(), &args.defect).map_err(Wrong::from)?;
        let program = std::env::current_exe().map_err(|error| {
            Wrong(format!(
                "find this program to start the built-in driver: {error}"
            ))
        })?;
        let chosen = Chosen {
            driver: which(args),
            program: &program,
            defects: &defects,
            arguments: &args.driver_arg,
        };
        builtin::configure(&mut config, chosen, &host)?;
    }
    overlay(&mut config, args);
    config.validate().map_err(Wrong::from)?;
    for unknown in names::unknown_failures(suite::checks(), &config) {
        say(&format!("note  {unknown}\n"));
    }
    let given = Selection {
        filters: [&args.only[..], &args.filters[..]].concat(),
        exact: args.exact || !args.only.is_empty(),
        skip: args.skip.clone(),
        repeat: args.repeat,
    };
    let selection = names::selection(suite::checks(), &config, &given)?;
    root::required(&host)?;

    let scratch = match built_in {
        true => Some(
            Scratch::enter(&state_base())
                .map_err(Wrong::from)?
                .path()
                .to_owned(),
        ),
        // A stranger lives in the host's namespace, and so must we.
        false => None,
    };
    let setup = Setup {
        scratch,
        our_own_driver: built_in,
        interrupted: Arc::default(),
        cannot_mount: root::cannot_mount(&host),
    };
    let request = Request {
        config: Arc::new(config),
        setup,
        checks: suite::checks(),
        selection,
        suite: suite::info(),
    };
    if built_in {
        say(&format!("{}\n", announcement(args)));
    }
    log_to_stderr("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Wrong(format!("start the threads: {error}")))?;
    match args.plan {
        true => runtime.block_on(plan::plan(&request)),
        false => checked(runtime, request, rerun(args)),
    }
}

fn is_built_in(args: &RunArgs, config: &Config) -> bool {
    let asked = args.driver.is_some() || !args.defect.is_empty() || !args.driver_arg.is_empty();
    let said = [
        &args.endpoint,
        &args.controller_endpoint,
        &args.node_endpoint,
    ];
    let known = said.iter().any(|endpoint| endpoint.is_some())
        || config.controller().is_some()
        || config.node().is_some()
        || !config.driver.command.is_empty();
    asked || !known
}

/// The built-in driver that is meant, if one is.
fn which(args: &RunArgs) -> BuiltIn {
    args.driver.unwrap_or(BuiltIn::Loop)
}

fn announcement(args: &RunArgs) -> String {
    let which = which(args);
    let why = match args.driver.is_some() || !args.defect.is_empty() {
        true => "",
        false => " (no endpoint was given: --endpoint, CSI_ENDPOINT or csi-conformance.yaml)",
    };
    match args.defect.is_empty() {
        true => format!("starting the built-in {which} driver{why}"),
        false => format!(
            "starting the built-in {which} driver with {}",
            args.defect.join(", ")
        ),
    }
}

/// Puts what the command line says over all else.
fn overlay(config: &mut Config, args: &RunArgs) {
    if let Some(endpoint) = &args.endpoint {
        config.set_endpoint(endpoint.clone());
    }
    if args.controller_endpoint.is_some() || args.node_endpoint.is_some() {
        config.endpoint = None;
        config
            .controller_endpoint
            .clone_from(&args.controller_endpoint);
        config.node_endpoint.clone_from(&args.node_endpoint);
    }
    if args.endpoint.is_some() || args.node_endpoint.is_some() {
        // It runs already.
        config.driver.command.clear();
    }
    if let Some(jobs) = args.jobs {
        config.jobs = jobs.get();
    }
    config.require = args.require.unwrap_or(config.require);
    if let Some(allow) = &args.allow {
        config.allow = Some(allow.0.clone());
    }
    config.deadline = args.deadline.unwrap_or(config.deadline);
    config.quiet_period = args.quiet_period.or(config.quiet_period);
    config.thorough |= args.thorough;
    if args.report_dir.is_some() {
        config.report_dir.clone_from(&args.report_dir);
    }
    config
        .report_dir
        .get_or_insert_with(|| PathBuf::from(REPORT_DIR));
}

/// The command line that runs one check again; its id is put behind it.
fn rerun(args: &RunArgs) -> String {
    let program = std::env::args()
        .next()
        .unwrap_or_else(|| "csi-conformance".into());
    let mut words = vec![program, "run".to_owned()];
    let mut add = |flag: &str, value: Option<String>| {
        words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    };
    let from_env = std::env::var("CSI_ENDPOINT")
        .ok()
        .filter(|value| !value.is_empty());
    let asked = args.driver.is_some() || !args.defect.is_empty() || !args.driver_arg.is_empty();
    let apart = args.controller_endpoint.is_some() || args.node_endpoint.is_some();
    let endpoint = args.endpoint.as_ref().map(ToString::to_string);
    add(
        "--endpoint",
        endpoint.or(from_env.filter(|_| !asked && !apart)),
    );
    add(
        "--controller-endpoint",
        args.controller_endpoint.as_ref().map(ToString::to_string),
    );
    add(
        "--node-endpoint",
        args.node_endpoint.as_ref().map(ToString::to_string),
    );
    add("--driver", asked.then(|| which(args).to_string()));
    for defect in &args.defect {
        add("--defect", Some(defect.clone()));
    }
    for argument in &args.driver_arg {
        add("--driver-arg", Some(argument.clone()));
    }
    add(
        "--config",
        args.config.as_ref().map(|file| file.display().to_string()),
    );
    add(
        "--allow",
        args.allow.as_ref().map(|allow| {
            let words: Vec<_> = allow.0.iter().map(ToString::to_string).collect();
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join(",")
            }
        }),
    );
    add("--deadline", args.deadline.map(config::format_duration));
    add(
        "--quiet-period",
        args.quiet_period.map(config::format_duration),
    );
    words.extend(args.thorough.then(|| "--thorough".to_owned()));
    words.push("--exact".to_owned());
    words
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn checked(runtime: Runtime, request: Request, rerun: String) -> Result<ExitCode, Wrong> {
    let require = request.config.require;
    let dir = request.config.report_dir.clone();
    let dir = dir.unwrap_or_else(|| PathBuf::from(REPORT_DIR));
    // Known now rather than after minutes of work.
    let made = !dir.exists();
    std::fs::create_dir_all(&dir).map_err(|error| {
        Wrong(format!(
            "make the report's folder {}: {error}",
            dir.display()
        ))
    })?;
    let ways = Ways {
        rerun,
        evidence: None,
        report: Some(dir.join(csi_harness::report::json::FILE_NAME)),
    };
    let interrupted = request.setup.interrupted.clone();
    let report = runtime.block_on(async {
        let (events, incoming) = unbounded_channel();
        let shown = tokio::spawn(show(incoming, ways, dir.clone()));
        let signals = Signals::new().map_err(Wrong::from)?;
        let report = tokio::select! {
            report = conduct(request, events) => report.map_err(Wrong::from)?,
            () = signals.twice(&interrupted) => return Ok(None),
        };
        match shown.await {
            Ok(Shown::Written) => Ok(Some(report)),
            Ok(Shown::NotWritten(why)) => Err(Wrong(why)),
            Ok(Shown::Nothing) => Err(Wrong("the run ended without a report".into())),
            Err(error) => Err(Wrong(format!("show the run: {error}"))),
        }
    });
    if report.is_err() && made {
        // It stays where there is something in it.
        let _ = std::fs::remove_dir(&dir);
    }
    match report? {
        Some(report) if !interrupted.load(Ordering::Relaxed) => {
            Ok(exit_code(report.verdict, require, report.totals.ran()).into())
        }
        Some(_) => Ok(INTERRUPTED.into()),
        None => {
            // What runs is dropped with its threads, and its driver with it; the
            // journal then tells what is left of it.
            drop(runtime);
            clean::after_signal();
            Ok(INTERRUPTED.into())
        }
    }
}

/// What a shell says of a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self {
            interrupt,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// At the first, no more checks are begun; ends at the second.
    async fn twice(mut self, interrupted: &AtomicBool) {
        self.one().await;
        interrupted.store(true, Ordering::Relaxed);
        eprintln!(
            "\ninterrupted: what runs comes to its end, and is taken back; once more to break off"
        );
        self.one().await;
        eprintln!(
            "\nbroken off: what was made on this node is removed; volumes of the driver may stay"
        );
    }
}

/// Our own troubles go to the standard error, at the level of `RUST_LOG`.
pub(super) fn log_to_stderr(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
