//! The room `node` on real mounts and real loop devices.
//!
//! `main` moves to a mount namespace of its own before there is any thread,
//! and puts a fresh tmpfs over /tmp there: all that is mounted here ends with
//! this process, however it ends.

mod devices;
mod mounts;

use csi_harness::node::host::State;
use csi_harness::node::look::LookError;
use csi_harness::node::{Host, MountTable};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tempfile::TempDir;

/// Far more than an honest look takes.
const SOON: Duration = Duration::from_secs(30);

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let lacking = scratch().err();
    let host = Host::look();
    let trial = |name: &str, needs: &[&str], body: fn() -> Done| {
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
    let trials = vec![
        trial(
            "mounts_are_counted_in_their_order",
            &[],
            mounts::mounts_in_order,
        ),
        trial(
            "what_a_mount_hides_is_read_beneath_it",
            &[],
            mounts::beneath,
        ),
        trial(
            "a_file_system_out_of_sight_is_seen",
            &["ustat"],
            mounts::out_of_sight,
        ),
        trial("nasty_names_are_read_as_they_are", &[], mounts::nasty_names),
        trial("propagation_is_seen", &[], mounts::propagation),
        trial(
            "another_namespace_has_its_own_mounts",
            &[],
            mounts::another_namespace,
        ),
        trial(
            "a_read_only_mount_refuses_a_marker",
            &[],
            mounts::read_only_mount,
        ),
        trial(
            "statmount_says_what_mountinfo_says",
            &["statmount"],
            mounts::statmount_agrees,
        ),
        trial(
            "a_loop_device_is_known_by_more_than_its_name",
            &["loop"],
            devices::loop_identity,
        ),
        trial(
            "markers_go_to_the_named_device_only",
            &["loop"],
            devices::device_markers,
        ),
        trial(
            "a_used_device_is_not_free",
            &["loop", "ext4"],
            devices::used_device,
        ),
        trial(
            "a_child_that_cannot_be_killed_is_reaped_later",
            &["loop", "ext4"],
            devices::frozen,
        ),
        trial(
            "the_kernel_log_is_read_from_a_cursor",
            &["kernel-log"],
            devices::kernel_log,
        ),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Goes where nothing that is mounted reaches anybody.
fn scratch() -> Result<(), String> {
    let said = |what: &'static str| move |e: nix::Error| format!("{what}: {e}");
    unshare(CloneFlags::CLONE_NEWNS).map_err(said("a mount namespace of our own"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(said("private mounts"))?;
    tmpfs(Path::new("/tmp"), "scratch").map_err(|e| format!("a scratch tmpfs: {e}"))
}

fn tmpfs(at: &Path, source: &str) -> Result<(), nix::Error> {
    mount(
        Some(source),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("size=512m"),
    )
}

/// A folder on the scratch tmpfs, and whatever is mounted in it let go.
struct Folder(TempDir);

impl Folder {
    fn new() -> std::io::Result<Self> {
        tempfile::tempdir_in("/tmp").map(Folder)
    }

    fn sub(&self, name: impl AsRef<OsStr>) -> std::io::Result<PathBuf> {
        let path = self.0.path().join(name.as_ref());
        fs::create_dir(&path).map(|()| path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The tmpfs ends with the process; the folder only has to lose its
        // mounts, so that nothing is deleted through one.
        while MountTable::ours().is_ok_and(|t| {
            let top = t.under(self.0.path()).last().map(|m| m.point.clone());
            top.is_some_and(|top| umount2(&top, MntFlags::MNT_DETACH).is_ok())
        }) {}
        let clear = MountTable::ours().is_ok_and(|t| t.under(self.0.path()).is_empty());
        self.0.disable_cleanup(!clear);
    }
}

/// Runs a look to its end.
fn wait<T>(look: impl Future<Output = Result<T, LookError>>) -> Result<T, LookError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(look)
}
