//! Servers that stop, freeze and hang, and clients that wait for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use csi_harness::lab::NfsServer;
use csi_harness::node::{ProcessId, process};
use libtest_mimic::Failed;

use crate::world::{V3, V4_2, World, is_mounted, mount_command, note, said, until};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    (
        "a-mount-in-the-background-comes-when-the-server-does",
        |folder| background(folder),
    ),
    (
        "a-frozen-server-holds-a-look-until-it-is-healed",
        |folder| held(folder, NfsServer::freeze),
    ),
    ("a-server-that-is-cut-off-comes-back", |folder| {
        held(folder, NfsServer::cut_off)
    }),
    ("a-stopped-server-under-a-mount-comes-back", |folder| {
        held(folder, NfsServer::stop)
    }),
    ("mounts-hang-while-what-is-mounted-goes-on", hanging_mounts),
    ("one-share-hangs-and-the-other-goes-on", hanging_share),
];

/// How long something that hangs is watched to hang.
const A_WHILE: Duration = Duration::from_secs(3);

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

    fn hangs(&mut self) -> Tried {
        std::thread::sleep(
            std::env::var("A_WHILE").map_or(A_WHILE, |s| Duration::from_secs(s.parse().unwrap())),
        );
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("it came back: {status}").into()),
        }
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

/// The helpers of mount(8) that work on a target.
fn helpers(target: &Path) -> Result<Vec<ProcessId>, Failed> {
    let mut found = process::all()?;
    found.retain(|p| {
        let arguments = p.id.cmdline().unwrap_or_default();
        p.comm.starts_with("mount.nfs") && arguments.iter().any(|a| a == target.as_os_str())
    });
    Ok(found.into_iter().map(|p| p.id).collect())
}

fn background(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    server.stop()?;
    let mut targets: Vec<PathBuf> = Vec::new();
    for (name, options) in [("v3", V3), ("v4.2", V4_2)] {
        let target = world.target(name)?;
        let output =
            mount_command(&server, server.share(), &format!("{options},bg"), &target).output()?;
        assert!(output.status.success(), "{}", said(&output));
        assert!(!is_mounted(&target)?, "{name}");
        assert_eq!(helpers(&target)?.len(), 1, "{name}");
        targets.push(target);
    }
    server.heal()?;
    let begin = Instant::now();
    for target in &targets {
        until("it is mounted", || is_mounted(target))?;
        note("background mount", begin);
        until("its helper has ended", || Ok(helpers(target)?.is_empty()))?;
        fs::write(target.join("file"), "data")?;
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn held(folder: &Path, befall: fn(&NfsServer) -> Result<(), csi_harness::lab::NfsError>) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let v3 = world.mount(&server, server.share(), V3, "v3")?;
    let v4 = world.mount(&server, server.share(), V4_2, "v4")?;
    befall(&server)?;
    let mut looks = [Waiting::statfs(&v3)?, Waiting::statfs(&v4)?];
    for look in &mut looks {
        look.hangs()?;
    }
    let begin = Instant::now();
    server.heal()?;
    note("heal", begin);
    let begin = Instant::now();
    for look in looks {
        look.comes_back()?;
        note("look came back", begin);
    }
    let begin = Instant::now();
    for target in [&v3, &v4] {
        fs::write(target.join("file"), "data")?;
        note("wrote", begin);
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn hanging_mounts(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let other = server.export("other")?;
    let mounted = [
        world.mount(&server, server.share(), V3, "v3")?,
        world.mount(&server, server.share(), V4_2, "v4")?,
    ];
    server.hang_mounts()?;
    let mut waiting = Vec::new();
    let mut targets = Vec::new();
    for (share, name, options) in [
        (other.as_str(), "other-v3", V3),
        (other.as_str(), "other-v4", V4_2),
        (server.share(), "same-v4", V4_2),
    ] {
        let target = world.target(name)?;
        waiting.push(Waiting::start(mount_command(
            &server, share, options, &target,
        ))?);
        targets.push(target);
    }
    for one in &mut waiting {
        one.hangs()?;
    }
    for target in &mounted {
        fs::write(target.join("file"), "goes on")?;
    }
    for (one, target) in waiting.iter_mut().zip(&targets) {
        assert!(one.0.try_wait()?.is_none() && !is_mounted(target)?);
    }
    server.heal()?;
    let begin = Instant::now();
    for (one, target) in waiting.into_iter().zip(&targets) {
        one.comes_back()?;
        note("mount came back", begin);
        assert!(is_mounted(target)?);
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}

fn hanging_share(folder: &Path) -> Tried {
    let world = World::new(folder)?;
    let server = world.server()?;
    let other = server.export("other")?;
    let mut goes_on = Vec::new();
    let mut hangs = Vec::new();
    for (name, options) in [("v3", V3), ("v4", V4_2)] {
        goes_on.push(world.mount(&server, server.share(), options, name)?);
        hangs.push(world.mount(&server, &other, options, &format!("other-{name}"))?);
    }
    server.hang(&other)?;
    let mut looks = Vec::new();
    for target in &hangs {
        looks.push(Waiting::statfs(target)?);
    }
    for look in &mut looks {
        look.hangs()?;
    }
    for target in &goes_on {
        fs::write(target.join("file"), "goes on")?;
    }
    server.heal()?;
    let begin = Instant::now();
    for look in looks {
        look.comes_back()?;
        note("look came back", begin);
    }
    world.unmount()?;
    server.take_down()?;
    world.end()
}
