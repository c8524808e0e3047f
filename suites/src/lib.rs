//! What must hold of a CSI driver: the checks, the command and the test target.

pub mod checks;
mod spec;
