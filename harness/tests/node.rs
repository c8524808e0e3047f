//! The room `node` on real mounts and real loop devices.
//!
//! `main` moves to a mount namespace of its own before there is any thread,
//! and puts a fresh tmpfs over /tmp there: all that is mounted here ends with
//! this process, however it ends.

use csi_harness::node::look::{self, LookError};
use csi_harness::node::{
    BackingId, BlockDevice, DiskId, LoopDevice, Mount, MountTable, ProcessId, block_device, loops,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than an honest look takes.
const SOON: Duration = Duration::from_secs(30);

type Done = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let lacking = scratch().err();
    let trial = |name: &str, body: fn() -> Done| {
        let lacking = lacking.clone();
        Trial::ignorable_test(name, move || match lacking {
            Some(what) => Ok(Completion::ignored_with(format!("the host lacks {what}"))),
            None => body().map(|()| Completion::Completed).map_err(Failed::from),
        })
    };
    let trials = vec![
        trial("mounts_are_counted_in_their_order", mounts_in_order),
        trial("nasty_names_are_read_as_they_are", nasty_names),
        trial("propagation_is_seen", propagation),
        trial("another_namespace_has_its_own_mounts", another_namespace),
        trial("a_read_only_mount_refuses_a_marker", read_only_mount),
        trial(
            "a_loop_device_is_known_by_more_than_its_name",
            loop_identity,
        ),
        trial("markers_go_to_the_named_device_only", device_markers),
        trial("a_used_device_is_not_free", used_device),
        trial(
            "a_child_that_cannot_be_killed_is_abandoned_and_reaped",
            frozen,
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

fn flags(at: &Path, flags: MsFlags) -> Result<(), nix::Error> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
}

fn bind(from: &Path, to: &Path) -> Result<(), nix::Error> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
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

fn sources(mounts: &[&Mount]) -> Vec<String> {
    mounts
        .iter()
        .map(|m| m.source.to_string_lossy().into_owned())
        .collect()
}

fn mounts_in_order() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    assert!(MountTable::ours()?.at(&target).is_empty());
    for source in ["first", "second", "third"] {
        tmpfs(&target, source)?;
    }
    fs::create_dir(target.join("below"))?;
    tmpfs(&target.join("below"), "below")?;

    let table = MountTable::ours()?;
    assert_eq!(sources(&table.at(&target)), ["first", "second", "third"]);
    assert_eq!(sources(&table.under(&target)), ["below"]);
    let holder = table
        .holding(&target.join("file"))
        .ok_or("nothing holds it")?;
    assert_eq!(holder.source, "third");
    let stat = fs::metadata(&target)?;
    assert_eq!(
        holder.dev(),
        (libc::major(stat.dev()), libc::minor(stat.dev()))
    );

    // Over the folder above them: they are hidden, and a new one is the top.
    tmpfs(folder.0.path(), "over")?;
    fs::create_dir(&target)?;
    tmpfs(&target, "seen")?;
    let table = MountTable::ours()?;
    assert_eq!(
        sources(&table.at(&target)),
        ["first", "second", "third", "seen"]
    );
    assert_eq!(
        table.holding(&target).map(|m| m.source.as_os_str()),
        Some(OsStr::new("seen"))
    );
    // From the top down: a tmpfs at a time.
    umount2(&target, MntFlags::MNT_DETACH)?;
    umount2(folder.0.path(), MntFlags::MNT_DETACH)?;
    assert_eq!(MountTable::ours()?.at(&target).len(), 3);
    Ok(())
}

fn nasty_names() -> Done {
    let folder = Folder::new()?;
    for name in [
        &b"a b"[..],
        b"tab\there",
        b"new\nline",
        b"back\\slash\\040",
        b"\xff\xfe",
        b"-",
        b"#,",
    ] {
        let target = folder.sub(OsStr::from_bytes(name))?;
        tmpfs(&target, " odd #\\source\n")?;
        let table = MountTable::ours()?;
        assert_eq!(table.odd, Vec::<Vec<u8>>::new());
        let [mount] = table.at(&target)[..] else {
            return Err(format!("{target:?}: {:?}", table.at(&target)).into());
        };
        assert_eq!(mount.source, " odd #\\source\n");
    }
    let empty = folder.sub("empty source")?;
    tmpfs(&empty, "")?;
    assert_eq!(sources(&MountTable::ours()?.at(&empty)).len(), 1);

    // A folder that is removed while it is mounted elsewhere, and a file.
    let (from, to) = (folder.sub("from")?, folder.sub("to")?);
    bind(&from, &to)?;
    fs::remove_dir(&from)?;
    let (from, file) = (
        folder.0.path().join("from-file"),
        folder.0.path().join("to-file"),
    );
    fs::write(&from, "x")?;
    fs::write(&file, "")?;
    bind(&from, &file)?;
    let table = MountTable::ours()?;
    assert!(table.at(&to)[0].root_deleted && table.at(&to)[0].root.ends_with("from"));
    assert!(!table.at(&file)[0].root_deleted && table.at(&file)[0].root.ends_with("from-file"));
    Ok(())
}

fn propagation() -> Done {
    let folder = Folder::new()?;
    let (master, slave) = (folder.sub("master")?, folder.sub("slave")?);
    tmpfs(&master, "shared")?;
    flags(&master, MsFlags::MS_SHARED)?;
    bind(&master, &slave)?;
    flags(&slave, MsFlags::MS_SLAVE)?;
    let table = MountTable::ours()?;
    let (from, to) = (table.at(&master)[0], table.at(&slave)[0]);
    assert!(from.shared.is_some() && from.master.is_none());
    assert_eq!((to.shared, to.master), (None, from.shared));
    assert_eq!(table.of_device(from.major, from.minor).len(), 2);
    Ok(())
}

fn another_namespace() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    let script = "mount -t tmpfs hidden \"$0\" && echo mounted && read -r end";
    let mut other = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(&target)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let out = other.stdout.take().ok_or("no output")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said)?;
    let seen = MountTable::of(other.id()).map(|t| sources(&t.at(&target)));
    let namespace = ProcessId::of(other.id()).and_then(|p| p.mount_namespace());
    drop(other.stdin.take());
    other.wait()?;
    assert_eq!(said, "mounted\n");
    assert_eq!(seen?, ["hidden"]);
    assert_ne!(
        namespace?,
        csi_harness::node::process::our_mount_namespace()?
    );
    assert!(MountTable::ours()?.at(&target).is_empty());
    Ok(())
}

/// Runs a look to its end.
fn wait<T>(look: impl Future<Output = Result<T, LookError>>) -> Result<T, LookError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(look)
}

fn read_only_mount() -> Done {
    let folder = Folder::new()?;
    let target = folder.sub("target")?;
    tmpfs(&target, "volume")?;
    let marker = target.join("marker");
    wait(look::write_file(&marker, b"mine".to_vec(), SOON))?;
    flags(
        &target,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY,
    )?;
    let table = MountTable::ours()?;
    let mount = table.at(&target)[0];
    assert!(mount.is_read_only() && mount.super_options.contains(&"rw".to_owned()));
    let refused = wait(look::write_file(&target.join("new"), b"x".to_vec(), SOON));
    assert_eq!(refused.expect_err("read-only").errno(), Some(libc::EROFS));
    let refused = wait(look::remove_file(&marker, SOON));
    assert_eq!(refused.expect_err("read-only").errno(), Some(libc::EROFS));
    assert_eq!(wait(look::read_file(&marker, 0, 9, SOON))?, b"mine");
    Ok(())
}

/// A loop device that we attached, and detach.
struct Attached {
    device: LoopDevice,
}

impl Attached {
    fn new(image: &Path, options: &[&str]) -> Result<Self, Box<dyn Error>> {
        let out = Command::new("losetup")
            .args(["--find", "--show"])
            .args(options)
            .arg(image)
            .output()?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into());
        }
        let path = String::from_utf8(out.stdout)?;
        let find = |l: &LoopDevice| l.path() == Path::new(path.trim());
        let device = loops()?
            .into_iter()
            .find(find)
            .ok_or("attached, and not in sysfs")?;
        Ok(Self { device })
    }

    fn is_there(&self) -> std::io::Result<bool> {
        Ok(loops()?.iter().any(|l| l.id == self.device.id))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.is_there().unwrap_or(true) {
            let _ = Command::new("losetup")
                .arg("-d")
                .arg(self.device.path())
                .status();
        }
    }
}

const MIB: u64 = 1024 * 1024;

fn image(folder: &Folder, name: &str, size: u64) -> std::io::Result<PathBuf> {
    let path = folder.0.path().join(name);
    fs::File::create_new(&path)?.set_len(size)?;
    Ok(path)
}

fn loop_identity() -> Done {
    let folder = Folder::new()?;
    let file = image(&folder, "disk image", 8 * MIB)?;
    let stat = fs::metadata(&file)?;
    let backing = BackingId {
        dev: (libc::major(stat.dev()), libc::minor(stat.dev())),
        ino: stat.ino(),
    };
    let first = Attached::new(&file, &["--read-only"])?;
    let device = &first.device;
    assert_eq!((&device.backing, device.backing_deleted), (&file, false));
    assert_eq!(
        (device.size, device.read_only, device.offset),
        (8 * MIB, true, 0)
    );
    assert!(
        device.id.diskseq.is_some(),
        "a kernel without disk sequence numbers"
    );
    assert_eq!(wait(device.backing_id(SOON))?, Some(backing));

    let BlockDevice {
        id,
        size,
        read_only,
        on_loop,
        part_of,
        ..
    } = block_device(device.id.number.0, device.id.number.1)?;
    assert_eq!(
        (id, size, read_only, part_of),
        (device.id, 8 * MIB, true, None)
    );
    assert_eq!(on_loop.as_ref(), Some(device));

    fs::remove_file(&file)?;
    let of = |id: DiskId| loops().map(|all| all.into_iter().find(|l| l.id == id));
    let now = of(device.id)?.ok_or("gone")?;
    assert_eq!((&now.backing, now.backing_deleted), (&file, true));
    // Another file of the same name is not the one behind the device.
    image(&folder, "disk image", 8 * MIB)?;
    assert_eq!(wait(device.backing_id(SOON))?, Some(backing));

    let id = device.id;
    drop(first);
    let until = Instant::now() + SOON;
    while of(id)?.is_some() && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(of(id)?, None);
    Ok(())
}

fn device_markers() -> Done {
    let folder = Folder::new()?;
    let attached = Attached::new(&image(&folder, "disk", 8 * MIB)?, &[])?;
    let (path, id) = (attached.device.path(), attached.device.id);
    let seen = wait(look::open_device(&path, true, SOON))?;
    assert_eq!((seen.disk, seen.size, seen.read_only), (id, 8 * MIB, false));

    wait(look::write_device(&path, id, MIB, b"marker".to_vec(), SOON))?;
    assert_eq!(wait(look::read_device(&path, MIB, 6, SOON))?, b"marker");
    let behind = fs::read(&attached.device.backing)?;
    assert_eq!(&behind[MIB as usize..][..6], b"marker");
    assert_eq!(
        wait(look::read_device(&path, 8 * MIB - 3, 9, SOON))?,
        b"\0\0\0"
    );

    let older = DiskId {
        diskseq: id.diskseq.map(|n| n - 1),
        ..id
    };
    let other = DiskId {
        number: (id.number.0, id.number.1 + 1),
        ..id
    };
    for not in [older, other] {
        let refused = wait(look::write_device(&path, not, 0, b"wrong".to_vec(), SOON));
        assert!(
            matches!(refused, Err(LookError::NotThat { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(&fs::read(&attached.device.backing)?[..5], b"\0\0\0\0\0");
    Ok(())
}

fn ext4(folder: &Folder) -> Result<(Attached, PathBuf), Box<dyn Error>> {
    let file = image(folder, "ext4", 32 * MIB)?;
    let made = Command::new("mkfs.ext4").arg("-q").arg(&file).status()?;
    assert!(made.success());
    let attached = Attached::new(&file, &[])?;
    let target = folder.sub("target")?;
    let device = attached.device.path();
    mount(
        Some(&device),
        &target,
        Some("ext4"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    Ok((attached, target))
}

fn used_device() -> Done {
    let folder = Folder::new()?;
    let (attached, target) = ext4(&folder)?;
    let device = attached.device.path();
    assert!(!wait(look::is_free(&device, SOON))?);
    let table = MountTable::ours()?;
    assert_eq!(table.at(&target)[0].dev(), attached.device.id.number);
    let fs = wait(look::statfs(&target, SOON))?;
    assert_eq!(fs.magic, 0xEF53);
    assert!(fs.blocks * fs.block_size <= 32 * MIB && fs.files > 0);
    umount2(&target, MntFlags::empty())?;
    assert!(wait(look::is_free(&device, SOON))?);
    Ok(())
}

nix::ioctl_readwrite!(freeze, b'X', 119, libc::c_int);
nix::ioctl_readwrite!(thaw, b'X', 120, libc::c_int);

/// A file system in which every write waits in the kernel.
struct Frozen(fs::File);

impl Frozen {
    fn new(target: &Path) -> Result<Self, Box<dyn Error>> {
        let root = fs::File::open(target)?;
        let mut nothing = 0;
        // SAFETY: FIFREEZE takes an open descriptor; the number is not used.
        unsafe { freeze(root.as_raw_fd(), &raw mut nothing)? };
        Ok(Self(root))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut nothing = 0;
        // SAFETY: as above. A failure shows in the test, which waits for it.
        let _ = unsafe { thaw(self.0.as_raw_fd(), &raw mut nothing) };
    }
}

fn frozen() -> Done {
    let folder = Folder::new()?;
    let (_attached, target) = ext4(&folder)?;
    let marker = target.join("marker");
    let frozen = Frozen::new(&target)?;
    let write = look::write_file(&marker, b"late".to_vec(), Duration::from_millis(100));
    let seen = wait(write);
    assert!(matches!(seen, Err(LookError::NoAnswer { .. })), "{seen:?}");
    assert!(
        look::abandoned() > 0,
        "it was killed, so this tests nothing"
    );
    assert!(look::reap() > 0);
    // Others are not held up by it.
    assert!(wait(look::stat(&target, SOON))?.is_dir());

    drop(frozen);
    let until = Instant::now() + SOON;
    while look::reap() > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(look::abandoned(), 0);
    assert!(wait(look::stat(&target, SOON))?.is_dir());
    Ok(())
}
