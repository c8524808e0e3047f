//! The mounts of a process in a namespace of its own.

use crate::{Done, Folder, SOON, until, wait};
use csi_harness::node::watch::{Ended, How, Namespace, WatchError};
use csi_harness::node::{Host, ProcessId, Watch, loops};
use std::error::Error;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A shell in a mount namespace of its own, which does what it is told.
struct Shell {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Shell {
    fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        Self::after("true", folder)
    }

    /// The same, after something was done and with what it did.
    fn after(first: &str, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let script = format!("{first} && exec sh");
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut shell = Self { child, out };
        shell.run("true")?;
        Ok(shell)
    }

    /// Runs a command to its end, which has to be a good one.
    fn run(&mut self, command: &str) -> Done {
        let input = self.child.stdin.as_mut().ok_or("no input")?;
        writeln!(input, "{command}\necho \"said $?\"")?;
        let mut said = String::new();
        while !said.starts_with("said ") {
            said.clear();
            if self.out.read_line(&mut said)? == 0 {
                return Err(format!("{command}: the shell has ended").into());
            }
        }
        match said.trim() {
            "said 0" => Ok(()),
            said => Err(format!("{command}: {said}").into()),
        }
    }

    fn id(&self) -> std::io::Result<ProcessId> {
        ProcessId::of(self.child.id())
    }

    /// Ends it, and is back when it has ended.
    fn end(&mut self) -> std::io::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().map(drop)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn seen_there(how: How) -> Done {
    let folder = Folder::new()?;
    let at = folder.sub("target")?;
    let ours = folder.watch(how)?;
    let mut shell = Shell::start(folder.path())?;
    let paths = [folder.path().to_owned()];
    let theirs = Watch::start_at(Namespace::Of(shell.id()?), how, &paths)?;

    shell.run("mount -t tmpfs hidden target")?;
    let (_, _) = (ours.sync()?, theirs.sync()?);
    assert_eq!(ours.events(), []);
    let events = theirs.events();
    let [seen] = &events[..] else {
        return Err(format!("{events:?}").into());
    };
    assert!(seen.attaches_at(&at));
    assert_eq!(
        seen.mount.as_ref().map(|m| m.source.as_os_str()),
        Some(OsStr::new("hidden"))
    );
    if how == How::Fanotify {
        assert!(
            seen.by
                .as_ref()
                .is_some_and(|by| by.pid != shell.child.id())
        );
    }
    crate::tmpfs(&at, "ours")?;
    let (_, _) = (ours.sync()?, theirs.sync()?);
    assert_eq!((ours.events().len(), theirs.events().len()), (1, 1));

    // What it does in its last moment is told, what ends with it is not.
    shell.run("mkdir target/deep; mount -t tmpfs last target/deep; umount target/deep")?;
    shell.end()?;
    until("the watch ends", || theirs.ended().is_some())?;
    assert_eq!(theirs.ended(), Some(Ended::NamespaceGone));
    theirs.sync()?;
    let events = theirs.events();
    let deep = |e: &csi_harness::node::MountEvent| e.mount.as_ref().is_none_or(|m| m.point != at);
    assert!(events[1..].iter().all(deep), "{events:?}");
    if how == How::Fanotify {
        assert_eq!(events.len(), 3, "{events:?}");
    }
    let none = wait(theirs.wait_for(theirs.cursor(), |_| true, SOON))??;
    assert_eq!(
        none, None,
        "nothing can come any more, and nobody waits for it"
    );
    Ok(())
}

/// The loop device of a file. Its path is that of another namespace, so only
/// its end counts: the folder's own name.
fn loop_of(file: &Path) -> Result<Option<PathBuf>, Box<dyn Error>> {
    let end: PathBuf = file.components().skip(2).collect();
    let all = loops::loops()?;
    let ours = all.iter().find(|l| l.backing.ends_with(&end));
    Ok(ours.map(csi_harness::node::LoopDevice::path))
}

/// While somebody lives in a namespace, its loop device stays; when the last
/// one has ended, it goes, though we watch.
pub(crate) fn let_go(how: How) -> Done {
    let folder = Folder::new()?;
    folder.sub("target")?;
    let disk = folder.path().join("disk");
    std::fs::File::create(&disk)?.set_len(8 << 20)?;
    let mut shell = Shell::start(folder.path())?;
    shell.run("mkfs.ext4 -q disk && mount -o loop disk target")?;
    let paths = [folder.path().to_owned()];
    let watch = Watch::start_at(Namespace::Of(shell.id()?), how, &paths)?;
    assert!(loop_of(&disk)?.is_some());

    // A child of the shell outlives it in the namespace, and mounts later.
    shell.run("mkfifo go; (read -r end <go; umount target; mkdir late; mount -t tmpfs late late; read -r end <go) >/dev/null &")?;
    shell.end()?;
    let before = watch.sync()?;
    assert_eq!(watch.ended(), None, "somebody lives there");
    assert!(loop_of(&disk)?.is_some());
    let pipe = folder.path().join("go");
    std::fs::write(&pipe, "\n")?;
    let late = folder.path().join("late");
    let event = wait(watch.wait_for(before, |e| e.attaches_at(&late), SOON))??;
    assert!(event.is_some());
    until("the loop device is unmounted", || {
        matches!(loop_of(&disk), Ok(None))
    })?;
    std::fs::write(&pipe, "\n")?;
    until("the watch ends", || watch.ended().is_some())?;
    assert_eq!(watch.ended(), Some(Ended::NamespaceGone));

    // And one that ends with all that is mounted in it.
    let mut shell = Shell::start(folder.path())?;
    shell.run("mount -o loop disk target")?;
    let watch = Watch::start_at(Namespace::Of(shell.id()?), how, &paths)?;
    watch.sync()?;
    assert!(loop_of(&disk)?.is_some());
    shell.end()?;
    until("the loop device is let go", || {
        matches!(loop_of(&disk), Ok(None))
    })?;
    until("the watch ends", || watch.ended().is_some())?;
    assert_eq!(watch.ended(), Some(Ended::NamespaceGone));
    watch.sync()?;
    assert_eq!(
        watch.events(),
        [],
        "what ends with the namespace is no event"
    );
    Ok(())
}

/// A process with another root directory knows its mounts by other paths. In a
/// container that is the root of the namespace (pivot_root(2)), and the kernel
/// tells the same paths; after chroot(2) it is not.
pub(crate) fn at_home(how: How) -> Done {
    let folder = Folder::new()?;
    folder.sub("new")?;
    let container = "mount --rbind / new && cd new && pivot_root . . && umount -l . && cd /";
    let chroot = "mount --rbind / new && exec chroot new";
    let chroot = format!("{chroot} sh -c 'cd / && exec sh'; false");
    for (name, first) in [("container", container), ("chroot", &chroot)] {
        let mut shell = Shell::after(first, folder.path())?;
        shell.run("mkdir -p /tmp/at-home")?;
        let asked = match name {
            "chroot" => How::Auto,
            _ => how,
        };
        let paths = [PathBuf::from("/tmp")];
        let watch = Watch::start_at(Namespace::Of(shell.id()?), asked, &paths)?;
        if asked == How::Auto {
            let has_events = Host::look().has("mount-events");
            let reason = format!(
                "process {} has a root directory of its own",
                shell.child.id()
            );
            assert_eq!(
                watch.how().ends_with(&reason),
                has_events,
                "{}",
                watch.how()
            );
            assert!(watch.how().starts_with("poll on mountinfo: "));
        }
        shell.run("mount -t tmpfs home /tmp/at-home")?;
        watch.sync()?;
        let events = watch.events();
        let [event] = &events[..] else {
            return Err(format!("{name}: {events:?}").into());
        };
        assert!(event.attaches_at(Path::new("/tmp/at-home")), "{event}");
        shell.end()?;
        until("the watch ends", || watch.ended().is_some())?;
    }
    Ok(())
}

pub(crate) fn nobody() -> Done {
    let mut child = Command::new("true").spawn()?;
    let id = ProcessId::of(child.id())?;
    child.wait()?;
    for how in [How::Auto, How::Poll] {
        let error = Watch::start(Namespace::Of(id), how).map(|w| w.how().to_owned());
        assert!(
            matches!(error, Err(WatchError::Gone(who)) if who == id),
            "{error:?}"
        );
    }
    Ok(())
}
