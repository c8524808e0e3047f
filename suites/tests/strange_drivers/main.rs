//! Drivers as nobody would write them, and the command against them: it ends,
//! never panics, and says what is wrong once.

mod folders;
mod garbage;
mod odd;
mod secrets;
mod server;
mod silence;
mod starts;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use world::World;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, first, rest @ ..] = words.as_slice()
        && first == starts::AS_DRIVER
    {
        return starts::as_driver(rest);
    }
    let arguments = Arguments::from_args();
    let world = match World::enter() {
        Ok(world) => world,
        Err(error) => {
            eprintln!("a place for the tests: {error}");
            return ExitCode::FAILURE;
        }
    };
    let trials: Vec<Trial> = [
        garbage::trials(&world),
        silence::trials(&world),
        secrets::trials(&world),
        starts::trials(&world),
        odd::trials(&world),
    ]
    .into_iter()
    .flatten()
    .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = world.leave() {
        eprintln!("the place of the tests stays: {error}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
