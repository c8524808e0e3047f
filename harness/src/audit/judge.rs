//! What of it is wrong? Each kind of trouble is one pure function over the facts.
//!
//! What an honest node shows stays silent: when in doubt, nothing is said.

mod devices;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeSet;

use super::facts::{Claim, Disk, Facts, Volume};
use super::finding::{Finding, Kind};
use super::log;
use super::place::Place;
use crate::node::Mount;
use devices::{dead, gone, logged, loops};
use volumes::{orphaned, stacked, twins};

/// Everything that is wrong, sorted by kind, then by path.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = gone(facts);
    findings.extend(dead(facts));
    findings.extend(stacked(facts));
    findings.extend(orphaned(facts));
    findings.extend(twins(facts));
    findings.extend(loops(facts));
    // What is said of a device that has gone bad belongs to that.
    let mut told = BTreeSet::new();
    for finding in findings
        .iter_mut()
        .filter(|finding| is_of_a_device(finding.kind))
    {
        for device in &finding.devices {
            finding
                .kernel_log
                .extend(log::errors_of(&facts.log, device));
            told.insert(device.clone());
        }
    }
    findings.extend(logged(facts, &told));
    findings.sort_by(|a, b| (a.kind, &a.paths).cmp(&(b.kind, &b.paths)));
    findings
}

fn is_of_a_device(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::DeviceGone | Kind::DeadMount | Kind::HangingMount | Kind::LoopWithoutFile
    )
}

/// The mounts below the root that show this device, as a file system or as a block
/// volume.
fn of_device(facts: &Facts, dev: (u32, u32)) -> Vec<&Mount> {
    facts
        .below()
        .map(|(mount, _)| mount)
        .filter(|mount| mount.dev() == dev || facts.block_targets.get(&mount.point) == Some(&dev))
        .collect()
}

/// A finding about these mounts, with what is known of their volumes and pods.
fn about(facts: &Facts, kind: Kind, subject: &str, mounts: &[&Mount]) -> Finding {
    let mut finding = Finding::new(kind, subject, "");
    for mount in mounts {
        let path = mount.point.display().to_string();
        if !finding.paths.contains(&path) {
            finding.paths.push(path);
        }
        finding.mounts.push(mount.line());
        let (volume, pod) = owner(facts, mount);
        finding
            .volumes
            .extend(volume.filter(|v| !finding.volumes.contains(v)));
        finding
            .pods
            .extend(pod.filter(|p| !finding.pods.contains(p)));
        for device in names_of(facts, mount) {
            if !finding.devices.contains(&device) {
                finding.devices.push(device);
            }
        }
    }
    finding
}

/// The volume and the pod that a mount is for, as far as the kubelet wrote it down.
fn owner(facts: &Facts, mount: &Mount) -> (Option<Volume>, Option<String>) {
    match Place::of(&facts.root, &mount.point) {
        Place::Staging(staging) => (facts.staged.get(&staging).cloned(), None),
        Place::Target(target) | Place::BlockTarget(target) | Place::BlockOfPod(target) => {
            let claim = |claim: &&Claim| claim.pod == target.pod && claim.name == target.name;
            let volume = facts
                .claims
                .iter()
                .find(claim)
                .and_then(|c| c.volume.clone());
            (volume, Some(target.pod))
        }
        Place::Kubelets | Place::Another => (None, None),
    }
}

/// What the kernel calls a mount's device in its log: by sysfs, and by what was
/// mounted, since of a device that is gone nothing else is left.
fn names_of(facts: &Facts, mount: &Mount) -> Vec<String> {
    let number = facts
        .block_targets
        .get(&mount.point)
        .copied()
        .unwrap_or(mount.dev());
    let mut names = Vec::new();
    if let Some(Disk::There { name, .. }) = facts.disks.get(&number) {
        names.push(name.clone());
    } else if number.0 != 0
        && let Some(name) = mount.source.to_str().and_then(|s| s.strip_prefix("/dev/"))
    {
        names.push(name.to_owned());
    }
    names
}
