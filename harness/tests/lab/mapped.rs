//! Device-mapper devices that do as they are told.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use csi_harness::lab::{Journal, Mapped, Mood, RunFolder, leftovers};
use csi_harness::node::look::{Look, look_now};
use csi_harness::node::{Host, LookError, MappedDevice, block_device};
use libtest_mimic::Failed;

use crate::doomed::{loop_on, start, wait_for_death};
use crate::{Test, Tried};

pub(crate) const TESTS: &[Test] = &[
    ("a-mapped-disk-fails-hangs-and-heals", moods),
    ("a-mapped-disk-is-short-and-whole-again", short),
    ("a-mapped-disk-with-another-table-keeps-it", another_table),
    ("a-mapped-disk-that-others-use-is-not-broken", not_ours),
    ("a-killed-run-leaves-no-broken-mapped-disk", killed),
];

const LONG: Duration = Duration::from_secs(20);
/// The sectors of a volume: 8 MiB, in two pieces that lie the wrong way round.
const SECTORS: u64 = (8 << 20) / 512;

/// Why none of this can be tried here.
pub(crate) fn lacking() -> Option<String> {
    let host = Host::look();
    let all = ["loop", "device-mapper"];
    let lacking = all.iter().find(|name| !host.has(name))?;
    Some(format!("the host lacks {lacking}; ci/vm/run has it"))
}

/// A volume on a device-mapper device; both go when this is dropped.
struct Volume {
    device: MappedDevice,
    name: String,
    number: u32,
}

fn dmsetup(arguments: &[&str], table: &str) -> Result<String, Failed> {
    let mut child = Command::new("dmsetup")
        .args(arguments)
        .arg("--noudevsync")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .ok_or("no stdin")?
        .write_all(table.as_bytes())?;
    let output = child.wait_with_output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("dmsetup {arguments:?}: {}", output.status).into()),
    }
}

/// As the tables of all devices are told.
fn table(number: u32) -> String {
    let half = SECTORS / 2;
    format!("0 {half} linear 7:{number} {half}\n{half} {half} linear 7:{number} 0\n")
}

fn device_named(name: &str) -> Result<MappedDevice, Failed> {
    for entry in fs::read_dir("/sys/block")? {
        let dev = fs::read_to_string(entry?.path().join("dev")).unwrap_or_default();
        let (major, minor) = dev.trim().split_once(':').ok_or("no number")?;
        if let Some(device) = MappedDevice::numbered(major.parse()?, minor.parse()?)?
            && device.name == name
        {
            return Ok(device);
        }
    }
    Err(format!("there is no {name}").into())
}

impl Volume {
    fn make(folder: &Path, name: &str) -> Result<Self, Failed> {
        let number = loop_on(&folder.join("image"))?;
        let name = format!("csi-lab-{}-{name}", std::process::id());
        dmsetup(&["create", &name, "--uuid", &name], &table(number))?;
        let volume = Self {
            device: device_named(&name)?,
            name,
            number,
        };
        File::options()
            .write(true)
            .open(volume.device.path())?
            .write_all_at(b"here", 0)?;
        Ok(volume)
    }

    fn ours(&self, journal: Option<Arc<Journal>>) -> Result<Mapped, Failed> {
        Ok(Mapped::over(self.device.clone(), journal)?)
    }

    fn read(&self, deadline: Duration) -> Result<(), LookError> {
        let path = self.device.path();
        let (offset, len) = (0, 512);
        look_now(&Look::ReadDevice { path, offset, len }, deadline).map(drop)
    }

    fn table(&self) -> Result<String, Failed> {
        dmsetup(&["table", &self.name], "")
    }

    fn size(&self) -> Result<u64, Failed> {
        let (major, minor) = self.device.id.number;
        Ok(block_device(major, minor)?.size)
    }

    fn is_as_it_was(&self) -> Tried {
        assert_eq!(self.table()?, table(self.number));
        assert_eq!(self.size()?, SECTORS * 512);
        self.read(LONG)?;
        let mut head = [0; 4];
        File::open(self.device.path())?.read_exact_at(&mut head, 0)?;
        assert_eq!(&head, b"here");
        no_helper()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = dmsetup(&["remove", "--retry", &self.name], "");
        let device = format!("/dev/loop{}", self.number);
        let _ = Command::new("losetup").args(["-d", &device]).status();
    }
}

fn no_helper() -> Tried {
    let all = dmsetup(&["ls"], "")?;
    match all.contains("csi-conformance-") {
        true => Err(format!("left: {all}").into()),
        false => Ok(()),
    }
}

fn moods(folder: &Path) -> Tried {
    let it = Volume::make(folder, "moods")?;
    let disk = it.ours(None)?;
    it.read(LONG)?;
    assert!(!disk.was_asked());
    disk.set(Mood::Fails)?;
    let failed = it.read(LONG).expect_err("it fails");
    assert_eq!(failed.errno(), Some(libc::EIO), "{failed}");
    assert!(disk.was_asked() && !disk.was_written());
    disk.set(Mood::Well)?;
    assert!(disk.was_asked() && disk.healed().is_some());
    it.is_as_it_was()?;
    disk.set(Mood::Hangs)?;
    let hung = it.read(Duration::from_secs(1)).expect_err("it hangs");
    assert!(matches!(hung, LookError::NoAnswer { .. }), "{hung}");
    assert!(disk.was_asked());
    disk.set(Mood::Well)?;
    it.is_as_it_was()?;
    disk.set(Mood::Unreadable)?;
    it.read(LONG).expect_err("it cannot be read");
    assert!(disk.was_asked() && !disk.was_written());
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F"]).arg(it.device.path());
    assert!(!mkfs.status()?.success(), "it stays unreadable");
    assert!(disk.was_written());
    // By the way.
    drop(disk);
    it.is_as_it_was()
}

fn short(folder: &Path) -> Tried {
    let it = Volume::make(folder, "short")?;
    let disk = it.ours(None)?;
    disk.set(Mood::Short(3 << 20))?;
    assert_eq!(it.size()?, 3 << 20);
    it.read(LONG)?;
    disk.set(Mood::Well)?;
    it.is_as_it_was()
}

fn another_table(folder: &Path) -> Tried {
    let it = Volume::make(folder, "another")?;
    let disk = it.ours(None)?;
    disk.set(Mood::Fails)?;
    // As lvextend(8) does, or lvreduce(8).
    let theirs = format!("0 4096 linear 7:{} 128\n", it.number);
    dmsetup(&["load", &it.name], &theirs)?;
    dmsetup(&["resume", &it.name], "")?;
    disk.set(Mood::Well)?;
    assert_eq!(it.table()?, theirs);
    no_helper()?;
    // Not one that hangs: udevd looks at a device whose table is another, and would hold it.
    disk.set(Mood::Fails)?;
    dmsetup(&["remove", "--retry", &it.name], "")?;
    // It is gone, and our helper goes after it.
    disk.set(Mood::Well)?;
    no_helper()
}

fn not_ours(folder: &Path) -> Tried {
    let it = Volume::make(folder, "below")?;
    let (major, minor) = it.device.id.number;
    let above = format!("{}-above", it.name);
    dmsetup(
        &["create", &above],
        &format!("0 128 linear {major}:{minor} 0"),
    )?;
    let refused = Mapped::over(it.device.clone(), None);
    dmsetup(&["remove", "--retry", &above], "")?;
    assert!(refused.is_err_and(|why| why.to_string().contains("lies on")));
    it.is_as_it_was()
}

/// The part of the run that is killed.
pub(crate) fn doomed(folder: &Path) -> Tried {
    let run = RunFolder::make(&folder.join("state"))?;
    let name = fs::read_to_string(folder.join("name"))?;
    let disk = Mapped::over(device_named(&name)?, Some(run.journal().clone()))?;
    disk.set(Mood::Hangs)?;
    wait_for_death()
}

fn killed(folder: &Path) -> Tried {
    let it = Volume::make(folder, "killed")?;
    fs::write(folder.join("name"), &it.name)?;
    let mut run = start("mapped", folder)?;
    run.kill()?;
    run.wait()?;
    let hung = it.read(Duration::from_secs(1)).expect_err("it hangs");
    assert!(matches!(hung, LookError::NoAnswer { .. }), "{hung}");
    let mut left = leftovers(&folder.join("state"))?;
    assert_eq!(left.len(), 1);
    let report = left.remove(0).clean()?;
    let said: Vec<_> = report.iter().map(|one| one.what).collect();
    assert!(said.contains(&"broken disk"), "{report:?}");
    it.is_as_it_was()
}
