//! The checks, by RPC, and those that judge the run as a whole.
//!
//! Each module exports its slice; a check that is in none is dead code, and
//! does not build. Each file reads like the requirements that it checks: what
//! it takes to see that they hold is in the harness.

mod identity;
mod node_info;

use csi_harness::check::Check;

/// Every check, sorted by id.
pub fn all() -> Vec<&'static Check> {
    let slices = [identity::CHECKS, node_info::CHECKS];
    let mut all: Vec<_> = slices.into_iter().flatten().copied().collect();
    all.sort_by_key(|check| check.id);
    all
}
