//! All that it takes to have a driver checked by `cargo test`.

use std::process::ExitCode;

use csi_conformance::Conformance;

fn main() -> ExitCode {
    Conformance::for_command([env!("CARGO_BIN_EXE_rust-author"), "${state_dir}"])
        .in_scratch()
        .main()
}
