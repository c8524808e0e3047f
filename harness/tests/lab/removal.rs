//! Removal and unmounting: nothing across a mount, nothing through a symlink.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use csi_harness::lab::{Holder, How, RemoveError, Removed, remove_tree, unmount_below};
use nix::mount::{MsFlags, mount};

use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-tree-is-removed", tree),
    (
        "a-bind-mount-of-the-same-file-system-stops-the-removal",
        bind_below,
    ),
    (
        "a-mount-on-the-folder-itself-stops-the-removal",
        mount_on_top,
    ),
    ("a-mounted-file-stops-the-removal", bind_file),
    ("a-symlink-is-removed-and-not-followed", symlinks),
    ("a-path-must-be-plain", plain_paths),
    ("mounts-below-are-unmounted-newest-first", unmount),
    ("a-busy-mount-is-detached", busy),
    ("an-unmount-follows-no-symlink", unmount_symlink),
    ("a-holder-keeps-a-mount-busy-until-dropped", holder),
];

pub(crate) fn bind(from: &Path, to: &Path) -> Tried {
    Ok(mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?)
}

pub(crate) fn tmpfs(at: &Path) -> Tried {
    Ok(mount(
        Some("lab-test"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=1m"),
    )?)
}

/// A folder of ours beside a volume with data in it.
fn ours_and_volume(folder: &Path) -> Tried {
    fs::create_dir_all(folder.join("ours/a/b"))?;
    fs::write(folder.join("ours/a/file"), "ours")?;
    fs::create_dir(folder.join("volume"))?;
    Ok(fs::write(folder.join("volume/data"), "precious")?)
}

fn survives(folder: &Path) -> Tried {
    assert_eq!(fs::read_to_string(folder.join("volume/data"))?, "precious");
    Ok(())
}

fn tree(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    assert_eq!(
        remove_tree(folder, Path::new("ours"))?,
        Removed {
            files: 1,
            folders: 3
        }
    );
    assert!(!folder.join("ours").exists());
    assert_eq!(
        remove_tree(folder, Path::new("ours"))?,
        Removed::default(),
        "what is not there is removed"
    );
    assert_eq!(
        remove_tree(folder, Path::new("volume/data"))?,
        Removed {
            files: 1,
            folders: 0
        }
    );
    Ok(())
}

fn stopped_by(folder: &Path, mount: &str) -> Tried {
    match remove_tree(folder, Path::new("ours")) {
        Err(RemoveError::Mounted { mount: seen, .. }) => assert_eq!(seen, folder.join(mount)),
        other => return Err(format!("expected a mount in the way, got {other:?}").into()),
    }
    survives(folder)
}

fn bind_below(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    bind(&folder.join("volume"), &folder.join("ours/a/b"))?;
    stopped_by(folder, "ours/a/b")?;
    assert!(
        folder.join("ours/a/file").exists(),
        "nothing at all is removed when a mount is seen beforehand"
    );
    // From inside, the same: here the mount is on the way to what is to be removed.
    let inside = remove_tree(folder, Path::new("ours/a/b/data"));
    assert!(
        matches!(inside, Err(RemoveError::Mounted { .. })),
        "{inside:?}"
    );
    survives(folder)
}

fn mount_on_top(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    bind(&folder.join("volume"), &folder.join("ours"))?;
    stopped_by(folder, "ours")?;
    let inside = remove_tree(folder, Path::new("ours/data"));
    assert!(
        matches!(inside, Err(RemoveError::Mounted { .. })),
        "{inside:?}"
    );
    survives(folder)
}

fn bind_file(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    bind(&folder.join("volume/data"), &folder.join("ours/a/file"))?;
    stopped_by(folder, "ours/a/file")
}

fn symlinks(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    symlink("../../volume", folder.join("ours/a/link"))?;
    remove_tree(folder, Path::new("ours"))?;
    survives(folder)?;
    // In the middle of the path, and in the place of the folder.
    symlink("volume", folder.join("ours"))?;
    let through = remove_tree(folder, Path::new("ours/data"));
    assert!(
        matches!(through, Err(RemoveError::Symlink { .. })),
        "{through:?}"
    );
    survives(folder)?;
    remove_tree(folder, Path::new("ours"))?;
    survives(folder)
}

fn plain_paths(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    for path in ["", "/", "..", "../volume", "ours/../volume", "/etc"] {
        let refused = remove_tree(&folder.join("ours"), Path::new(path));
        assert!(
            matches!(refused, Err(RemoveError::NotBeneath { .. })),
            "{path:?}: {refused:?}"
        );
    }
    survives(folder)
}

fn unmount(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    let (ours, below) = (folder.join("ours"), folder.join("ours/a/b"));
    fs::create_dir(folder.join("ours2"))?;
    bind(&folder.join("volume"), &folder.join("ours2"))?;
    bind(&folder.join("volume"), &below)?;
    tmpfs(&below)?;
    // This one hides the two below it.
    tmpfs(&ours)?;
    let report = unmount_below(&ours)?;
    let gone: Vec<_> = report
        .gone
        .iter()
        .map(|gone| (gone.path.as_path(), gone.how))
        .collect();
    assert_eq!(
        gone,
        [
            (ours.as_path(), How::Plain),
            (&below, How::Plain),
            (&below, How::Plain)
        ]
    );
    assert!(report.left.is_empty(), "{report:?}");
    assert!(
        folder.join("ours2/data").exists(),
        "a neighbour whose name begins the same is not ours"
    );
    survives(folder)
}

fn busy(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    let target = folder.join("ours/a/b");
    bind(&folder.join("volume"), &target)?;
    let holder = Holder::open_file(&target.join("data"))?;
    let report = unmount_below(&folder.join("ours"))?;
    assert_eq!(
        report.gone.iter().map(|gone| gone.how).collect::<Vec<_>>(),
        [How::Detached]
    );
    assert!(report.left.is_empty() && holder.id()?.alive());
    survives(folder)
}

fn unmount_symlink(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    // A stranger's mount, that a symlink in our folder leads to.
    fs::create_dir(folder.join("volume/mounted"))?;
    tmpfs(&folder.join("volume/mounted"))?;
    symlink(folder.join("volume/mounted"), folder.join("ours/link"))?;
    assert_eq!(unmount_below(&folder.join("ours/link"))?.gone, []);
    // Ours is hidden below a volume whose symlink leads its path elsewhere.
    fs::create_dir(folder.join("ours/a/b/mounted"))?;
    tmpfs(&folder.join("ours/a/b/mounted"))?;
    tmpfs(&folder.join("ours/a"))?;
    symlink(folder.join("volume"), folder.join("ours/a/b"))?;
    let report = unmount_below(&folder.join("ours"))?;
    assert!(
        report.left.is_empty() && report.gone.len() == 2,
        "{report:?}"
    );
    assert_eq!(
        unmount_below(&folder.join("volume"))?.gone.len(),
        1,
        "the stranger's mount was still there"
    );
    Ok(())
}

fn holder(folder: &Path) -> Tried {
    ours_and_volume(folder)?;
    let target = folder.join("ours/a/b");
    for hold in [
        Holder::working_directory,
        |path: &Path| Holder::open_file(&path.join("data")),
        |path: &Path| Holder::mapped(&path.join("data")),
    ] {
        bind(&folder.join("volume"), &target)?;
        let holder = hold(&target)?;
        let id = holder.id()?;
        assert_eq!(nix::mount::umount(&target), Err(nix::errno::Errno::EBUSY));
        let open = fs::read_dir(format!("/proc/{}/fd", id.pid))?.count();
        assert!(
            open <= 2,
            "it holds its socket and the file, and nothing else: {open}"
        );
        drop(holder);
        assert!(!id.alive());
        nix::mount::umount(&target)?;
    }
    let missing = Holder::open_file(&folder.join("missing"))
        .err()
        .map(|error| error.to_string());
    assert!(
        missing.is_some_and(|text| text.contains("missing")),
        "the error names the path"
    );
    Ok(())
}
