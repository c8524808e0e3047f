//! Device-mapper devices over loop devices, made by dmsetup(8): volumes as LVM has them.
//!
//! A device is known by its name, which nobody else gives. What it lies on is in its
//! table, and an administrator may have it elsewhere for a while.

use std::fs;
use std::io;
use std::path::Path;

use super::command::run_to_its_end;
use super::kernel::call;
use super::loopdev::LoopDevice;
use super::{Doing, SysError};
use crate::mutation::Call;

/// What their names begin with; the number of the loop device follows.
const PREFIX: &str = "csi-loop-";

/// Whether this machine has device-mapper.
pub(crate) fn is_supported() -> bool {
    Path::new("/dev/mapper/control").exists() && super::command::program("dmsetup").is_some()
}

/// The kernel's name of the device that was laid over a loop device, `dm-N`.
pub(super) fn over(device: LoopDevice) -> Option<String> {
    let entries = fs::read_dir("/sys/block").ok()?.flatten();
    let name = name(device);
    let mut named = entries.filter_map(|entry| {
        let found = fs::read_to_string(entry.path().join("dm/name")).ok()?;
        (found.trim_end() == name).then(|| entry.file_name().into_string().ok())?
    });
    named.next()
}

/// The number of the loop device that a device was laid over, by its folder in sysfs.
pub(super) fn beneath(mapped: &Path) -> Option<u32> {
    let name = fs::read_to_string(mapped.join("dm/name")).ok()?;
    name.trim_end().strip_prefix(PREFIX)?.parse().ok()
}

fn name(device: LoopDevice) -> String {
    format!("{PREFIX}{}", device.number())
}

/// Lays a device over a loop device, unless there is one.
pub(crate) fn make_over(device: LoopDevice) -> Result<(), SysError> {
    let at = device.path();
    if over(device).is_some() {
        return Ok(());
    }
    let (table, name) = (table(device)?, name(device));
    let read_only = device.is_read_only();
    let made = call(Call::DmCreate, &at, move |_| {
        let mut words = vec!["create", "--noudevsync", "--uuid", &name, "--table", &table];
        words.extend(read_only.then_some("--readonly"));
        dmsetup(&words, &name)
    });
    made.doing("lay a device-mapper device over", &at)
}

/// Lets the device over a loop device take its length.
pub(super) fn grow_over(device: LoopDevice) -> Result<(), SysError> {
    let Some(name) = over(device) else {
        return Ok(());
    };
    let table = table(device)?;
    let at = Path::new("/dev").join(name);
    let grown = call(Call::DmReload, &at, move |at| {
        let at = at.display().to_string();
        dmsetup(&["load", "--noudevsync", "--table", &table], &at)?;
        dmsetup(&["resume", "--noudevsync"], &at)
    });
    grown.doing("reload the table of", &at)
}

/// Takes the device over a loop device away.
pub(super) fn remove_over(device: LoopDevice) -> Result<(), SysError> {
    let Some(name) = over(device) else {
        return Ok(());
    };
    let at = Path::new("/dev").join(name);
    let removed = call(Call::DmRemove, &at, |at| {
        dmsetup(
            &["remove", "--noudevsync", "--retry"],
            &at.display().to_string(),
        )
    });
    removed.doing("remove", &at)
}

fn table(device: LoopDevice) -> Result<String, SysError> {
    let sectors = device.size()? / 512;
    Ok(format!("0 {sectors} linear {} 0", device.path().display()))
}

fn dmsetup(words: &[&str], last: &str) -> io::Result<()> {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    run_to_its_end("dmsetup", &words, Path::new(last)).map_err(|error| {
        match error.to_string().contains("busy") {
            true => io::Error::from_raw_os_error(libc::EBUSY),
            false => error,
        }
    })
}
