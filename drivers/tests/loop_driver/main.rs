//! The loop driver over its socket, on real loop devices.
//!
//! This process leaves the host's mount namespace first of all, so that nothing
//! that goes wrong reaches it. The driver is a child: this same program, told by
//! its environment to serve.

mod calls;
mod control;
mod copies;
mod defects;
mod life;
mod requests;
mod restart;
mod scratch;
mod trouble;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use scratch::{Propagation, Scratch};
use world::World;

/// A test: it drives a driver of its own, under a folder of its own.
struct Case {
    name: &'static str,
    /// The defects that the driver is told to have, with commas.
    defects: &'static str,
    /// A file system that must be there, beside ext4.
    needs: Option<&'static str>,
    run: fn(&mut World) -> Result<(), Failed>,
}

impl Case {
    const fn honest(name: &'static str, run: fn(&mut World) -> Result<(), Failed>) -> Self {
        Self {
            name,
            defects: "",
            needs: None,
            run,
        }
    }

    const fn needing(mut self, filesystem: &'static str) -> Self {
        self.needs = Some(filesystem);
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
    let arguments = Arguments::from_args();
    let cases = || {
        let all = [
            life::CASES,
            trouble::CASES,
            control::CASES,
            copies::CASES,
            restart::CASES,
            defects::CASES,
        ];
        all.into_iter().flatten()
    };
    let scratch = if arguments.list {
        Err("only listed".to_owned())
    } else {
        Scratch::new()
    };
    let mut trials = Vec::new();
    for propagation in [Propagation::Shared, Propagation::Private] {
        for case in cases() {
            let name = format!("{}[{propagation:?}]", case.name).to_lowercase();
            let lacking = match (&scratch, case.needs) {
                (Err(why), _) => Some(why.clone()),
                (Ok(_), Some(filesystem)) if !scratch::has(filesystem) => Some(format!(
                    "this host lacks mkfs.{filesystem} or the kernel's support"
                )),
                _ => None,
            };
            let trial = match (lacking, &scratch) {
                (None, Ok(scratch)) => {
                    let folder = scratch.folder(propagation, case.name);
                    Trial::test(name, move || World::run(&folder, case.defects, case.run))
                }
                (why, _) => {
                    let why = why.unwrap_or_default();
                    if !arguments.list {
                        eprintln!("skipped: {name}: {why}");
                    }
                    Trial::test(name, || Ok(())).with_ignored_flag(true)
                }
            };
            trials.push(trial);
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let left = scratch.map(Scratch::close).unwrap_or_default();
    for device in &left {
        eprintln!("left behind: {device}");
    }
    if conclusion.has_failed() || !left.is_empty() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
