use super::*;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

#[test]
fn a_name_with_spaces_and_parentheses_does_not_move_the_fields() {
    let rest = "S 7 8 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 11 0 4242 1000 20";
    for comm in ["init", "a) R 1 (b", ")", "tmux: server", ""] {
        let stat = format!("99 ({comm}) {rest}\n");
        let process = Process::parse(stat.as_bytes()).expect("a line of stat");
        let (id, parent) = (process.id, process.parent);
        assert_eq!((id.pid, id.start_ticks, parent), (99, 4242, 7));
        assert_eq!(process.group, 8);
        let (state, threads) = (process.state, process.threads);
        assert_eq!((process.comm.as_str(), state, threads), (comm, 'S', 11));
    }
    assert_eq!(Process::parse(b"99 (init) S 7"), None);
    assert_eq!(Process::parse(b""), None);
}

/// A child that waits for its input to end.
fn cat() -> io::Result<Child> {
    Command::new("cat")
        .arg("a b")
        .arg("-")
        .arg("")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

#[test]
fn a_child_is_known_while_it_lives_and_not_after() -> io::Result<()> {
    let mut child = cat()?;
    let id = ProcessId::of(child.id())?;
    assert!(id.alive());
    assert_eq!(id.mount_namespace()?, our_mount_namespace()?);
    assert_eq!(id.threads()?, 1);
    assert!(id.open_fds()? >= 3);
    // It may still be on its way through exec.
    while id.cmdline()?.is_empty() && id.alive() {
        std::thread::yield_now();
    }
    assert_eq!(id.cmdline()?, ["cat", "a b", "-", ""]);
    let ours = children(std::process::id())?;
    assert!(ours.iter().any(|p| p.id == id));

    let another = ProcessId {
        start_ticks: id.start_ticks + 1,
        ..id
    };
    assert!(!another.alive());
    let said = another.cmdline().expect_err("another process");
    assert_eq!(said.kind(), io::ErrorKind::NotFound);

    child.kill()?;
    // A zombie until it is waited for.
    while id.look().is_ok_and(|p| !p.is_zombie()) {
        std::thread::yield_now();
    }
    assert!(!id.alive());
    child.wait()?;
    assert_eq!(
        id.look().expect_err("ended").kind(),
        io::ErrorKind::NotFound
    );
    Ok(())
}

#[test]
fn grandchildren_are_children() -> io::Result<()> {
    let mut child = Command::new("sh")
        .args(["-c", "cat; true"])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut seen = Vec::new();
    while seen.is_empty() && child.try_wait()?.is_none() {
        seen = children(child.id())?;
        seen.retain(|p| p.comm == "cat");
    }
    let grandchild = seen.first().map(|p| p.parent);
    assert_eq!(grandchild, Some(child.id()));
    assert!(
        children(std::process::id())?
            .iter()
            .any(|p| p.id == seen[0].id)
    );
    drop(child.stdin.take());
    child.wait().map(drop)
}

#[test]
fn a_family_is_a_group_with_its_children() -> io::Result<()> {
    let mut leader = Command::new("sh")
        .args(["-c", "cat; true"])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    // Of the group, but nobody's child in it: as one whose parent has ended.
    let mut member = Command::new("cat")
        .stdin(Stdio::piped())
        .process_group(leader.id().cast_signed())
        .spawn()?;
    let mut seen = Vec::new();
    while seen.len() < 2 && leader.try_wait()?.is_none() {
        seen = family(leader.id())?;
    }
    let member_id = ProcessId::of(member.id())?;
    assert!(seen.contains(&member_id), "{seen:?}");
    assert!(seen.iter().all(|id| id.pid != leader.id()), "{seen:?}");
    let child = seen.iter().find(|id| **id != member_id);
    assert!(child.is_some_and(|id| id.look().is_ok_and(|p| p.parent == leader.id())));

    drop((leader.stdin.take(), member.stdin.take()));
    // A zombie until it is waited for, and no more of the family.
    while member_id.look().is_ok_and(|p| !p.is_zombie()) {
        std::thread::yield_now();
    }
    assert!(!family(leader.id())?.contains(&member_id));
    member.wait()?;
    leader.wait().map(drop)
}

#[test]
fn a_socket_tells_who_listens() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("csi.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path)?;
    assert_eq!(peer_of(&path)?, Some(ProcessId::ours()?));
    let absent = peer_of(&dir.path().join("absent")).expect_err("no socket");
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    assert!(absent.to_string().contains("absent"));
    Ok(())
}
