//! `driver loop`, `driver nfs` and `driver fuse`: a driver to practise on, by itself.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use csi_drivers::defect::{self, Defects, Kind};
use csi_drivers::fuse;
use csi_drivers::looper::{self, Endpoint, prepare};
use csi_drivers::mutation::{self, Call, How};
use csi_drivers::nfs;
use csi_harness::report::table;

use super::args::{DriverArgs, DriverKind, FuseMountArgs, LoopArgs, NfsArgs, ServeArgs};
use super::run::log_to_stderr;
use super::screen::{say, width};
use crate::wrong::Wrong;

/// Serves until SIGTERM or SIGINT.
pub(super) fn driver(args: DriverArgs) -> Result<ExitCode, Wrong> {
    let (kind, common) = match &args.driver {
        DriverKind::Loop(LoopArgs { serve: common, .. }) => (Kind::Loop, common),
        DriverKind::Nfs(NfsArgs { serve: common, .. }) => (Kind::Nfs, common),
        DriverKind::Fuse(common) => (Kind::Fuse, common),
        DriverKind::FuseMount(args) => return mount(args),
    };
    if common.list_defects {
        let rows = defect::of(kind).map(|d| vec![d.name.to_owned(), d.what.to_owned()]);
        say(&table(&rows.collect::<Vec<_>>(), width()));
        return Ok(ExitCode::SUCCESS);
    }
    if common.list_mutations {
        say(&mutations());
        return Ok(ExitCode::SUCCESS);
    }
    if !common.mutate.is_empty() || common.trace_calls.is_some() {
        mutation::arm(common.mutate.clone(), common.trace_calls.as_deref())
            .map_err(|error| Wrong(format!("--trace-calls: {error}")))?;
    }
    if matches!(&args.driver, DriverKind::Loop(args) if args.device_mapper)
        && !looper::has_device_mapper()
    {
        let lacking = "--device-mapper: this host lacks /dev/mapper/control, or dmsetup";
        return Err(Wrong(lacking.into()));
    }
    let (endpoint, state_dir) = places(common)?;
    let defects = Defects::parse_for(kind, &common.defect).map_err(Wrong::from)?;
    prepare(&defects).map_err(|error| Wrong(format!("a mount namespace of its own: {error}")))?;
    // One line for each call, as a driver's log has it.
    log_to_stderr("info");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Wrong(format!("start the threads: {error}")))?;
    let served = match args.driver {
        DriverKind::Loop(args) => runtime.block_on(looper::serve(looper::Options {
            defects,
            node_id: args.serve.node_id,
            call_delay: args.serve.call_delay,
            device_mapper: args.device_mapper,
            ..looper::Options::new(endpoint, state_dir)
        })),
        DriverKind::Nfs(args) => runtime.block_on(nfs::serve(nfs::Options {
            stage: args.stage,
            defects,
            node_id: args.serve.node_id,
            call_delay: args.serve.call_delay,
            ..nfs::Options::new(endpoint, state_dir)
        })),
        DriverKind::Fuse(args) => runtime.block_on(fuse::serve(fuse::Options {
            defects,
            node_id: args.node_id,
            call_delay: args.call_delay,
            ..fuse::Options::new(endpoint, state_dir, daemon()?)
        })),
        DriverKind::FuseMount(_) => Ok(()),
    };
    served.map_err(Wrong::from)?;
    // A call that never ends must not keep the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// The calls and what can go wrong with them, and what is meant by each.
fn mutations() -> String {
    let calls = Call::ALL.iter().map(|call| {
        let hows: Vec<_> = call.hows().iter().map(|how| how.name()).collect();
        vec![call.to_string(), call.what().to_owned(), hows.join(" ")]
    });
    let hows = How::ALL.map(|how| vec![how.to_string(), how.what().to_owned()]);
    let calls = table(&calls.collect::<Vec<_>>(), width());
    format!("{calls}\n{}", table(&hows, width()))
}

/// How the process of a mount is started: as this program again.
fn daemon() -> Result<Vec<OsString>, Wrong> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Wrong(format!("where this program is: {error}")))?;
    Ok(vec![program.into(), "driver".into(), "fuse-mount".into()])
}

/// Answers for the files of one mount, until it ends.
fn mount(args: &FuseMountArgs) -> Result<ExitCode, Wrong> {
    let served = fuse::serve_folder(&args.folder, args.socket_folder.clone());
    served.map_err(|error| Wrong(format!("serve {}: {error}", args.folder.display())))?;
    Ok(ExitCode::SUCCESS)
}

/// Where to serve and where to keep records; the folder is made.
fn places(args: &ServeArgs) -> Result<(Endpoint, PathBuf), Wrong> {
    // clap asks for both, unless defects are listed.
    let (Some(endpoint), Some(state_dir)) = (&args.endpoint, &args.state_dir) else {
        return Err(Wrong("give --endpoint and --state-dir".into()));
    };
    std::fs::create_dir_all(state_dir)
        .map_err(|error| Wrong(format!("mkdir {}: {error}", state_dir.display())))?;
    Ok((endpoint.clone(), state_dir.clone()))
}
