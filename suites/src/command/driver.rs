//! `driver loop`: a driver to practise on, by itself.

use std::process::ExitCode;

use csi_drivers::defect::{self, Defects};
use csi_drivers::looper::{self, Options};
use csi_harness::report::table;

use super::args::{DriverArgs, DriverKind, LoopArgs};
use super::run::log_to_stderr;
use super::screen::{say, width};
use crate::wrong::Wrong;

/// Serves until SIGTERM or SIGINT.
pub(super) fn driver(args: DriverArgs) -> Result<ExitCode, Wrong> {
    let DriverKind::Loop(args) = args.driver;
    if args.list_defects {
        let rows = defect::all()
            .iter()
            .map(|d| vec![d.name.to_owned(), d.what.to_owned()]);
        say(&table(&rows.collect::<Vec<_>>(), width()));
        return Ok(ExitCode::SUCCESS);
    }
    let options = options(args)?;
    looper::prepare(&options.defects)
        .map_err(|error| Wrong(format!("a mount namespace of its own: {error}")))?;
    // One line for each call, as a driver's log has it.
    log_to_stderr("info");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Wrong(format!("start the threads: {error}")))?;
    runtime
        .block_on(looper::serve(options))
        .map_err(Wrong::from)?;
    // A call that never ends must not keep the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

fn options(args: LoopArgs) -> Result<Options, Wrong> {
    // clap asks for both, unless defects are listed.
    let (Some(endpoint), Some(state_dir)) = (args.endpoint, args.state_dir) else {
        return Err(Wrong("give --endpoint and --state-dir".into()));
    };
    std::fs::create_dir_all(&state_dir)
        .map_err(|error| Wrong(format!("mkdir {}: {error}", state_dir.display())))?;
    Ok(Options {
        defects: Defects::parse(&args.defect).map_err(Wrong::from)?,
        node_id: args.node_id,
        call_delay: args.call_delay,
        ..Options::new(endpoint, state_dir)
    })
}
