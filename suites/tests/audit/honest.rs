//! A node on which everything is as it should be.

use std::fs;
use std::path::Path;

use super::node::{Node, Tested, bound, mounted};

/// Nothing of it is trouble.
pub(crate) fn silent(node: &Node) -> Tested {
    // A volume in two pods, and a folder of it in a container of one.
    let disk = node.disk("shared")?;
    let staging = node.stage(&disk, "shared")?;
    for pod in ["one", "two"] {
        bound(&staging, &node.target(pod, "shared")?)?;
    }
    fs::create_dir(staging.join("sub"))?;
    let below = node.at("pods/two/volume-subpaths/pv-shared/app/0")?;
    bound(&staging.join("sub"), &below)?;

    // What every pod has.
    let tmpfs =
        |path: &str| -> Tested { Ok(mounted(Path::new("tmpfs"), &node.at(path)?, "tmpfs")?) };
    tmpfs("pods/one/volumes/kubernetes.io~projected/token")?;
    tmpfs("pods/one/volumes/kubernetes.io~empty-dir/memory")?;

    // A driver that shows a folder of what it staged, below the staging path.
    let staging = node.staging("folders")?;
    let within = staging.join("within");
    fs::create_dir(&within)?;
    mounted(Path::new("tmpfs"), &within, "tmpfs")?;
    fs::create_dir(within.join("shown"))?;
    bound(&within.join("shown"), &node.target("one", "folders")?)?;

    // One whose target is a file system of its own.
    mounted(Path::new("tmpfs"), &node.staging("two-mounts")?, "tmpfs")?;
    mounted(
        Path::new("tmpfs"),
        &node.target("one", "two-mounts")?,
        "tmpfs",
    )?;

    // One without staging, whose two volumes are one share.
    let share = node.at("plugins/my.csi/share")?;
    mounted(Path::new("tmpfs"), &share, "tmpfs")?;
    for handle in ["share-a", "share-b"] {
        bound(&share, &node.target("one", handle)?)?;
    }

    // A driver's own working mounts may lie on one another.
    tmpfs("plugins/my.csi/work")?;
    tmpfs("plugins/my.csi/work")?;

    // A raw block volume, with the kubelet's own bind of it, and its lock.
    let disk = node.disk("block")?;
    let devices = node.at("plugins/kubernetes.io/csi/volumeDevices")?;
    for file in ["publish/pv-block/two", "pv-block/dev/two"] {
        let file = devices.join(file);
        fs::create_dir_all(file.parent().ok_or("no parent")?)?;
        fs::File::create(&file)?;
        bound(&disk.path(), &file)?;
    }
    node.attach(&devices.join("pv-block/dev/two"))?;
    tmpfs("plugins/kubernetes.io/csi/volumeDevices/staging/pv-block")?;

    let findings = node.findings()?;
    assert!(findings.is_empty(), "{findings:#?}");
    Ok(())
}
