//! What is wrong with how volumes are mounted.

use std::collections::{BTreeMap, BTreeSet};

use super::about;
use crate::audit::facts::{Claim, Facts};
use crate::audit::finding::{Finding, Kind};
use crate::audit::place::{Place, Staging};
use crate::node::Mount;

/// Mounts of the kubelet's that lie on one another at one point.
pub(super) fn stacked(facts: &Facts) -> Vec<Finding> {
    let points: BTreeSet<_> = facts
        .below()
        .filter(|(_, place)| place.is_the_kubelets())
        .map(|(mount, _)| &mount.point)
        .collect();
    points
        .into_iter()
        .filter_map(|point| {
            let here = facts.table.at(point);
            let top = here.iter().rev().find(|mount| facts.is_on_top(mount))?;
            let stack = stack_below(top, &here);
            // autofs is meant to be mounted over.
            if stack.len() < 2 || stack.iter().any(|mount| mount.fs_type == "autofs") {
                return None;
            }
            let subject = point.display().to_string();
            let mut finding = about(facts, Kind::StackedMounts, &subject, &stack);
            finding.headline = format!("{} mounts lie on one another at one point", stack.len());
            Some(finding)
        })
        .collect()
}

/// Those of a point that lie on one another, from the bottom to the top. Two with
/// another parent are copies that propagation made: no path leads to the other.
fn stack_below<'a>(top: &'a Mount, here: &[&'a Mount]) -> Vec<&'a Mount> {
    let mut stack = vec![top];
    while let Some(last) = stack.last()
        && let Some(below) = here.iter().find(|m| m.id == last.parent && m.id != last.id)
        && stack.len() < here.len()
    {
        stack.push(below);
    }
    stack.reverse();
    stack
}

/// Staging mounts that no pod has.
pub(super) fn orphaned(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (staging, mounts) in staged(facts) {
        let shown = match staging.block {
            true => facts.below().any(|(_, place)| {
                matches!(place, Place::BlockTarget(t) | Place::BlockOfPod(t) if t.name == staging.key)
            }),
            false => mounts.iter().any(|staged| is_shown(facts, staged)),
        };
        let claimed = facts
            .claims
            .iter()
            .any(|claim| may_be(facts, claim, &staging));
        if shown || claimed || facts.pods_unknown {
            continue;
        }
        let ids: Vec<_> = mounts.iter().map(|mount| mount.id.to_string()).collect();
        let mut finding = about(facts, Kind::OrphanedStaging, &ids.join(" "), &mounts);
        finding.headline = "a volume is staged, and no pod has it".into();
        finding.facts.push(
            "no pod's target shows this file system, and no pod's folder names the volume".into(),
        );
        findings.push(finding);
    }
    findings
}

/// Whether a pod's target shows what is staged, or a folder in it.
fn is_shown(facts: &Facts, staged: &Mount) -> bool {
    facts.below().any(|(mount, place)| {
        matches!(place, Place::Target(_) | Place::BlockTarget(_))
            && mount.dev() == staged.dev()
            && mount.root.starts_with(&staged.root)
    })
}

/// Whether a pod's volume is the one that is staged there, as far as one can know.
fn may_be(facts: &Facts, claim: &Claim, staging: &Staging) -> bool {
    if claim.block != staging.block {
        return false;
    }
    let (theirs, ours) = (claim.volume.as_ref(), facts.staged.get(staging));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => theirs == ours,
        // The path has the PV's name, and so has the pod's folder.
        _ if staging.driver.is_none() => claim.name == staging.key,
        (Some(theirs), None) => {
            Some(&theirs.driver) == staging.driver.as_ref() && !is_explained(facts, claim)
        }
        // Nothing is known of what this pod has, but that it is shown elsewhere.
        (None, _) => !is_explained(facts, claim),
    }
}

/// Whether a pod's target shows what is staged somewhere: then it is that volume.
fn is_explained(facts: &Facts, claim: &Claim) -> bool {
    facts.below().any(|(target, place)| {
        let theirs =
            matches!(place, Place::Target(t) if t.pod == claim.pod && t.name == claim.name);
        theirs
            && staged(facts)
                .values()
                .flatten()
                .any(|staged| target.dev() == staged.dev() && target.root.starts_with(&staged.root))
    })
}

/// What is staged, by where, with all that is mounted there.
fn staged(facts: &Facts) -> BTreeMap<Staging, Vec<&Mount>> {
    let mut all: BTreeMap<Staging, Vec<&Mount>> = BTreeMap::new();
    for (mount, place) in facts.below() {
        if let Place::Staging(staging) = place
            && facts.is_on_top(mount)
        {
            all.entry(staging).or_default().push(mount);
        }
    }
    all
}

/// Volumes whose staging mounts have one device and root, as `SearchMountPoints` of
/// the kubelet compares them.
pub(super) fn twins(facts: &Facts) -> Vec<Finding> {
    let mut same: BTreeMap<_, Vec<(Staging, &Mount)>> = BTreeMap::new();
    for (staging, mounts) in staged(facts) {
        for mount in mounts.into_iter().filter(|_| !staging.block) {
            let what = (mount.dev(), mount.root.clone());
            same.entry(what).or_default().push((staging.clone(), mount));
        }
    }
    same.into_iter()
        .filter_map(|((dev, root), there)| {
            let volumes: BTreeSet<_> = there.iter().map(|(staging, _)| staging).collect();
            if volumes.len() < 2 {
                return None;
            }
            let mounts: Vec<_> = there.iter().map(|(_, mount)| *mount).collect();
            let subject = format!("{dev:?} {}", root.display());
            let mut finding = about(facts, Kind::TwinVolumes, &subject, &mounts);
            finding.headline = format!(
                "{} volumes are staged from one device and root",
                volumes.len()
            );
            finding.facts.push(format!(
                "device {}:{}, root {}",
                dev.0,
                dev.1,
                root.display()
            ));
            Some(finding)
        })
        .collect()
}
