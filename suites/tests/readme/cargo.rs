//! What stands for `cargo` while the README's commands run.
//!
//! A cargo within `cargo test` would wait for the lock of the target folder, or
//! build for minutes. What it would start is built already, so this starts it:
//! the command, or the suite as a test target. `cargo test --workspace` is where
//! we are, and `cargo install` only has its folder looked at.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use csi_conformance::Conformance;

use crate::PROGRAM;

/// With this in the environment, this program is tests/conformance.rs.
const SUITE: &str = "README_TEST_AS_SUITE";

/// Plays a part, where this process was started for one: as `cargo`, or as the
/// suite.
pub(crate) fn play() -> Option<ExitCode> {
    if std::env::var_os(SUITE).is_some() {
        return Some(Conformance::new().or_built_in(PROGRAM).main());
    }
    let mut arguments = std::env::args();
    let name = arguments.next()?;
    if Path::new(&name).file_name()? != "cargo" {
        return None;
    }
    Some(cargo(&arguments.collect::<Vec<_>>()))
}

fn cargo(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run", "--release"] => become_(Command::new(PROGRAM)),
        ["test", "--test", "conformance"] => become_(suite(&[])),
        ["test", "--test", "conformance", "--", rest @ ..] => become_(suite(rest)),
        ["test", "--workspace"] => ExitCode::SUCCESS,
        ["install", "--path", "suites"] => {
            let here = env!("CARGO_MANIFEST_DIR");
            match here.ends_with("/suites") {
                true => ExitCode::SUCCESS,
                false => unknown(&format!("the command is in {here}, not in suites")),
            }
        }
        _ => unknown(&format!("cargo {}", arguments.join(" "))),
    }
}

fn suite(arguments: &[&str]) -> Command {
    // Not /proc/self/exe: its name would be looked at again.
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.env(SUITE, "1").args(arguments);
    command
}

fn become_(mut command: Command) -> ExitCode {
    let error = command.exec();
    unknown(&format!("{command:?}: {error}"))
}

fn unknown(what: &str) -> ExitCode {
    eprintln!("the README's test cannot run this: {what}");
    ExitCode::from(99)
}
