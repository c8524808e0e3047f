//! `CSI_ENDPOINT=unix:///path/csi.sock cargo test --test conformance` checks the
//! driver that listens there; without it, the built-in one is checked.

use std::process::ExitCode;

use csi_conformance::Conformance;

fn main() -> ExitCode {
    Conformance::new()
        .or_built_in(env!("CARGO_BIN_EXE_csi-conformance"))
        .main()
}
