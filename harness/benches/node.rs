//! What does a look cost?
//!
//! `cargo bench -p csi-harness --bench node`. As root, `main` first moves to a
//! mount namespace of its own and mounts 10,000 things there, which end with
//! it; without root only the parser is measured.

use csi_harness::node::watch::{How, Namespace};
use csi_harness::node::{Look, MountTable, Watch, look, statmount};
use divan::{Bencher, black_box};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// A target among them, if we could make them.
static TARGET: OnceLock<Option<PathBuf>> = OnceLock::new();

const MANY: usize = 10_000;

fn main() {
    let made = many_mounts();
    if let Err(lacking) = &made {
        println!("looks among {MANY} real mounts are left out: {lacking}");
    }
    TARGET.get_or_init(|| made.ok());
    divan::main();
}

fn many_mounts() -> Result<PathBuf, nix::Error> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(
        Some("scratch"),
        "/tmp",
        Some("tmpfs"),
        MsFlags::empty(),
        none,
    )?;
    let volume = Path::new("/tmp/volume");
    std::fs::create_dir(volume).map_err(|_| nix::Error::last())?;
    for n in 0..MANY {
        let target = PathBuf::from(format!("/tmp/{n:05}"));
        std::fs::create_dir(&target).map_err(|_| nix::Error::last())?;
        mount(Some(volume), &target, none, MsFlags::MS_BIND, none)?;
    }
    Ok(PathBuf::from(format!("/tmp/{:05}", MANY / 2)))
}

/// Measures a look at the target among many mounts, if there is one.
fn among_many<T>(bencher: Bencher, look: impl Fn(&Path) -> T + Sync) {
    if let Some(target) = TARGET.get().and_then(Option::as_ref) {
        bencher.bench(|| look(black_box(target)));
    }
}

#[divan::bench(args = [100, 1_000, 10_000])]
fn parse(bencher: Bencher, lines: usize) {
    let text: String = (0..lines)
        .map(|n| {
            let pod =
                format!("/var/lib/kubelet/pods/{n:08x}/volumes/kubernetes.io~csi/pvc-{n}/mount");
            format!(
                "{} 29 7:{n} / {pod} rw,relatime shared:{n} - ext4 /dev/loop{n} rw\n",
                n + 30
            )
        })
        .collect();
    bencher.bench(|| MountTable::parse(black_box(text.as_bytes())));
}

#[divan::bench]
fn mountinfo_among_10_000(bencher: Bencher) {
    among_many(bencher, |target| {
        MountTable::ours().map(|table| table.at(target).len())
    });
}

#[divan::bench]
fn statmount_among_10_000(bencher: Bencher) {
    among_many(bencher, statmount::top_mount_at);
}

/// A mount that comes and goes, until the watch has both; `None` without one.
#[divan::bench(args = [None, Some(How::Fanotify), Some(How::Poll)])]
fn mount_and_unmount_watched_among_10_000(bencher: Bencher, how: Option<How>) {
    let watch = how.map(|how| Watch::start(Namespace::Ours, how));
    if let Some(Err(lacking)) = &watch {
        println!("left out: {lacking}");
        return;
    }
    let watch = watch.and_then(Result::ok);
    among_many(bencher, |target| {
        let at = target.with_file_name("volume");
        let flags = MsFlags::empty();
        mount(Some("x"), &at, Some("tmpfs"), flags, None::<&str>).and_then(|()| umount(&at))?;
        Ok::<_, nix::Error>(watch.as_ref().map(Watch::sync))
    });
}

#[divan::bench]
fn stat_through_a_child(bencher: Bencher) {
    let path = PathBuf::from("/");
    let stat = Look::Stat { path };
    bencher.bench(|| look::look_now(black_box(&stat), Duration::from_secs(30)));
}
