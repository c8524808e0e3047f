//! The command as a user meets it: what it says, where, and its exit codes.

mod input;
mod runs;
mod texts;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use world::World;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before there is any thread: what is mounted in here stays in here.
    let world = match World::enter() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("a place for the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials: Vec<Trial> = input::trials(&world)
        .into_iter()
        .chain(texts::trials(&world))
        .chain(runs::trials(&world))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = world.leave() {
        eprintln!("the place of the tests stays: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
