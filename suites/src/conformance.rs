//! The suite as a test target.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use csi_drivers::defect::Defects;
use csi_harness::config::Config;
use csi_harness::lab::{Scratch, state_base};
use csi_harness::node::Host;
use csi_harness::run::{Plan, Request, Selection, Setup};
use libtest_mimic::Arguments;

use crate::builtin::{self, BuiltIn, Chosen};
use crate::wrong::Wrong;
use crate::{names, root, suite, trials};

/// The suite as a test target of your own crate (`harness = false`), with all
/// that `cargo test` can: filters, `--list`, `--exact`, `--skip`,
/// `--test-threads`.
///
/// ```no_run
/// # macro_rules! env { ($name:literal) => { "my-driver" } }
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     csi_conformance::Conformance::for_command([env!("CARGO_BIN_EXE_my-driver"), "--endpoint=${endpoint}"])
///         .in_scratch()
///         .configure(|config| config.volume.file_systems = vec!["ext4".into()])
///         .main()
/// }
/// ```
///
/// What is said here is the beginning; `csi-conformance.yaml` in the crate's
/// folder and the environment are read as the command reads them. With
/// `CSI_ENDPOINT` set, the driver that listens there is checked, and none is
/// started.
#[derive(Default)]
#[must_use = "nothing is checked until `main` is called"]
pub struct Conformance {
    config: Option<Config>,
    command: Vec<String>,
    built_in: Option<PathBuf>,
    in_scratch: bool,
    adjust: Vec<Change>,
}

/// What a test target changes in the configuration.
type Change = Box<dyn FnOnce(&mut Config)>;

/// The driver that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// It listens somewhere.
    There,
    /// It is started by us.
    Started,
    /// It is the built-in one.
    BuiltIn,
}

impl Conformance {
    /// The driver that `csi-conformance.yaml` or `CSI_ENDPOINT` names.
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration made in Rust; neither a file nor the environment is read.
    pub fn with(config: Config) -> Self {
        Self {
            config: Some(config),
            ..Self::default()
        }
    }

    /// A driver that is started for the run, and stopped at its end: a program
    /// and its arguments, in which `${endpoint}` stands for the endpoint as a
    /// URL, `${socket}` for its bare path and `${state_dir}` for a folder that
    /// outlives a restart. `CSI_ENDPOINT` is in its environment too.
    pub fn for_command<I>(command: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// The driver that is built into the command `csi-conformance`, which is
    /// `program`, where nothing names another.
    pub fn or_built_in(mut self, program: impl Into<PathBuf>) -> Self {
        self.built_in = Some(program.into());
        self
    }

    /// A driver that we start shall live in a mount namespace of this test's
    /// own, with all folders on a scratch file system there, so that nothing
    /// that goes wrong reaches the host's file systems. Not for a driver that
    /// has its mounts made by somebody else (a daemon, `nsenter`).
    ///
    /// Without it, the folders are below `/var/lib/csi-conformance/runs/`.
    pub fn in_scratch(mut self) -> Self {
        self.in_scratch = true;
        self
    }

    /// Changes the configuration after it was read.
    pub fn configure(mut self, change: impl FnOnce(&mut Config) + 'static) -> Self {
        self.adjust.push(Box::new(change));
        self
    }

    /// Runs the trials that the command line of the test selects. To be called
    /// first of all in `main`: no thread may have been started before.
    ///
    /// The exit code is libtest's, 101 where there are findings, and 3 where the
    /// run cannot begin. Where a driver would be started and we are not root,
    /// every trial is ignored, and says why.
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        self.run(&arguments).unwrap_or_else(Wrong::tell)
    }

    fn run(mut self, arguments: &Arguments) -> Result<ExitCode, Wrong> {
        let mut config = match self.config.take() {
            Some(config) => config,
            None => Config::load(None).map_err(Wrong::from)?,
        };
        let host = Host::look();
        let whom = self.whom(&mut config, &host)?;
        for change in self.adjust {
            change(&mut config);
        }
        if let Some(threads) = arguments.test_threads {
            config.jobs = threads.max(1);
        }
        config.validate().map_err(Wrong::from)?;
        for unknown in names::unknown_failures(suite::checks(), &config) {
            eprintln!("note: {unknown}");
        }
        let selected = names::selection(suite::checks(), &config, &Selection::default())?;
        let plan = Plan::of(
            suite::checks(),
            &csi_harness::check::Matrix::of(&config),
            &selected,
        );

        let mut setup = Setup {
            scratch: None,
            our_own_driver: whom == Whom::BuiltIn,
            interrupted: Arc::default(),
            cannot_mount: root::cannot_mount(&host),
        };
        let mut unable = None;
        match (root::required(&host), whom) {
            _ if arguments.list => {}
            (Err(wrong), Whom::There) => return Err(wrong),
            (Err(_), _) => {
                unable = Some("not root: run it as sudo -E env \"PATH=$PATH\" cargo test")
            }
            (Ok(()), Whom::BuiltIn) => setup.scratch = Some(scratch()?),
            (Ok(()), Whom::Started) if self.in_scratch => setup.scratch = Some(scratch()?),
            (Ok(()), _) => {}
        }
        let request = Request {
            config: Arc::new(config),
            setup,
            checks: suite::checks(),
            selection: selected,
            suite: suite::info(),
        };
        trials::run(arguments, &plan, request, unable)
    }

    fn whom(&mut self, config: &mut Config, host: &Host) -> Result<Whom, Wrong> {
        if config.controller().is_some() || config.node().is_some() {
            return Ok(Whom::There);
        }
        if config.driver.command.is_empty() {
            config.driver.command = std::mem::take(&mut self.command);
        }
        if !config.driver.command.is_empty() {
            return Ok(Whom::Started);
        }
        match &self.built_in {
            Some(program) => {
                let chosen = Chosen {
                    driver: BuiltIn::Loop,
                    program,
                    defects: &Defects::default(),
                    arguments: &[],
                };
                builtin::configure(config, chosen, host)?;
                Ok(Whom::BuiltIn)
            }
            None => Err(Wrong(
                "no driver: set CSI_ENDPOINT, or write an endpoint or driver.command into csi-conformance.yaml"
                    .to_owned(),
            )),
        }
    }
}

fn scratch() -> Result<PathBuf, Wrong> {
    Ok(Scratch::enter(&state_base())
        .map_err(Wrong::from)?
        .path()
        .to_owned())
}

/// [`Conformance::new`] run at once: the driver that `CSI_ENDPOINT` or
/// `csi-conformance.yaml` names.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     csi_conformance::test_main()
/// }
/// ```
pub fn test_main() -> ExitCode {
    Conformance::new().main()
}

/// [`Conformance::with`] run at once.
pub fn test_main_with(config: Config) -> ExitCode {
    Conformance::with(config).main()
}
