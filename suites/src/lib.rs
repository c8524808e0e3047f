//! What must hold of a CSI driver: the checks, the command and the test target.

pub mod checks;
#[expect(dead_code, reason = "for now: the checks are being written")]
mod spec;
