//! The watch on real mounts.
//!
//! `main` moves to a mount namespace of its own before there is any thread,
//! and puts a fresh tmpfs over /tmp there: all that is mounted here ends with
//! this process, however it ends. The test program is also the process that
//! mounts, where one is needed that does not end at once.

mod doers;
mod ends;
mod other;
mod story;

use csi_harness::node::Host;
use csi_harness::node::host::State;
use csi_harness::node::watch::How;
use csi_harness::node::{MountTable, Watch};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than an honest answer takes.
const SOON: Duration = Duration::from_secs(60);

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().as_deref() == Some(OsStr::new(doers::MOUNT_AND_WAIT)) {
        return doers::mount_and_wait(words.next());
    }
    let mut arguments = Arguments::from_args();
    // One at a time: a mount that was gone before it could be looked at has no
    // place, and would be seen by the watches of all the others.
    arguments.test_threads = Some(1);
    let lacking = scratch().err();
    let host = Host::look();
    let trial = |name: String, needs: &[&str], body: Box<dyn FnOnce() -> Done + Send>| {
        let lacks = |need: &&str| match &host.feature(need)?.state {
            State::Have => None,
            State::Lack(why) => Some(format!("{need}: {why}")),
        };
        let lacking = lacking.clone().or_else(|| needs.iter().find_map(lacks));
        Trial::ignorable_test(name, move || match lacking {
            Some(what) => Ok(Completion::ignored_with(format!("the host lacks {what}"))),
            None => body().map(|()| Completion::Completed).map_err(Failed::from),
        })
    };
    let mut trials = Vec::new();
    // Each of these, by either way.
    type OneWay = (&'static str, &'static [&'static str], fn(How) -> Done);
    let both: [OneWay; 9] = [
        ("tells_the_story", &[], story::told_by),
        ("leaves_alterations_out", &[], story::alterations),
        ("knows_what_was_there_at_the_start", &[], story::baseline),
        ("keeps_what_happens_at_its_paths", &[], story::places),
        (
            "another_namespace_is_seen_there_alone",
            &[],
            other::seen_there,
        ),
        (
            "a_dead_namespace_is_let_go",
            &["loop", "ext4"],
            other::let_go,
        ),
        ("another_root_directory_is_minded", &[], other::at_home),
        ("waits_for_a_late_mount", &[], ends::late_mount),
        ("ends_when_it_is_told_to", &[], ends::stopped),
    ];
    for (name, needs, body) in both {
        let poll = format!("poll_{name}");
        trials.push(trial(poll, needs, Box::new(move || body(How::Poll))));
        let needs = [needs, &["mount-events"]].concat();
        let name = format!("events_{name}");
        trials.push(trial(name, &needs, Box::new(move || body(How::Fanotify))));
    }
    type Either = (&'static str, &'static [&'static str], fn() -> Done);
    let events = &["mount-events"];
    let either: [Either; 6] = [
        ("both_tell_the_same_story", events, story::told_by_both),
        ("events_miss_nothing_in_a_hurry", events, story::hurry),
        ("events_say_what_mountinfo_says", events, story::same_mounts),
        ("events_name_who_did_it", events, doers::named),
        ("the_best_way_is_taken_and_told", &[], ends::best_way),
        ("a_dead_process_has_no_namespace", &[], other::nobody),
    ];
    for (name, needs, body) in either {
        trials.push(trial(name.to_owned(), needs, Box::new(body)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Goes where nothing that is mounted reaches anybody.
fn scratch() -> Result<(), String> {
    let said = |what: &'static str| move |e: nix::Error| format!("{what}: {e}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(said("a mount namespace of our own"))?;
    flags(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE).map_err(said("private mounts"))?;
    tmpfs(Path::new("/tmp"), "scratch").map_err(said("a scratch tmpfs"))
}

fn tmpfs(at: &Path, source: &str) -> Result<(), nix::Error> {
    let data = Some("size=64m");
    mount(Some(source), at, Some("tmpfs"), MsFlags::empty(), data)
}

fn bind(from: &Path, to: &Path) -> Result<(), nix::Error> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

fn flags(at: &Path, flags: MsFlags) -> Result<(), nix::Error> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
}

fn let_go(at: &Path) -> Result<(), nix::Error> {
    umount2(at, MntFlags::MNT_DETACH)
}

/// A folder on the scratch tmpfs, and whatever is mounted in it let go.
struct Folder(TempDir);

impl Folder {
    fn new() -> std::io::Result<Self> {
        tempfile::tempdir_in("/tmp").map(Folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn sub(&self, name: impl AsRef<OsStr>) -> std::io::Result<PathBuf> {
        let path = self.path().join(name.as_ref());
        fs::create_dir(&path).map(|()| path)
    }

    /// A watch of what happens here.
    fn watch(&self, how: How) -> Result<Watch, Box<dyn Error>> {
        use csi_harness::node::watch::Namespace::Ours;
        Ok(Watch::start_at(Ours, how, &[self.path().to_owned()])?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The tmpfs ends with the process; the folder only has to lose its
        // mounts, so that nothing is deleted through one.
        while MountTable::ours().is_ok_and(|t| {
            let top = t.under(self.path()).last().map(|m| m.point.clone());
            top.is_some_and(|top| let_go(&top).is_ok())
        }) {}
        let clear = MountTable::ours().is_ok_and(|t| t.under(self.path()).is_empty());
        self.0.disable_cleanup(!clear);
    }
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Done {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > SOON {
            return Err(format!("not within {SOON:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Runs something async to its end.
fn wait<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    Ok(runtime.enable_all().build()?.block_on(future))
}
