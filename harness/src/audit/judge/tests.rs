//! What is wrong, and what is only odd, without a mount.

use super::*;
use crate::audit::facts::{Answer, DeletedLoop};
use crate::node::klog::Record;
use crate::node::{DiskId, LoopDevice, MountTable};
use std::path::PathBuf;
use std::time::Duration;

const CSI: &str = "/k/plugins/kubernetes.io/csi";

/// What is seen where these are mounted, `ID PARENT DEV ROOT POINT TYPE SOURCE`
/// each, and all of it lives.
fn node(lines: &[&str]) -> Facts {
    let mut text = "1 1 254:0 / / rw - ext4 /dev/vda rw\n".to_owned();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let [id, parent, dev, root, point, kind, source] = words[..] else {
            panic!("{line}");
        };
        let point = point.replace("CSI", CSI);
        text += &format!("{id} {parent} {dev} {root} {point} rw - {kind} {source} rw\n");
    }
    let table = MountTable::parse(text.as_bytes());
    assert_eq!(table.odd.len(), 0);
    let mut facts = Facts {
        root: "/k".into(),
        ..Facts::default()
    };
    for mount in table.under(&facts.root) {
        facts.answers.insert(mount.id, Answer::Alive);
        if mount.major != 0 {
            let there = Disk::There {
                name: format!("loop{}", mount.minor),
                size: 1 << 20,
                uuid: Some("1-2-3".into()),
                unreadable: None,
            };
            facts.disks.insert(mount.dev(), there);
        }
    }
    facts.table = table;
    facts
}

fn claim(pod: &str, name: &str, handle: Option<&str>) -> Claim {
    let volume = handle.map(|handle| Volume {
        driver: "a.b".into(),
        handle: handle.into(),
    });
    Claim {
        pod: pod.into(),
        name: name.into(),
        block: false,
        volume,
    }
}

fn kinds(facts: &Facts) -> Vec<Kind> {
    judge(facts).iter().map(|finding| finding.kind).collect()
}

const STAGED: &str = "10 1 7:1 / CSI/a.b/0f/globalmount ext4 /dev/loop1";
const SHOWN: &str = "11 1 7:1 / /k/pods/u1/volumes/kubernetes.io~csi/pv1/mount ext4 /dev/loop1";

#[test]
fn what_an_honest_node_shows_is_silent() {
    let facts = node(&[
        STAGED,
        SHOWN,
        // The same volume in a second pod, and a folder of it in a container.
        "12 1 7:1 / /k/pods/u2/volumes/kubernetes.io~csi/pv1/mount ext4 /dev/loop1",
        "13 1 7:1 /sub /k/pods/u2/volume-subpaths/pv1/c/0 ext4 /dev/loop1",
        // A driver that shows a folder of what it staged.
        "14 1 0:50 / CSI/c.d/0a/globalmount nfs4 server:/",
        "15 1 0:50 /one /k/pods/u1/volumes/kubernetes.io~csi/pv2/mount nfs4 server:/",
        // A driver without staging, whose two volumes are one export.
        "16 1 0:51 / /k/pods/u1/volumes/kubernetes.io~csi/pv3/mount nfs4 server:/x",
        "17 1 0:51 / /k/pods/u1/volumes/kubernetes.io~csi/pv4/mount nfs4 server:/x",
        // A pod's own.
        "18 1 0:52 / /k/pods/u1/volumes/kubernetes.io~projected/token tmpfs tmpfs",
        // A driver's own, stacked.
        "19 1 0:53 / /k/plugins/a.b/work tmpfs one",
        "20 19 0:54 / /k/plugins/a.b/work tmpfs two",
        // autofs, mounted over.
        "21 1 0:55 / /k/pods/u1/volumes/kubernetes.io~host/auto autofs auto",
        "22 21 0:56 / /k/pods/u1/volumes/kubernetes.io~host/auto nfs4 server:/auto",
        // Outside.
        "23 1 0:57 / /elsewhere tmpfs one",
        "24 23 0:58 / /elsewhere tmpfs two",
    ]);
    assert_eq!(judge(&facts), []);
}

#[test]
fn a_copy_that_propagation_made_is_no_stack() {
    // The kubelet's folder is bound onto itself, and shared with its parent.
    let facts = node(&[
        "5 1 254:0 /k /k ext4 /dev/vda",
        "10 5 7:1 / CSI/a.b/0f/globalmount ext4 /dev/loop1",
        "11 1 7:1 / CSI/a.b/0f/globalmount ext4 /dev/loop1",
        "12 5 7:1 / /k/pods/u1/volumes/kubernetes.io~csi/pv1/mount ext4 /dev/loop1",
        "13 1 7:1 / /k/pods/u1/volumes/kubernetes.io~csi/pv1/mount ext4 /dev/loop1",
    ]);
    assert_eq!(judge(&facts), []);
}

#[test]
fn mounts_on_one_another_are_a_stack() {
    let facts = node(&[
        STAGED,
        SHOWN,
        "12 11 7:1 / /k/pods/u1/volumes/kubernetes.io~csi/pv1/mount ext4 /dev/loop1",
    ]);
    let found = judge(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, found[0].mounts.len()),
        (Kind::StackedMounts, 2)
    );
    assert!(found[0].mounts[0].starts_with("11 1 "), "{found:?}");
    assert_eq!(found[0].pods, ["u1"]);
}

#[test]
fn a_device_that_is_gone_is_told_once_with_its_log() {
    let mut facts = node(&[STAGED, SHOWN]);
    facts.disks.insert((7, 1), Disk::Gone);
    facts
        .answers
        .insert(10, Answer::Refused(libc::EIO, "stat".into()));
    let mounted = Record {
        level: 6,
        sequence: 0,
        at: Duration::from_secs(1),
        text: "EXT4-fs (loop1): mounted filesystem 1-2-3 r/w".into(),
        device: None,
    };
    let error = Record {
        level: 2,
        sequence: 1,
        at: Duration::from_secs(1),
        text: "EXT4-fs error (device loop1): reading directory lblock 0".into(),
        device: None,
    };
    facts.log.extend([mounted, error]);
    let found = judge(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].kind, found[0].paths.len()), (Kind::DeviceGone, 2));
    assert_eq!(found[0].kernel_log.len(), 1);

    facts.disks.insert(
        (7, 1),
        Disk::There {
            name: "loop1".into(),
            size: 1,
            uuid: Some("1-2-3".into()),
            unreadable: None,
        },
    );
    facts.answers.insert(10, Answer::Alive);
    assert_eq!(kinds(&facts), [Kind::KernelLog]);
}

#[test]
fn errors_of_the_dead_are_told_and_others_are_not() {
    let mut facts = node(&["10 1 0:50 / /k/pods/u/volumes/kubernetes.io~csi/pv1/mount fuse.x x"]);
    for (errno, expected) in [
        (libc::ENOTCONN, Some(Kind::DeadMount)),
        (libc::ESTALE, Some(Kind::DeadMount)),
        (libc::EACCES, None),
        (libc::ENOENT, None),
    ] {
        facts
            .answers
            .insert(10, Answer::Refused(errno, "stat".into()));
        assert_eq!(
            kinds(&facts),
            expected.into_iter().collect::<Vec<_>>(),
            "{errno}"
        );
    }
    facts
        .answers
        .insert(10, Answer::Silent(Duration::from_secs(5)));
    assert_eq!(kinds(&facts), [Kind::HangingMount]);
}

#[test]
fn what_is_staged_for_nobody_is_an_orphan() {
    let mut facts = node(&[STAGED]);
    assert_eq!(kinds(&facts), [Kind::OrphanedStaging]);

    // The kubelet's folder of a pod names it: its publish may fail, or be under way.
    let staged = facts.below().find_map(|(_, place)| match place {
        Place::Staging(staging) => Some(staging),
        _ => None,
    });
    let volume = claim("", "", Some("vol-1")).volume.expect("a volume");
    facts.staged.insert(staged.expect("staged"), volume);
    facts.claims = vec![claim("u1", "pv1", Some("vol-1"))];
    assert_eq!(kinds(&facts), []);
    facts.claims = vec![claim("u1", "pv1", Some("vol-2"))];
    assert_eq!(kinds(&facts), [Kind::OrphanedStaging]);
    facts.pods_unknown = true;
    assert_eq!(kinds(&facts), []);
}

#[test]
fn a_volume_without_a_record_is_judged_by_those_that_remain() {
    // A driver whose targets show another file system than its staging mounts.
    let odd = "12 1 0:60 / /k/pods/u2/volumes/kubernetes.io~csi/pv2/mount fuse.x x";
    let mut facts = node(&[STAGED, odd]);
    facts.claims = vec![claim("u2", "pv2", Some("vol-2"))];
    assert_eq!(kinds(&facts), [], "pv2 may be what is staged");
    // When pv2 is accounted for, the other is an orphan.
    let mut facts = node(&[
        STAGED,
        "12 1 7:2 / CSI/a.b/1f/globalmount ext4 /dev/loop2",
        "13 1 7:2 / /k/pods/u2/volumes/kubernetes.io~csi/pv2/mount ext4 /dev/loop2",
    ]);
    facts.claims = vec![claim("u2", "pv2", Some("vol-2"))];
    let found = judge(&facts);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].paths[0].contains("/0f/"));
}

#[test]
fn staging_of_blocks_and_of_old_kubelets_goes_by_the_name() {
    let mut facts = node(&[
        "10 1 7:1 / CSI/pv/pv1/globalmount ext4 /dev/loop1",
        "11 1 0:6 /loop2 CSI/volumeDevices/staging/pv2/dev devtmpfs devtmpfs",
    ]);
    assert_eq!(kinds(&facts), [Kind::OrphanedStaging; 2]);
    let block = Claim {
        block: true,
        ..claim("u", "pv2", None)
    };
    facts.claims = vec![claim("u", "pv1", None), block];
    assert_eq!(kinds(&facts), []);
}

#[test]
fn two_volumes_of_one_device_and_root_are_twins() {
    let shown = "13 1 7:1 / /k/pods/u2/volumes/kubernetes.io~csi/pv2/mount ext4 /dev/loop1";
    let twin = "12 1 7:1 / CSI/a.b/1f/globalmount ext4 /dev/loop1";
    let found = judge(&node(&[STAGED, SHOWN, twin, shown]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, found[0].paths.len()),
        (Kind::TwinVolumes, 2)
    );
    // Another root is another volume.
    let other = "12 1 7:1 /b CSI/a.b/1f/globalmount ext4 /dev/loop1";
    assert_eq!(
        kinds(&node(&[
            STAGED,
            SHOWN,
            other,
            shown,
            "14 1 7:1 /b /k/pods/u3/volumes/kubernetes.io~csi/pv3/mount ext4 /dev/loop1"
        ])),
        []
    );
}

#[test]
fn loops_without_a_file_are_told_where_they_concern_us() {
    let device = LoopDevice {
        number: 1,
        id: DiskId {
            number: (7, 1),
            diskseq: Some(5),
        },
        backing: PathBuf::from("/var/x/vol.img"),
        backing_deleted: true,
        read_only: false,
        size: 1 << 20,
        offset: 0,
        autoclear: false,
    };
    let with = |in_use, autoclear| DeletedLoop {
        device: LoopDevice {
            autoclear,
            ..device.clone()
        },
        in_use,
    };
    for (mounts, found, told) in [
        (vec![STAGED, SHOWN], with(true, false), true),
        (vec![], with(true, false), false),
        (vec![], with(false, false), true),
        (vec![], with(false, true), false),
    ] {
        let mut facts = node(&mounts);
        facts.loops.push(found);
        let expected = if told {
            vec![Kind::LoopWithoutFile]
        } else {
            vec![]
        };
        assert_eq!(kinds(&facts), expected, "{mounts:?}");
    }
    // A file that never had a name was not removed.
    let mut facts = node(&[]);
    let mut unnamed = with(false, false);
    unnamed.device.backing = PathBuf::from("/tmp/#10010894");
    facts.loops.push(unnamed);
    assert_eq!(kinds(&facts), []);
}
