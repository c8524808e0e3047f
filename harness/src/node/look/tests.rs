use super::*;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

const SOON: Duration = Duration::from_secs(20);

/// Looks at a path, and gives the error number and the call.
fn refused(look: Look) -> (i32, &'static str) {
    match look_now(&look, SOON) {
        Err(LookError::Os { errno, what, .. }) => (errno, what),
        other => panic!("{look:?}: {other:?}"),
    }
}

#[tokio::test]
async fn ordinary_files_are_seen_as_they_are() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("marker");
    write_file(&file, b"hello".to_vec(), SOON).await?;
    let seen = stat(&file, SOON).await?;
    assert!(seen.is_file() && !seen.is_dir());
    assert_eq!((seen.size, seen.nlink, seen.mode & 0o777), (5, 1, 0o600));
    assert_eq!(read_file(&file, 1, 3, SOON).await?, b"ell");
    assert_eq!(read_file(&file, 9, 3, SOON).await?, b"");

    write_file(&file, b"hi".to_vec(), SOON).await?;
    assert_eq!(read_file(&file, 0, MAX_BYTES, SOON).await?, b"hi");

    let fs = statfs(dir.path(), SOON).await?;
    assert!(fs.blocks >= fs.blocks_free && fs.block_size > 0);

    std::os::unix::fs::symlink(&file, dir.path().join("link"))?;
    assert!(stat(&dir.path().join("link"), SOON).await?.is_symlink());
    assert!(stat_follow(&dir.path().join("link"), SOON).await?.is_file());

    remove_file(&file, SOON).await?;
    assert!(stat(&file, SOON).await.is_err_and(|e| e.is_not_found()));
    Ok(())
}

#[test]
fn names_are_all_there_or_said_to_be_cut() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut made: Vec<_> = (0..3000).map(|n| format!("{n:0200}").into()).collect();
    made.push(std::ffi::OsStr::from_bytes(b"\xff new\nline").to_owned());
    for name in &made {
        std::fs::write(dir.path().join(name), b"")?;
    }
    let list = |max| {
        let path = dir.path().to_path_buf();
        look_now(&Look::ReadDir { path, max }, SOON)
    };
    let Seen::Names(mut all) = list(made.len())? else {
        panic!("no names");
    };
    all.names.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(all.names.iter().map(|n| &n.name).eq(made.iter()));
    assert!(!all.truncated);
    let Seen::Names(some) = list(10)? else {
        panic!("no names");
    };
    assert_eq!((some.names.len(), some.truncated), (10, true));
    Ok(())
}

#[test]
fn the_error_number_and_the_call_are_carried() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, b"x")?;
    let path = dir.path().join("absent");
    assert_eq!(
        refused(Look::Stat { path: path.clone() }),
        (libc::ENOENT, "stat")
    );
    assert_eq!(
        refused(Look::StatFs { path: path.clone() }),
        (libc::ENOENT, "statfs")
    );
    assert_eq!(
        refused(Look::Remove { path: path.clone() }),
        (libc::ENOENT, "unlink")
    );
    assert_eq!(
        refused(Look::OpenExclusive { path }),
        (libc::ENOENT, "stat")
    );
    let path = file.join("below");
    assert_eq!(refused(Look::Stat { path }), (libc::ENOTDIR, "stat"));
    let (path, max) = (file.clone(), 9);
    assert_eq!(
        refused(Look::ReadDir { path, max }),
        (libc::ENOTDIR, "open")
    );
    let (path, offset) = (dir.path().to_path_buf(), 0);
    assert_eq!(
        refused(Look::ReadFile { path, offset, max }),
        (libc::EISDIR, "read")
    );

    let said = look_now(
        &Look::Stat {
            path: file.join("below"),
        },
        SOON,
    );
    let said = said.expect_err("not a directory").to_string();
    assert!(
        said.starts_with("stat /") && said.contains("Not a directory"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_marker_is_written_to_a_file_and_to_nothing_else() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let write = |path: &Path| {
        let (path, bytes) = (path.to_path_buf(), b"marker".to_vec());
        let look = Look::WriteFile {
            path,
            offset: 0,
            bytes,
            create: true,
            truncate: true,
            fsync: false,
        };
        look_now(&look, SOON)
    };
    let file = dir.path().join("file");
    std::fs::write(&file, b"kept")?;
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link)?;
    assert_eq!(write(&link).expect_err("a link").errno(), Some(libc::ELOOP));
    for other in [dir.path(), Path::new("/dev/null")] {
        assert!(matches!(write(other), Err(LookError::NotThat { .. })));
    }
    assert_eq!(std::fs::read(&file)?, b"kept");
    Ok(())
}

#[test]
fn what_is_no_block_device_is_not_opened_as_one() {
    let only = DiskId {
        number: (1, 3),
        diskseq: None,
    };
    let path = || PathBuf::from("/dev/null");
    for look in [
        Look::OpenDevice {
            path: path(),
            write: true,
        },
        Look::OpenExclusive { path: path() },
        Look::ReadDevice {
            path: path(),
            offset: 0,
            len: 1,
        },
        Look::WriteDevice {
            path: path(),
            only,
            offset: 0,
            bytes: vec![1],
            fsync: true,
        },
    ] {
        let seen = look_now(&look, SOON);
        assert!(
            matches!(seen, Err(LookError::NotThat { .. })),
            "{look:?}: {seen:?}"
        );
    }
}

#[test]
fn what_cannot_be_asked_is_our_own_fault() {
    for look in [
        Look::Stat {
            path: "relative".into(),
        },
        Look::Stat {
            path: "/a\0b".into(),
        },
        Look::ReadFile {
            path: "/etc/passwd".into(),
            offset: 0,
            max: MAX_BYTES + 1,
        },
    ] {
        let seen = look_now(&look, SOON);
        assert!(
            matches!(seen, Err(LookError::Ours { .. })),
            "{look:?}: {seen:?}"
        );
    }
}

/// The children of the calling thread.
fn children() -> std::io::Result<Vec<u32>> {
    let list = std::fs::read_to_string("/proc/thread-self/children")?;
    Ok(list
        .split_whitespace()
        .filter_map(|c| c.parse().ok())
        .collect())
}

#[test]
fn a_look_that_hangs_ends_at_its_deadline_and_leaves_no_child() -> std::io::Result<()> {
    let deadline = Duration::from_millis(50);
    let seen = look_now(&Look::Sleep, deadline);
    assert!(matches!(seen, Err(LookError::NoAnswer { after, .. }) if after >= deadline));
    // On a busy machine the child may take a moment to die, and is abandoned.
    let until = Instant::now() + SOON;
    while reap() > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(children()?, Vec::<u32>::new());
    Ok(())
}

#[test]
fn the_child_holds_nothing_of_ours() -> Result<(), Box<dyn std::error::Error>> {
    let held = tempfile::tempfile()?;
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let looker = scope.spawn(move || {
            // SAFETY: gettid takes nothing.
            let _ = tell.send(unsafe { libc::gettid() });
            look_now(&Look::Sleep, Duration::from_secs(1))
        });
        let tid = told.recv()?;
        let list = format!("/proc/self/task/{tid}/children");
        let until = Instant::now() + SOON;
        let mut held_by_child = None;
        while held_by_child != Some(0) && Instant::now() < until && !looker.is_finished() {
            let child = std::fs::read_to_string(&list).unwrap_or_default();
            if !child.trim().is_empty() {
                let fds = std::fs::read_dir(format!("/proc/{}/fd", child.trim()));
                held_by_child = fds.map(Iterator::count).ok().or(held_by_child);
            }
            std::thread::yield_now();
        }
        assert_eq!(held_by_child, Some(0), "descriptors held by the child");
        assert!(matches!(looker.join(), Ok(Err(LookError::NoAnswer { .. }))));
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    drop(held);
    Ok(())
}

#[test]
fn what_is_no_content_is_left_and_seen() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let leave = |name: &str, what: Leave| {
        let path = at(name);
        look_now(&Look::Leave { path, what }, SOON)
    };
    assert_eq!(leave("folder", Leave::Folder)?, Seen::Written);
    leave("link", Leave::Link(c"folder".into()))?;
    let read = look_now(&Look::ReadLink { path: at("link") }, SOON)?;
    assert_eq!(read, Seen::Bytes(b"folder".to_vec()));
    let far = Look::WriteFile {
        path: at("far"),
        offset: 5 << 30,
        bytes: b"far in".to_vec(),
        create: true,
        truncate: false,
        fsync: false,
    };
    look_now(&far, SOON)?;
    assert_eq!(std::fs::metadata(at("far"))?.len(), (5 << 30) + 6);
    let tag = Leave::Tag {
        name: c"user.tag".into(),
        value: b"value".to_vec(),
    };
    // Not every file system takes one: then it says so.
    if leave("far", tag).is_ok() {
        let (path, name) = (at("far"), c"user.tag".into());
        let read = look_now(&Look::ReadTag { path, name }, SOON)?;
        assert_eq!(read, Seen::Bytes(b"value".to_vec()));
    }
    // No link is followed to what it leads to.
    let owner = Leave::Owner {
        uid: 0,
        gid: 0,
        mode: 0o700,
    };
    let refused = leave("link", owner).expect_err("a link");
    assert_eq!(refused.errno(), Some(libc::ELOOP));
    Ok(())
}
