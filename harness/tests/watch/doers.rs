//! Who mounted?

use crate::{Done, Folder, SOON, tmpfs, wait};
use csi_harness::node::watch::How;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// What this program is started with to be the one who mounts.
pub(crate) const MOUNT_AND_WAIT: &str = "--mount-and-wait";

/// Mounts at a path, says so, and stays until its input ends.
pub(crate) fn mount_and_wait(at: Option<OsString>) -> ExitCode {
    let Some(at) = at else {
        return ExitCode::FAILURE;
    };
    if let Err(e) = tmpfs(Path::new(&at), "late") {
        println!("{e}");
        return ExitCode::FAILURE;
    }
    println!("mounted");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

pub(crate) fn named() -> Done {
    let folder = Folder::new()?;
    let at = folder.sub("target")?;
    let watch = folder.watch(How::Fanotify)?;
    assert_eq!(watch.how(), "fanotify mount events");
    let before = watch.cursor();
    // By this name it is there wherever it lies, also below the /tmp that is covered here.
    let program = Path::new("/proc/self/exe");
    let mut child = Command::new(program)
        .arg(MOUNT_AND_WAIT)
        .arg(&at)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let out = child.stdout.take().ok_or("no output")?;
    BufReader::new(out).read_line(&mut said)?;
    let event = wait(watch.wait_for(before, |e| e.attaches_at(&at), SOON));
    let pid = child.id();
    drop(child.stdin.take());
    child.wait()?;
    assert_eq!(said, "mounted\n");

    let event = event??.ok_or("no event")?;
    let doer = event.by.as_deref().ok_or("by nobody")?;
    assert_eq!(doer.pid, pid);
    let arguments = [program.as_os_str(), MOUNT_AND_WAIT.as_ref(), at.as_os_str()];
    assert_eq!(doer.arguments, arguments);
    let process = doer.process.as_ref().ok_or("it lived then")?;
    assert_eq!((process.id.pid, process.parent), (pid, std::process::id()));
    assert_eq!(doer.parents[0].id.pid, std::process::id());
    assert!(
        event.to_string().ends_with(&format!("(pid {pid})")),
        "{event}"
    );

    // By mount(8), which ends at once: its pid is known in any case.
    let before = watch.cursor();
    let mut child = Command::new("mount")
        .args(["-t", "tmpfs", "quick"])
        .arg(&at)
        .spawn()?;
    let pid = child.id();
    assert!(child.wait()?.success());
    watch.sync()?;
    let events = watch.since(before);
    let quick = events
        .iter()
        .find(|e| e.attaches_at(&at))
        .ok_or("no event")?;
    let doer = quick.by.as_deref().ok_or("by nobody")?;
    assert_eq!(doer.pid, pid);
    if let Some(process) = &doer.process {
        assert_eq!((process.id.pid, process.comm.as_str()), (pid, "mount"));
    }
    Ok(())
}
