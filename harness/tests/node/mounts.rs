//! What mountinfo tells of real mounts.

use crate::{Done, Folder, SOON, tmpfs, wait};
use csi_harness::node::{Mount, MountTable, ProcessId, look, statmount};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn flags(at: &Path, flags: MsFlags) -> Result<(), nix::Error> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
}

fn bind(from: &Path, to: &Path) -> Result<(), nix::Error> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

fn sources(mounts: &[&Mount]) -> Vec<String> {
    mounts
        .iter()
        .map(|m| m.source.to_string_lossy().into_owned())
        .collect()
}

pub(crate) fn mounts_in_order() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    assert!(MountTable::ours()?.at(&target).is_empty());
    for source in ["first", "second", "third"] {
        tmpfs(&target, source)?;
    }
    fs::create_dir(target.join("below"))?;
    tmpfs(&target.join("below"), "below")?;

    let table = MountTable::ours()?;
    assert_eq!(sources(&table.at(&target)), ["first", "second", "third"]);
    assert_eq!(sources(&table.under(&target)), ["below"]);
    let holder = table
        .holding(&target.join("file"))
        .ok_or("nothing holds it")?;
    assert_eq!(holder.source, "third");
    let stat = fs::metadata(&target)?;
    assert_eq!(
        holder.dev(),
        (libc::major(stat.dev()), libc::minor(stat.dev()))
    );

    // Over the folder above them: they are hidden, and a new one is the top.
    tmpfs(folder.0.path(), "over")?;
    fs::create_dir(&target)?;
    tmpfs(&target, "seen")?;
    let table = MountTable::ours()?;
    assert_eq!(
        sources(&table.at(&target)),
        ["first", "second", "third", "seen"]
    );
    assert_eq!(
        table.holding(&target).map(|m| m.source.as_os_str()),
        Some(OsStr::new("seen"))
    );
    // From the top down: a tmpfs at a time.
    umount2(&target, MntFlags::MNT_DETACH)?;
    umount2(folder.0.path(), MntFlags::MNT_DETACH)?;
    assert_eq!(MountTable::ours()?.at(&target).len(), 3);
    Ok(())
}

pub(crate) fn beneath() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    let file = target.join("probe");
    fs::write(&file, "on the node's own disk")?;
    tmpfs(&target, "late")?;
    tmpfs(&target, "later")?;
    fs::write(&file, "in the volume")?;
    let before = MountTable::ours()?;
    let read = |names| wait(look::read_beneath(&file, names, 100, SOON));
    assert_eq!(read(2)?, b"on the node's own disk");
    // Of the folder itself, what is mounted on it is copied.
    assert_eq!(read(1)?, b"in the volume");
    let nothing = wait(look::read_beneath(&target.join("none"), 2, 100, SOON));
    assert!(nothing.is_err_and(|error| error.is_not_found()));
    let places = |table: &MountTable| table.under(folder.0.path()).len();
    assert_eq!(
        places(&MountTable::ours()?),
        places(&before),
        "the look left a mount"
    );
    Ok(())
}

pub(crate) fn out_of_sight() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    tmpfs(&target, "lazy")?;
    let dev = MountTable::ours()?.at(&target)[0].dev();
    let there = || wait(look::file_system(&target, dev, SOON));
    assert!(there()?, "it is mounted");
    let held = fs::File::create(target.join("held"))?;
    umount2(&target, MntFlags::MNT_DETACH)?;
    assert!(MountTable::ours()?.at(&target).is_empty());
    assert!(there()?, "it is out of sight, and used");
    drop(held);
    let until = std::time::Instant::now() + SOON;
    while there()? {
        assert!(std::time::Instant::now() < until, "nobody uses it");
    }
    Ok(())
}

pub(crate) fn nasty_names() -> Done {
    let folder = Folder::new()?;
    for name in [
        &b"a b"[..],
        b"tab\there",
        b"new\nline",
        b"back\\slash\\040",
        b"\xff\xfe",
        b"-",
        b"#,",
    ] {
        let target = folder.sub(OsStr::from_bytes(name))?;
        tmpfs(&target, " odd #\\source\n")?;
        let table = MountTable::ours()?;
        assert_eq!(table.odd, Vec::<Vec<u8>>::new());
        let [mount] = table.at(&target)[..] else {
            return Err(format!("{target:?}: {:?}", table.at(&target)).into());
        };
        assert_eq!(mount.source, " odd #\\source\n");
    }
    let empty = folder.sub("empty source")?;
    tmpfs(&empty, "")?;
    assert_eq!(sources(&MountTable::ours()?.at(&empty)).len(), 1);

    // A folder that is removed while it is mounted elsewhere, and a file.
    let (from, to) = (folder.sub("from")?, folder.sub("to")?);
    bind(&from, &to)?;
    fs::remove_dir(&from)?;
    let (from, file) = (
        folder.0.path().join("from-file"),
        folder.0.path().join("to-file"),
    );
    fs::write(&from, "x")?;
    fs::write(&file, "")?;
    bind(&from, &file)?;
    let table = MountTable::ours()?;
    assert!(table.at(&to)[0].root_deleted && table.at(&to)[0].root.ends_with("from"));
    assert!(!table.at(&file)[0].root_deleted && table.at(&file)[0].root.ends_with("from-file"));
    Ok(())
}

pub(crate) fn propagation() -> Done {
    let folder = Folder::new()?;
    let (master, slave) = (folder.sub("master")?, folder.sub("slave")?);
    tmpfs(&master, "shared")?;
    flags(&master, MsFlags::MS_SHARED)?;
    bind(&master, &slave)?;
    flags(&slave, MsFlags::MS_SLAVE)?;
    let table = MountTable::ours()?;
    let (from, to) = (table.at(&master)[0], table.at(&slave)[0]);
    assert!(from.shared.is_some() && from.master.is_none());
    assert_eq!((to.shared, to.master), (None, from.shared));
    assert_eq!(table.of_device(from.major, from.minor).len(), 2);
    Ok(())
}

pub(crate) fn another_namespace() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    let script = "mount -t tmpfs hidden \"$0\" && echo mounted && read -r end";
    let mut other = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(&target)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let out = other.stdout.take().ok_or("no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said)?;
    let seen = MountTable::of(other.id()).map(|t| sources(&t.at(&target)));
    let namespace = ProcessId::of(other.id()).and_then(|p| p.mount_namespace());
    drop(other.stdin.take());
    other.wait()?;
    assert_eq!(said, "mounted\n");
    assert_eq!(seen?, ["hidden"]);
    assert_ne!(
        namespace?,
        csi_harness::node::process::our_mount_namespace()?
    );
    assert!(MountTable::ours()?.at(&target).is_empty());
    Ok(())
}

pub(crate) fn read_only_mount() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    tmpfs(&target, "volume")?;
    let marker = target.join("marker");
    wait(look::write_file(&marker, b"mine".to_vec(), SOON))?;
    flags(
        &target,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY,
    )?;
    let table = MountTable::ours()?;
    let mount = table.at(&target)[0];
    assert!(mount.is_read_only() && mount.super_options.contains(&"rw".to_owned()));
    let refused = wait(look::write_file(&target.join("new"), b"x".to_vec(), SOON));
    assert_eq!(refused.expect_err("read-only").errno(), Some(libc::EROFS));
    let refused = wait(look::remove_file(&marker, SOON));
    assert_eq!(refused.expect_err("read-only").errno(), Some(libc::EROFS));
    assert_eq!(wait(look::read_file(&marker, 0, 9, SOON))?, b"mine");
    Ok(())
}

pub(crate) fn statmount_agrees() -> Done {
    let folder = Folder::new()?;
    let plain = folder.sub("plain")?;
    assert_eq!(statmount::top_mount_at(&plain)?, None);
    let absent = statmount::top_mount_at(&folder.0.path().join("absent"));
    let kind = absent.expect_err("no such path").kind();
    assert_eq!(kind, std::io::ErrorKind::NotFound);

    let (target, from, to) = (folder.sub("a\nb")?, folder.sub("from")?, folder.sub("to")?);
    tmpfs(&target, "hidden")?;
    tmpfs(&target, "two words")?;
    flags(&target, MsFlags::MS_SHARED)?;
    bind(&from, &to)?;
    fs::remove_dir(&from)?;
    let table = MountTable::ours()?;
    for path in [&target, &to, Path::new("/proc"), Path::new("/")] {
        let said = table.at(path).pop().ok_or("nothing there")?;
        let seen = statmount::top_mount_at(path)?.ok_or("nothing there")?;
        let (options, super_options) = (said.options.clone(), said.super_options.clone());
        assert_eq!(
            Mount {
                options,
                super_options,
                ..seen.mount
            },
            *said
        );
    }
    Ok(())
}
