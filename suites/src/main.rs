//! The command.

use std::process::ExitCode;

fn main() -> ExitCode {
    csi_conformance::command::main()
}
