//! Disks that do as they are told, and mounts that answer nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use csi_harness::lab::{DeadMount, Disk, Mood, RunFolder, leftovers};
use csi_harness::node::look::{Look, look_now};
use csi_harness::node::{LookError, MountTable};
use libtest_mimic::Failed;

use crate::doomed::{loop_over, start, wait_for_death};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-disk-fails-hangs-and-heals", moods),
    ("a-disk-that-hangs-is-lifted-all-the-same", lifted),
    ("a-killed-run-leaves-no-disk", killed),
    ("a-dead-mount-answers-nothing-and-goes", dead),
];

const LONG: Duration = Duration::from_secs(10);

/// A loop device over a disk of ours; both go when this is dropped.
struct Attached {
    disk: Disk,
    number: u32,
}

impl Attached {
    fn make(folder: &Path) -> Result<Self, Failed> {
        let image = folder.join("image");
        let file = File::create(&image)?;
        file.set_len(8 << 20)?;
        file.write_all_at(b"here", 0)?;
        let disk = Disk::over(&image, None)?;
        let number = loop_over(&image)?;
        Ok(Self { disk, number })
    }

    fn device(&self) -> PathBuf {
        format!("/dev/loop{}", self.number).into()
    }

    fn read(&self, deadline: Duration) -> Result<(), LookError> {
        let path = self.device();
        let (offset, len) = (0, 512);
        look_now(&Look::ReadDevice { path, offset, len }, deadline).map(drop)
    }

    fn detach(&self) {
        let _ = Command::new("losetup")
            .arg("-d")
            .arg(self.device())
            .status();
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.disk.set(Mood::Well);
        self.detach();
    }
}

fn moods(folder: &Path) -> Tried {
    let it = Attached::make(folder)?;
    it.read(LONG)?;
    it.disk.set(Mood::Fails);
    let failed = it.read(LONG).expect_err("it fails");
    assert_eq!(failed.errno(), Some(libc::EIO), "{failed}");
    it.disk.set(Mood::Hangs);
    let hung = it.read(Duration::from_millis(300)).expect_err("it hangs");
    assert!(matches!(hung, LookError::NoAnswer { .. }), "{hung}");
    assert!(it.disk.was_asked());
    it.disk.set(Mood::Well);
    it.read(LONG)?;
    it.disk.set(Mood::Unreadable);
    it.read(LONG).expect_err("it cannot be read");
    assert!(!it.disk.was_written());
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F"]).arg(it.device());
    assert!(mkfs.status()?.success(), "it comes back for mkfs");
    assert!(it.disk.was_written());
    Ok(())
}

fn lifted(folder: &Path) -> Tried {
    let it = Attached::make(folder)?;
    it.disk.set(Mood::Hangs);
    let hung = it.read(Duration::from_millis(100)).expect_err("it hangs");
    assert!(matches!(hung, LookError::NoAnswer { .. }), "{hung}");
    // Its loop device holds it.
    it.disk.lift()?;
    assert!(MountTable::ours()?.at(it.disk.path()).is_empty());
    assert_eq!(&fs::read(it.disk.path())?[..4], b"here");
    Ok(())
}

/// The part of the run that is killed.
pub(crate) fn doomed(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    let image = folder.join("image");
    File::create(&image)?.set_len(8 << 20)?;
    let disk = Disk::over(&image, Some(run.journal().clone()))?;
    let number = loop_over(&image)?;
    fs::write(folder.join("number"), number.to_string())?;
    // Whoever reads through it makes it known.
    let mut head = [0; 512];
    File::open(format!("/dev/loop{number}"))?.read_exact_at(&mut head, 0)?;
    disk.set(Mood::Hangs);
    wait_for_death()
}

fn killed(folder: &Path) -> Tried {
    let mut run = start("disk", folder)?;
    run.kill()?;
    run.wait()?;
    let number = fs::read_to_string(folder.join("number"))?;
    let mut left = leftovers(&folder.join("state"))?;
    assert_eq!(left.len(), 1);
    let report = left.remove(0).clean()?;
    let image = folder.join("image");
    assert!(MountTable::ours()?.at(&image).is_empty(), "{report:?}");
    assert_eq!(File::open(&image)?.metadata()?.len(), 8 << 20);
    let loops = format!("/sys/block/loop{number}/loop/backing_file");
    assert!(!Path::new(&loops).exists(), "{report:?}");
    Ok(())
}

fn dead(folder: &Path) -> Tried {
    let path = folder.join("dead");
    fs::create_dir(&path)?;
    let dead = DeadMount::at(&path)?;
    let asked = Look::StatFs { path: path.clone() };
    let hung = look_now(&asked, Duration::from_millis(300)).expect_err("it answers nothing");
    assert!(matches!(hung, LookError::NoAnswer { .. }), "{hung}");
    drop(dead);
    look_now(&asked, LONG)?;
    fs::remove_dir(&path)?;
    Ok(())
}
