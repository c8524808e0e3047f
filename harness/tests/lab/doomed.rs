//! Processes that the tests start and kill: this binary again, in a role.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use csi_harness::lab::{Access, Entry, FileIdentity, Form, Layout, Roots, RunFolder, Scratch};
use csi_harness::node::ProcessId;
use libtest_mimic::Failed;

use crate::Tried;
use crate::removal::{bind, tmpfs};

/// The variable that names the role; the first argument is its folder.
pub(crate) const ROLE: &str = "CSI_LAB_TEST_ROLE";

pub(crate) fn play(role: &str) -> ExitCode {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    let played = match role {
        "foreign" => foreign(&folder),
        "built-in" => built_in(&folder),
        "scratch" => scratch(&folder),
        "disk" => crate::disks::doomed(&folder),
        "mapped" => crate::mapped::doomed(&folder),
        _ => Err(format!("no such role: {role}").into()),
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// Starts this binary in a role, and waits until it has made all.
pub(crate) fn start(role: &str, folder: &Path) -> Result<Child, Failed> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(folder)
        .env(ROLE, role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = [0_u8; 5];
    let stdout = child.stdout.as_mut().ok_or("no stdout")?;
    stdout
        .read_exact(&mut said)
        .map_err(|error| format!("it died before it was ready: {error}"))?;
    assert_eq!(&said, b"ready");
    Ok(child)
}

pub(crate) fn wait_for_death() -> Tried {
    std::io::stdout().write_all(b"ready")?;
    std::io::stdout().flush()?;
    // Killed here; or the test itself was, and closed its end of the pipe.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A loop device on a new file of 8 MiB.
pub(crate) fn loop_on(file: &Path) -> Result<u32, Failed> {
    fs::File::create(file)?.set_len(8 << 20)?;
    loop_over(file)
}

/// A loop device on this file.
pub(crate) fn loop_over(file: &Path) -> Result<u32, Failed> {
    let output = Command::new("losetup")
        .args(["--find", "--show"])
        .arg(file)
        .output()?;
    let name = String::from_utf8(output.stdout)?;
    let number = name
        .trim()
        .strip_prefix("/dev/loop")
        .ok_or_else(|| format!("losetup: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(number.parse()?)
}

/// A run against a foreign driver, in the namespace of the test.
fn foreign(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    let journal = Arc::clone(run.journal());
    let root = folder.join("root");
    let roots = Roots {
        staging: root.clone(),
        target: root,
        form: Form::Plain,
        maps: Vec::new(),
    };
    let layout = Layout::for_run(roots, run.id().clone(), Arc::clone(&journal))?;
    let staging = layout.staging("check", "v1", Access::Mount)?.ours;
    tmpfs(&staging)?;
    let target = layout.target("check", "v1", "a", Access::Mount)?.ours;
    fs::create_dir(&target)?;
    bind(&staging, &target)?;
    // A mount outside of our folders.
    let outside = folder.join("outside");
    fs::create_dir(&outside)?;
    tmpfs(&outside)?;
    journal.write(&Entry::mount_at(&outside))?;
    let backing = folder.join("root").join(run.id().as_str()).join("disk.img");
    journal.write(&Entry::loop_device(loop_on(&backing)?, &backing)?)?;
    let child = Command::new("sh")
        .args(["-c", "sleep 1000 & wait"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    let process = ProcessId::of(child.id())?;
    let children = format!("/proc/{0}/task/{0}/children", process.pid);
    let until = Instant::now() + Duration::from_secs(20);
    while fs::read_to_string(&children)?.is_empty() {
        if Instant::now() > until {
            return Err("the shell never forked".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    journal.write(&Entry::Process {
        process,
        what: "driver".into(),
    })?;
    journal.write(&Entry::Volume {
        endpoint: "unix:///csi.sock".into(),
        id: Some("vol-1".into()),
        name: "n".into(),
    })?;
    strangers(folder, &journal)?;
    wait_for_death()
}

/// Things that were ours and are another's now: their names are in the journal,
/// with identities that do not fit.
fn strangers(folder: &Path, journal: &csi_harness::lab::Journal) -> Tried {
    let stranger: u32 = fs::read_to_string(folder.join("stranger.pid"))?.parse()?;
    let process = ProcessId {
        start_ticks: 1,
        ..ProcessId::of(stranger)?
    };
    journal.write(&Entry::Process {
        process,
        what: "driver".into(),
    })?;
    let number: u32 = fs::read_to_string(folder.join("stranger.loop"))?.parse()?;
    let backing = folder.join("stranger.img");
    if let Entry::Loop {
        number,
        diskseq,
        backing,
        file,
    } = Entry::loop_device(number, &backing)?
    {
        let another = FileIdentity {
            ino: file.ino + 1,
            ..file
        };
        journal.write(&Entry::Loop {
            number,
            diskseq: diskseq - 1,
            backing: backing.clone(),
            file,
        })?;
        journal.write(&Entry::Loop {
            number,
            diskseq,
            backing,
            file: another,
        })?;
    }
    let path = folder.join("stranger");
    let made = FileIdentity::of(fs::File::open(&path)?)?;
    journal.write(&Entry::Folder {
        path,
        made: Some(FileIdentity {
            ino: made.ino + 1,
            ..made
        }),
    })?;
    let path = folder.join("stranger-mount");
    journal.write(&Entry::Mount {
        path,
        unique_id: Some(1),
    })?;
    Ok(())
}

/// A run against the built-in driver: all is in a namespace of its own but the
/// journal and the loop devices.
fn built_in(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    let scratch = Scratch::enter(&folder.join("state"))?;
    let backing = scratch.path().join("disk.img");
    let number = loop_on(&backing)?;
    run.journal()
        .write(&Entry::loop_device(number, &backing)?)?;
    let at = scratch.path().join("mounted");
    fs::create_dir(&at)?;
    let device = format!("/dev/loop{number}");
    assert!(
        Command::new("mkfs.ext4")
            .args(["-q", &device])
            .status()?
            .success()
    );
    assert!(
        Command::new("mount")
            .arg(&device)
            .arg(&at)
            .status()?
            .success()
    );
    // A driver that is killed in the midst of a snapshot.
    assert!(
        Command::new("fsfreeze")
            .arg("-f")
            .arg(&at)
            .status()?
            .success()
    );
    fs::write(folder.join("number"), number.to_string())?;
    wait_for_death()
}

fn scratch(folder: &Path) -> Tried {
    let scratch = Scratch::enter(&folder.join("new/state"))?;
    let below = scratch.path().join("below");
    fs::create_dir(&below)?;
    tmpfs(&below)?;
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let line = table
        .lines()
        .find(|line| line.contains("/new/state/scratch "))
        .ok_or("no scratch in mountinfo")?;
    assert!(line.contains(" shared:"), "{line}");
    let root = table
        .lines()
        .find(|line| line.contains(" / / "))
        .ok_or("no root in mountinfo")?;
    assert!(
        !root.contains(" shared:") && !root.contains(" master:"),
        "{root}"
    );
    Ok(())
}
