//! The run's folder, the paths of a kubelet, and the scratch.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use csi_harness::lab::{
    Access, Form, Layout, PathMap, Roots, RunFolder, Scratch, ScratchError, Then,
};

use crate::doomed::ROLE;
use crate::removal::tmpfs;
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-plain-layout-goes-away-with-the-run", plain),
    ("a-kubelet-layout-leaves-what-others-use", kubelet),
    ("what-stays-mounted-is-told-at-the-end", mounted_at_the_end),
    ("a-scratch-is-refused-beside-threads", threads),
    ("a-scratch-reaches-no-host-that-is-shared", |folder| {
        host_sees_nothing(folder, "shared")
    }),
    ("a-scratch-reaches-no-host-that-is-private", |folder| {
        host_sees_nothing(folder, "private")
    }),
];

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

fn plain(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    assert_eq!((run.id().as_str().len(), mode(run.path())?), (8, 0o700));
    // The user's root is a symlink, and has another name in the driver.
    fs::create_dir(folder.join("real"))?;
    symlink(folder.join("real"), folder.join("root"))?;
    let roots = Roots {
        staging: folder.join("root"),
        target: folder.join("root"),
        form: Form::Plain,
        maps: vec![PathMap {
            ours: folder.join("root"),
            drivers: "/csi".into(),
        }],
    };
    let layout = Layout::for_run(roots, run.id().clone(), Arc::clone(run.journal()))?;
    let staging = layout.staging("node-stage.mounted", "v1", Access::Mount)?;
    let id = run.id().as_str().to_owned();
    assert_eq!(
        staging.ours,
        folder.join(format!("real/{id}/node-stage.mounted/v1/globalmount"))
    );
    assert_eq!(
        staging.drivers,
        format!("/csi/{id}/node-stage.mounted/v1/globalmount")
    );
    assert_eq!(mode(&staging.ours)?, 0o750);
    let target = layout.target("node-stage.mounted", "v1", "a", Access::Mount)?;
    assert_eq!(
        target,
        layout.target("node-stage.mounted", "v1", "a", Access::Mount)?
    );
    assert_ne!(
        target,
        layout.target("node-stage.mounted", "v1", "b", Access::Mount)?
    );
    assert!(!target.ours.exists() && target.ours.ends_with("mount"));
    let parent = target.ours.parent().ok_or("no parent")?;
    assert_eq!(mode(parent)?, 0o750);
    assert!(target.drivers.len() < 200, "{}", target.drivers.len());
    let block = layout.target("node-stage.mounted", "v1", "a", Access::Block)?;
    assert!(!block.ours.exists() && block.ours.parent().is_some_and(Path::is_dir));

    assert!(target.remove()?.folders > 0);
    assert!(
        !parent.exists() && staging.ours.exists(),
        "one path goes without the others"
    );
    drop(layout);
    let report = run.end()?;
    assert!(
        report
            .iter()
            .all(|line| line.what == "folder" && line.then == Then::Removed),
        "{report:?}"
    );
    assert_eq!(fs::read_dir(folder.join("real"))?.count(), 0);
    assert_eq!(fs::read_dir(folder.join("state/runs"))?.count(), 0);
    Ok(())
}

fn kubelet(folder: &Path) -> Tried {
    let root = folder.join("kubelet");
    let run = RunFolder::make(&folder.join("state"))?;
    let form = Form::Kubelet {
        driver: "our.csi.driver".into(),
        pod_uid: Some("our-pod".into()),
    };
    let roots = Roots {
        staging: root.clone(),
        target: root.clone(),
        form,
        maps: Vec::new(),
    };
    let layout = Layout::for_run(roots, run.id().clone(), Arc::clone(run.journal()))?;
    let staging = layout.staging("check", "v1", Access::Mount)?;
    let (csi, hash) = (
        root.join("plugins/kubernetes.io/csi"),
        staging.ours.parent().ok_or("no parent")?,
    );
    assert_eq!(hash.parent(), Some(csi.join("our.csi.driver").as_path()));
    assert_eq!(hash.file_name().map(|name| name.len()), Some(64));
    let block = layout.staging("check", "v1", Access::Block)?;
    assert_eq!(
        (block.ours.parent(), block.ours.is_dir()),
        (Some(csi.join("volumeDevices/staging").as_path()), true)
    );
    layout.target("check", "v1", "a", Access::Block)?;
    let target = layout.target("check", "v1", "a", Access::Mount)?;
    assert!(
        target
            .ours
            .starts_with(root.join("pods/our-pod/volumes/kubernetes.io~csi"))
    );
    // The kubelet itself, and another driver, came to use folders that we made.
    fs::write(root.join("pods/our-pod/etc-hosts"), "")?;
    fs::create_dir(csi.join("another.driver"))?;
    drop(layout);
    run.end()?;
    assert!(root.join("pods/our-pod/etc-hosts").exists() && csi.join("another.driver").exists());
    for gone in [
        csi.join("our.csi.driver"),
        csi.join("volumeDevices"),
        root.join("pods/our-pod/volumes"),
    ] {
        assert!(!gone.exists(), "{} stayed", gone.display());
    }
    Ok(())
}

fn mounted_at_the_end(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    let roots = Roots {
        staging: folder.join("s"),
        target: folder.join("t"),
        form: Form::Plain,
        maps: Vec::new(),
    };
    let layout = Layout::for_run(roots, run.id().clone(), Arc::clone(run.journal()))?;
    let staging = layout.staging("check", "v1", Access::Mount)?;
    tmpfs(&staging.ours)?;
    assert!(staging.remove().is_err());
    // Also on the topmost folder that is ours, which then cannot be looked at.
    let top = folder.join("s").join(run.id().as_str());
    tmpfs(&top)?;
    drop(layout);
    let report = run.end()?;
    let told = report
        .iter()
        .any(|line| line.what == "mount" && *line.object == *staging.ours.to_string_lossy());
    assert!(told && !folder.join("s").exists(), "{report:?}");
    Ok(())
}

fn threads(folder: &Path) -> Tried {
    // We are in a thread of the test's.
    let refused = Scratch::enter(folder);
    assert!(
        matches!(refused, Err(ScratchError::Threads(n)) if n > 1),
        "{refused:?}"
    );
    Ok(())
}

fn host_sees_nothing(folder: &Path, propagation: &str) -> Tried {
    let script =
        "cat /proc/self/mountinfo; \"$0\" \"$1\" || exit 1; echo after; cat /proc/self/mountinfo";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", propagation, "sh", "-c", script])
        .arg(std::env::current_exe()?)
        .arg(folder)
        .env(ROLE, "scratch")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (before, after) = text.split_once("after\n").ok_or("the script did not end")?;
    // Other tests mount beside us in what is the host here.
    let ours = |table: &str| {
        table
            .lines()
            .filter(|line| line.contains("/new/state/scratch"))
            .count()
    };
    assert!(before.contains(" / / ") && after.contains(" / / "));
    assert_eq!((ours(before), ours(after)), (0, 0), "{after}");
    Ok(())
}
