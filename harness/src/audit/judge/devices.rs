//! What is wrong with what a mount stands on: a disk, a server, a process.

use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;

use super::{about, of_device};
use crate::audit::facts::{Answer, Disk, Facts};
use crate::audit::finding::{Finding, Kind};
use crate::audit::log;
use crate::audit::place::Place;
use crate::node::{LoopDevice, Mount};

/// Mounts whose device the kernel no longer has, or that has no bytes any more.
pub(super) fn gone(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (dev, disk) in &facts.disks {
        let how = match disk {
            Disk::Gone => format!("there is no block device {}:{} any more", dev.0, dev.1),
            Disk::There { name, size: 0, .. } => {
                format!("/dev/{name} has no bytes any more: what was behind it was taken away")
            }
            Disk::There { .. } => continue,
        };
        let mounts = of_device(facts, *dev);
        let mut finding = about(facts, Kind::DeviceGone, &format!("{dev:?}"), &mounts);
        finding.headline = format!("the device of {} is gone", mounts_in_words(mounts.len()));
        finding.facts.push(how);
        findings.push(finding);
    }
    // A bind of a device file whose name was removed from /dev.
    for (mount, place) in facts.below() {
        let block = matches!(place, Place::BlockTarget(_) | Place::BlockOfPod(_));
        if block && mount.root_deleted && !findings.iter().any(|f| f.mounts.contains(&mount.line()))
        {
            let subject = mount.point.display().to_string();
            let mut finding = about(facts, Kind::DeviceGone, &subject, &[mount]);
            finding.headline = "the device of a block volume is gone".into();
            finding
                .facts
                .push(format!("{} was removed from /dev", mount.root.display()));
            findings.push(finding);
        }
    }
    findings
}

/// Mounts that answer with an error or not at all, and those whose disk does.
pub(super) fn dead(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dev in facts
        .below()
        .map(|(mount, _)| mount.dev())
        .collect::<BTreeSet<_>>()
    {
        let disk = facts.disks.get(&dev);
        if matches!(disk, Some(Disk::Gone | Disk::There { size: 0, .. })) {
            continue;
        }
        let mounts = of_device(facts, dev);
        let Some(first) = mounts.first() else {
            continue;
        };
        let what = mounts_in_words(mounts.len());
        let of_disk = disk.and_then(|disk| match disk {
            Disk::There { unreadable, .. } => unreadable.as_ref(),
            Disk::Gone => None,
        });
        let trouble = |answer: &Answer, what: &str| match answer {
            Answer::Refused(errno, asked) if is_death(*errno) => Some((
                Kind::DeadMount,
                format!("{what}: dead"),
                format!("{asked} fails: {}", Errno::from_raw(*errno).desc()),
            )),
            Answer::Silent(after) => Some((
                Kind::HangingMount,
                format!("{what}: no answer"),
                format!("no answer within {:.1} s", after.as_secs_f64()),
            )),
            Answer::Alive | Answer::Refused(..) => None,
        };
        let found = facts
            .answer_of(first)
            .and_then(|answer| trouble(answer, &what))
            .or_else(|| trouble(of_disk?, &format!("the disk of {what}")));
        if let Some((kind, headline, fact)) = found {
            let mut finding = about(facts, kind, &format!("{dev:?}"), &mounts);
            finding.headline = headline;
            finding.facts.push(fact);
            if let Some(server) = server_of(first) {
                finding.kernel_log = log::silence_of(&facts.log, &server);
            }
            findings.push(finding);
        }
    }
    findings
}

/// What nobody answers who is alive. `EACCES` is not among them: a server may
/// refuse root, and a FUSE file system everybody but its owner.
fn is_death(errno: i32) -> bool {
    [
        libc::ENOTCONN,
        libc::ESTALE,
        libc::EIO,
        libc::ENODEV,
        libc::ENXIO,
        libc::EHOSTDOWN,
        libc::ESHUTDOWN,
        libc::ECONNABORTED,
    ]
    .contains(&errno)
}

/// Loop devices whose file was removed: those of mounts and block volumes here,
/// those whose file lay here, and those that nobody uses for anything.
pub(super) fn loops(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in &facts.loops {
        let device = &found.device;
        let mounts = of_device(facts, device.id.number);
        let ours = !mounts.is_empty() || device.backing.starts_with(&facts.root);
        // One that lets itself go belongs to somebody who planned it so.
        let leaked = !found.in_use && !device.autoclear && !never_had_a_name(&device.backing);
        if !ours && !leaked {
            continue;
        }
        let mut finding = about(facts, Kind::LoopWithoutFile, &disk_of(device), &mounts);
        finding.headline = "the file behind a loop device was removed".into();
        finding.paths.insert(0, device.path().display().to_string());
        finding
            .facts
            .push(format!("its file was {}", device.backing.display()));
        finding
            .facts
            .push(format!("it keeps {} of space", in_mib(device.size)));
        if leaked {
            finding
                .facts
                .push("nothing is mounted from it: it was forgotten".into());
        }
        findings.push(finding);
    }
    findings
}

/// Whether a file was made without a name (`O_TMPFILE`, open(2)), which the kernel
/// shows as `#INODE`: nobody removed it.
fn never_had_a_name(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    let inode = name.and_then(|name| name.strip_prefix('#'));
    inode.is_some_and(|inode| !inode.is_empty() && inode.bytes().all(|b| b.is_ascii_digit()))
}

/// A number is given again; the disk's own is not.
fn disk_of(device: &LoopDevice) -> String {
    format!("{} {:?}", device.number, device.id.diskseq)
}

fn in_mib(bytes: u64) -> String {
    format!("up to {:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Errors in the kernel log of devices that nothing else was said about.
pub(super) fn logged(facts: &Facts, told: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (dev, disk) in &facts.disks {
        let Disk::There { name, uuid, .. } = disk else {
            continue;
        };
        let mounts = of_device(facts, *dev);
        // Of a disk that is not mounted nobody can say since when it has its name.
        let is_mounted = mounts.iter().any(|mount| mount.dev() == *dev);
        let lines = log::errors_surely_of(&facts.log, name, uuid.as_deref());
        if told.contains(name) || lines.is_empty() || !is_mounted {
            continue;
        }
        let mut finding = about(
            facts,
            Kind::KernelLog,
            &format!("{dev:?} {}", lines[0]),
            &mounts,
        );
        finding.headline = format!("the kernel log has errors of {name}, which is mounted here");
        finding.kernel_log = lines;
        findings.push(finding);
    }
    findings
}

/// The server of an NFS mount.
fn server_of(mount: &Mount) -> Option<String> {
    let source = mount
        .source
        .to_str()
        .filter(|_| mount.fs_type.starts_with("nfs"))?;
    let (server, _) = source.split_once(":/")?;
    Some(server.trim_matches(['[', ']']).to_owned())
}

fn mounts_in_words(count: usize) -> String {
    match count {
        1 => "a mount".to_owned(),
        count => format!("{count} mounts"),
    }
}
