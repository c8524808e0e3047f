//! Servers that stop, freeze and hang, and clients that wait for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use csi_harness::lab::{NfsError, NfsServer};
use csi_harness::node::{ProcessId, process};
use libtest_mimic::Failed;

use crate::world::{V3, V4_2, World, is_mounted, mount, mount_command, note, said, until};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    (
        "a-stopped-server-refuses-and-a-mount-in-the-background-comes-with-it",
        stopped,
    ),
    ("a-look-waits-until-the-server-is-healed", held),
    ("what-hangs-leaves-the-rest-alone", hanging),
];

/// How long something that hangs is watched to hang.
const A_WHILE: Duration = Duration::from_secs(2);

type Befall = fn(&NfsServer) -> Result<(), NfsError>;

/// What makes a look wait.
const BEFALLS: [(&str, Befall); 3] = [
    ("frozen", NfsServer::freeze),
    ("cut off", NfsServer::cut_off),
    ("stopped", NfsServer::stop),
];

/// A process that may hang; killed with the test.
struct Waiting(Child);

impl Waiting {
    fn start(mut command: Command) -> Result<Self, Failed> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.stderr(Stdio::piped()).spawn()?))
    }

    /// A statfs(2) of the folder.
    fn statfs(target: &Path) -> Result<Self, Failed> {
        let mut command = Command::new("stat");
        command.arg("-f").arg(target);
        Self::start(command)
    }

    fn comes_back(mut self) -> Tried {
        let mut ended = None;
        let end = Instant::now() + crate::world::SOON;
        while ended.is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            ended = self.0.try_wait()?;
        }
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{status}").into()),
            None => Err("it did not come back".into()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.try_wait();
    }
}

/// Looks for a while whether they hang.
fn hang(waiting: &mut [Waiting]) -> Tried {
    std::thread::sleep(A_WHILE);
    for one in waiting {
        if let Some(status) = one.0.try_wait()? {
            return Err(format!("it came back: {status}").into());
        }
    }
    Ok(())
}

/// The helpers of mount(8) that work on a target.
fn helpers(target: &Path) -> Result<Vec<ProcessId>, Failed> {
    let mut found = process::all()?;
    found.retain(|p| {
        let arguments = p.id.cmdline().unwrap_or_default();
        p.comm.starts_with("mount.nfs") && arguments.iter().any(|a| a == target.as_os_str())
    });
    Ok(found.into_iter().map(|p| p.id).collect())
}

fn stopped(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let begin = Instant::now();
    server.stop()?;
    note("stop", begin);
    let mut targets: Vec<PathBuf> = Vec::new();
    for (name, options) in [("v3", V3), ("v4.2", V4_2)] {
        let target = world.target(name)?;
        let output = mount(&server, server.share(), options, &target)?;
        assert_eq!(output.status.code(), Some(32), "{}", said(&output));
        let says = said(&output).contains("Connection refused");
        assert!(says, "{}", said(&output));
        let options = format!("{options},bg");
        let output = mount_command(&server, server.share(), &options, &target).output()?;
        assert!(output.status.success(), "{}", said(&output));
        assert!(!is_mounted(&target)?, "{name}");
        assert_eq!(helpers(&target)?.len(), 1, "{name}");
        targets.push(target);
    }
    let begin = Instant::now();
    server.heal()?;
    note("heal of a stopped server", begin);
    let begin = Instant::now();
    for target in &targets {
        until("it is mounted", || is_mounted(target))?;
        note("mount in the background", begin);
        until("its helper has ended", || Ok(helpers(target)?.is_empty()))?;
        fs::write(target.join("file"), "data")?;
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn held(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let v3 = world.mount(&server, server.share(), V3, "v3")?;
    let v4 = world.mount(&server, server.share(), V4_2, "v4")?;
    for (what, befall) in BEFALLS {
        befall(&server)?;
        let mut looks = [Waiting::statfs(&v3)?, Waiting::statfs(&v4)?];
        hang(&mut looks)?;
        let begin = Instant::now();
        server.heal()?;
        note(&format!("heal of a server that is {what}"), begin);
        let begin = Instant::now();
        for look in looks {
            look.comes_back()?;
            note(&format!("look at one that was {what}"), begin);
        }
        for target in [&v3, &v4] {
            fs::write(target.join("file"), what)?;
        }
        note(&format!("write to one that was {what}"), begin);
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn hanging(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let (other, third) = (server.export("other")?, server.export("third")?);
    let mut mounted = Vec::new();
    let mut others = Vec::new();
    for (name, options) in [("v3", V3), ("v4", V4_2)] {
        mounted.push(world.mount(&server, server.share(), options, name)?);
        others.push(world.mount(&server, &other, options, &format!("other-{name}"))?);
    }
    mounts_hang(&world, &server, &third, &mounted)?;
    share_hangs(&server, &other, &others, &mounted)?;
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn mounts_hang(world: &World, server: &NfsServer, share: &str, mounted: &[PathBuf]) -> Tried {
    server.hang_mounts()?;
    let mut waiting = Vec::new();
    let mut targets = Vec::new();
    for (share, name, options) in [
        (share, "third-v3", V3),
        (share, "third-v4", V4_2),
        (server.share(), "again-v4", V4_2),
    ] {
        let target = world.target(name)?;
        let command = mount_command(server, share, options, &target);
        waiting.push(Waiting::start(command)?);
        targets.push(target);
    }
    hang(&mut waiting)?;
    for target in mounted {
        fs::write(target.join("file"), "goes on")?;
    }
    hang(&mut waiting)?;
    for target in &targets {
        assert!(!is_mounted(target)?);
    }
    server.heal()?;
    let begin = Instant::now();
    for (one, target) in waiting.into_iter().zip(&targets) {
        one.comes_back()?;
        note("mount that hung", begin);
        assert!(is_mounted(target)?);
    }
    Ok(())
}

fn share_hangs(server: &NfsServer, share: &str, hangs: &[PathBuf], goes_on: &[PathBuf]) -> Tried {
    server.hang(share)?;
    let looks: Result<Vec<_>, _> = hangs.iter().map(|target| Waiting::statfs(target)).collect();
    let mut looks = looks?;
    hang(&mut looks)?;
    for target in goes_on {
        fs::write(target.join("file"), "goes on")?;
    }
    hang(&mut looks)?;
    server.heal()?;
    let begin = Instant::now();
    for look in looks {
        look.comes_back()?;
        note("look at a share that hung", begin);
    }
    Ok(())
}
