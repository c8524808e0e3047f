//! The command `csi-conformance`.
//!
//! | exit code | says |
//! |---|---|
//! | 0 | nothing found, and the verdict is at least what is required |
//! | 1 | nonconformant |
//! | 2 | unknown, or less than required |
//! | 3 | the setup or the input is wrong |
//! | 4 | nothing ran |

mod args;
mod audit;
mod clean;
mod compare;
mod doctor;
mod driver;
mod explain;
mod list;
mod plan;
mod report;
mod run;
mod screen;
mod show;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::suite;
use crate::wrong::Wrong;
use args::{Cli, Command};

/// Reads the command line and does what it says. To be called first of all in
/// `main`: a run against the built-in driver moves to a mount namespace of its
/// own, which must happen before any thread is started.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return help_or_mistake(&answer),
    };
    let done = match cli.command {
        None => no_command(&cli.run.filters).and_then(|()| run::run(&cli.run)),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::List(args)) => list::list(&args),
        Some(Command::Explain(args)) => explain::explain(&args),
        Some(Command::Driver(args)) => driver::driver(args),
        Some(Command::Doctor) => doctor::doctor(),
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::Compare(args)) => compare::compare(&args),
        Some(Command::Audit(args)) => audit::audit(&args),
        Some(Command::Clean(args)) => clean::clean(&args),
    };
    done.unwrap_or_else(Wrong::tell)
}

/// A word that names no check may be meant for a command.
fn no_command(filters: &[String]) -> Result<(), Wrong> {
    let commands = Cli::command();
    let near = filters
        .first()
        .filter(|word| !suite::checks().iter().any(|c| c.id.contains(*word)));
    let near = near.and_then(|word| {
        let names = commands.get_subcommands().map(clap::Command::get_name);
        Some((word, csi_harness::config::nearest(word, names)?))
    });
    match near {
        Some((word, name)) => Err(Wrong(format!(
            "`{word}` is neither a command nor in the id of a check; did you mean `{name}`?"
        ))),
        None => Ok(()),
    }
}

/// clap's own code for a mistake is 2, which means something else here.
fn help_or_mistake(answer: &clap::Error) -> ExitCode {
    let _ = answer.print();
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => Wrong::CODE.into(),
    }
}
