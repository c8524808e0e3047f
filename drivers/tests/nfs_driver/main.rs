//! The NFS driver over its socket, on real mounts of a real server.
//!
//! What needs no NFS runs everywhere. The rest needs a kernel with an NFS client
//! and server; a virtual machine has one where the host has not (`ci/vm/run`).
//!
//! This process leaves the host's mount namespace first of all, so that nothing
//! that goes wrong reaches it. The driver is a child: this same program, told by
//! its environment to serve. All tests share one server, and run one by one.

mod arguments;
mod calls;
mod defects;
mod life;
mod server;
mod table;
mod trouble;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use server::Server;
use world::World;

/// A test: it drives a driver of its own, under a folder of its own.
struct Case {
    name: &'static str,
    /// The defects that the driver is told to have, with commas.
    defects: &'static str,
    modes: &'static [Mode],
    /// Whether a server must be there.
    nfs: bool,
    run: fn(&mut World) -> Result<(), Failed>,
}

/// How the driver mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// At publish.
    Direct,
    /// At stage, and binds at publish.
    Staged,
}

const BOTH: &[Mode] = &[Mode::Direct, Mode::Staged];

impl Case {
    const fn new(name: &'static str, run: fn(&mut World) -> Result<(), Failed>) -> Self {
        Self {
            name,
            defects: "",
            modes: BOTH,
            nfs: true,
            run,
        }
    }

    const fn without_nfs(mut self) -> Self {
        self.nfs = false;
        self
    }

    const fn only(mut self, modes: &'static [Mode]) -> Self {
        self.modes = modes;
        self
    }

    const fn with(mut self, defects: &'static str) -> Self {
        self.defects = defects;
        self
    }
}

fn main() -> ExitCode {
    if let Some(served) = world::serve_if_told() {
        return served;
    }
    let mut arguments = Arguments::from_args();
    // They stop and cut off the server that they share.
    arguments.test_threads = Some(1);
    let scratch = if arguments.list {
        Err("only listed".to_owned())
    } else {
        table::Scratch::new()
    };
    let server = match &scratch {
        Ok(scratch) => Server::start(scratch.path()).map(Arc::new),
        Err(why) => Err(why.clone()),
    };
    let mut trials = Vec::new();
    let cases = [
        arguments::CASES,
        life::CASES,
        trouble::CASES,
        defects::CASES,
    ];
    for case in cases.into_iter().flatten() {
        for &mode in case.modes {
            let name = format!("{}[{mode:?}]", case.name).to_lowercase();
            let lacking = match (&scratch, &server) {
                (Err(why), _) => Some(why),
                (_, Err(why)) if case.nfs => Some(why),
                _ => None,
            };
            let trial = match (lacking, &scratch) {
                (None, Ok(scratch)) => {
                    let folder = scratch.path().join(&name);
                    let server = server.as_ref().ok().map(Arc::clone);
                    Trial::test(name, move || World::run(&folder, server, mode, case))
                }
                (why, _) => {
                    if let (Some(why), false) = (why, arguments.list) {
                        eprintln!("skipped: {name}: {why}");
                    }
                    Trial::test(name, || Ok(())).with_ignored_flag(true)
                }
            };
            trials.push(trial);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(server);
    drop(scratch);
    if conclusion.has_failed() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
