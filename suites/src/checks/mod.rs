//! The checks, by RPC, and those that judge the run as a whole.
//!
//! Each module exports its slice; a check that is in none is dead code, and
//! does not build. Each file reads like the requirements that it checks: what
//! it takes to see that they hold is in the harness.

mod calls_at_once;
mod calls_cut;
mod controller;
mod controller_delete;
mod controller_publish;
mod copies;
mod create_from;
mod create_snapshot;
mod delete_snapshot;
mod disk_gone;
mod disk_ill;
mod driver;
mod driver_killed;
mod driver_restart;
mod driver_restart_snapshots;
mod driver_restart_unused;
mod driver_watched;
mod group_snapshot;
mod identity;
mod in_use;
mod list_snapshots;
mod list_volumes;
mod mount_lost;
mod names;
mod nfs_away;
mod nfs_bg;
mod nfs_dead;
mod nfs_version;
mod node_expand;
mod node_expand_more;
mod node_info;
mod node_keeps;
mod node_publish;
mod node_publish_access;
mod node_publish_owner;
mod node_publish_size;
mod node_publish_wrong;
mod node_stage;
mod node_stage_fails;
mod node_stats;
mod node_unpublish;
mod node_unstage;
mod one_handle;
mod pod_came_back;
mod stranger;

use csi_harness::check::Check;

/// Every check, sorted by id.
pub fn all() -> Vec<&'static Check> {
    let slices = [
        calls_at_once::CHECKS,
        calls_cut::CHECKS,
        controller::CHECKS,
        controller_delete::CHECKS,
        controller_publish::CHECKS,
        copies::CHECKS,
        create_from::CHECKS,
        create_snapshot::CHECKS,
        delete_snapshot::CHECKS,
        disk_gone::CHECKS,
        disk_ill::CHECKS,
        driver::CHECKS,
        driver_killed::CHECKS,
        driver_restart::CHECKS,
        driver_restart_snapshots::CHECKS,
        driver_restart_unused::CHECKS,
        driver_watched::CHECKS,
        group_snapshot::CHECKS,
        identity::CHECKS,
        in_use::CHECKS,
        list_snapshots::CHECKS,
        list_volumes::CHECKS,
        mount_lost::CHECKS,
        names::CHECKS,
        nfs_away::CHECKS,
        nfs_bg::CHECKS,
        nfs_dead::CHECKS,
        nfs_version::CHECKS,
        node_expand::CHECKS,
        node_expand_more::CHECKS,
        node_info::CHECKS,
        node_keeps::CHECKS,
        node_publish::CHECKS,
        node_publish_access::CHECKS,
        node_publish_owner::CHECKS,
        node_publish_size::CHECKS,
        node_publish_wrong::CHECKS,
        node_stage::CHECKS,
        node_stage_fails::CHECKS,
        node_stats::CHECKS,
        node_unpublish::CHECKS,
        node_unstage::CHECKS,
        one_handle::CHECKS,
        pod_came_back::CHECKS,
        stranger::CHECKS,
    ];
    let mut all: Vec<_> = slices.into_iter().flatten().copied().collect();
    all.sort_by_key(|check| check.id);
    all
}
