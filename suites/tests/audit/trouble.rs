//! A node with one thing wrong, and what is told of it.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use csi_harness::node::{LoopDevice, superblock};
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use super::node::{Node, Tested, bound, done, mounted};

/// A volume that is staged, and in one pod.
fn volume(node: &Node, handle: &str) -> Result<LoopDevice, Box<dyn std::error::Error>> {
    let disk = node.disk(handle)?;
    let staging = node.stage(&disk, handle)?;
    bound(&staging, &node.target("pod-uid", handle)?)?;
    Ok(disk)
}

/// Each text is somewhere in the finding.
fn tells(finding: &Value, texts: &[&str]) {
    let whole = finding.to_string();
    for text in texts {
        assert!(whole.contains(text), "`{text}` is not in {finding:#}");
    }
}

/// The disk is cut to nothing, and the kernel is told.
pub(crate) fn gone(node: &Node) -> Tested {
    let disk = volume(node, "gone")?;
    File::options()
        .write(true)
        .open(&disk.backing)?
        .set_len(0)?;
    done(Command::new("losetup").arg("-c").arg(disk.path()))?;
    let finding = node.finding("device-gone")?;
    tells(
        &finding,
        &[
            "no bytes any more",
            "globalmount",
            "pod-uid",
            "\"handle\":\"gone\"",
        ],
    );
    assert_eq!(
        finding["mounts"].as_array().map(Vec::len),
        Some(2),
        "{finding:#}"
    );
    Ok(())
}

/// The disk is cut to nothing, and nobody has noticed.
pub(crate) fn dead_disk(node: &Node) -> Tested {
    let disk = volume(node, "dead")?;
    File::options()
        .write(true)
        .open(&disk.backing)?
        .set_len(0)?;
    let finding = node.finding("dead-mount")?;
    tells(
        &finding,
        &["a read of the end of", "globalmount", "pod-uid"],
    );
    Ok(())
}

/// A FUSE file system that nobody serves; its connection ends with the file.
fn fuse(point: &Path) -> Result<File, Box<dyn std::error::Error>> {
    let connection = File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        connection.as_raw_fd()
    );
    mount(
        Some("nobody"),
        point,
        Some("fuse"),
        MsFlags::empty(),
        Some(options.as_str()),
    )?;
    Ok(connection)
}

pub(crate) fn dead_process(node: &Node) -> Tested {
    drop(fuse(&node.target("pod-uid", "fuse")?)?);
    tells(
        &node.finding("dead-mount")?,
        &["not connected", "pod-uid", "fuse"],
    );
    Ok(())
}

pub(crate) fn hanging(node: &Node) -> Tested {
    let connection = fuse(&node.target("pod-uid", "fuse")?)?;
    node.deadline.set("2s");
    let finding = node.finding("hanging-mount");
    drop(connection);
    tells(&finding?, &["no answer within 2", "pod-uid"]);
    Ok(())
}

pub(crate) fn stacked(node: &Node) -> Tested {
    volume(node, "stacked")?;
    let target = node.target("pod-uid", "stacked")?;
    bound(&node.staging("stacked")?, &target)?;
    // The staging mount is a peer of it, so that the second one is there as well.
    let findings = node.findings()?;
    for finding in &findings {
        assert_eq!(finding["kind"], "stacked-mounts", "{findings:#?}");
        assert_eq!(finding["mounts"].as_array().map(Vec::len), Some(2));
    }
    let at_target = |finding: &Value| finding["paths"] == serde_json::json!([target]);
    assert!(findings.iter().any(at_target), "{findings:#?}");
    Ok(())
}

/// One of two volumes has no pod; and of a block volume the staging mount stayed.
pub(crate) fn orphaned(node: &Node) -> Tested {
    volume(node, "kept")?;
    let disk = node.disk("left")?;
    let staging = node.stage(&disk, "left")?;
    let finding = node.finding("orphaned-staging")?;
    assert_eq!(finding["paths"], serde_json::json!([staging]));
    tells(&finding, &["\"handle\":\"left\"", "my.csi"]);

    // Also without the kubelet's record of it.
    fs::remove_file(staging.with_file_name("vol_data.json"))?;
    node.finding("orphaned-staging")?;

    let block = node.at("plugins/kubernetes.io/csi/volumeDevices/staging/pv-block")?;
    mounted(Path::new("tmpfs"), &block, "tmpfs")?;
    assert_eq!(node.findings()?.len(), 2);
    Ok(())
}

pub(crate) fn twins(node: &Node) -> Tested {
    volume(node, "first")?;
    let staging = node.staging("first")?;
    let twin = node.staging("second")?;
    bound(&staging, &twin)?;
    bound(&twin, &node.target("pod-uid", "second")?)?;
    let finding = node.finding("twin-volumes")?;
    tells(&finding, &["\"handle\":\"first\"", "\"handle\":\"second\""]);
    Ok(())
}

/// While it is mounted, and afterwards, when the device was forgotten.
pub(crate) fn deleted(node: &Node) -> Tested {
    let disk = volume(node, "deleted")?;
    fs::remove_file(&disk.backing)?;
    let path = disk.path().display().to_string();
    let finding = node.finding("loop-without-file")?;
    tells(&finding, &[&path, "globalmount", "deleted.img"]);

    csi_harness::lab::unmount_below(&node.root())?;
    let finding = node.finding("loop-without-file")?;
    tells(&finding, &[&path, "it was forgotten"]);
    assert_eq!(finding["paths"], serde_json::json!([path]));
    Ok(())
}

pub(crate) fn logged(node: &Node) -> Tested {
    let disk = volume(node, "logged")?;
    let number = disk.number;
    let line = format!("EXT4-fs error (device loop{number}): a line for a test of the audit");
    // Of whom it is, nobody can say: a busy kernel does not tell of each mount.
    let other = format!("EXT4-fs (loop{number}): mounted filesystem of another test");
    fs::write("/dev/kmsg", format!("<6>{other}\n"))?;
    fs::write("/dev/kmsg", format!("<3>{line}\n"))?;
    assert_eq!(node.findings()?, [] as [Value; 0]);

    let uuid = superblock::uuid(&fs::read(&disk.backing)?).ok_or("no UUID")?;
    let mounted = format!("EXT4-fs (loop{number}): mounted filesystem {uuid} r/w");
    fs::write("/dev/kmsg", format!("<6>{mounted}\n"))?;
    fs::write("/dev/kmsg", format!("<3>{line}\n"))?;
    let finding = node.finding("kernel-log")?;
    tells(&finding, &[&line, "globalmount", "pod-uid"]);
    Ok(())
}

/// A person reads it in 80 columns.
pub(crate) fn console(node: &Node) -> Tested {
    let disk = node.disk("left")?;
    let staging = node.stage(&disk, "left")?;
    bound(&staging, &staging)?;
    let output = node.run(&[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in text.lines().skip(1) {
        assert!(line.chars().count() <= 80, "{line}\n{text}");
    }
    for word in [
        "stacked-mounts",
        "orphaned-staging",
        "left of my.csi",
        "mountinfo",
        "means",
    ] {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    Ok(())
}

pub(crate) fn refused(_: &Node) -> Tested {
    for (root, why) in [
        ("relative", "not an absolute path"),
        ("/no/such/folder", "no such folder"),
        ("/dev/null", "not a folder"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_csi-conformance"))
            .args(["audit", "--kubelet-root", root])
            .output()?;
        let told = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains(why) && told.lines().count() == 1, "{told}");
    }
    Ok(())
}
