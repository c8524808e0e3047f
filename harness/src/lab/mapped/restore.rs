//! Giving a device its own table again: by the run that took it, or by the next.

use std::io;

use super::dmsetup;
use super::table::Table;
use crate::lab::cleaned::Then;
use crate::lab::journal::Entry;
use crate::node::{LoopDevice, MappedDevice};

/// Gives the device its own table, unless somebody has given it another meanwhile, or
/// took it away; and takes our helper away.
pub(super) fn put_back(
    device: &MappedDevice,
    own: &Table,
    helper: &MappedDevice,
) -> io::Result<()> {
    // Who waits is answered first: until then no table can be changed.
    dmsetup::resume(helper)?;
    if device.is_there() && dmsetup::table(device)?.is_onto(helper.id.number) {
        dmsetup::replace(device, own)?;
    }
    dmsetup::remove(helper).or_else(|error| {
        // A table that was loaded and never came into force holds it, too.
        dmsetup::clear(device).map_err(|_| error)?;
        dmsetup::remove(helper)
    })
}

/// What became of a device that a killed run has broken; none where nothing was left to do.
pub(in crate::lab) fn let_go(entry: &Entry) -> Option<Then> {
    let Entry::Mapped {
        name,
        uuid,
        major,
        minor,
        diskseq,
        table,
        helper,
    } = entry
    else {
        return None;
    };
    let helper = match named(helper) {
        Ok(helper) => helper?,
        Err(error) => return Some(Then::Stuck(error.to_string())),
    };
    let own = match Table::parse(table) {
        Ok(own) => own,
        Err(why) => return Some(Then::LeftAlone(why)),
    };
    let device = match MappedDevice::numbered(*major, *minor) {
        Ok(Some(device))
            if (&device.name, &device.uuid, device.id.diskseq) == (name, uuid, *diskseq) =>
        {
            device
        }
        // It is gone: nobody lies on the helper.
        Ok(_) => {
            return Some(
                match dmsetup::resume(&helper).and_then(|()| dmsetup::remove(&helper)) {
                    Ok(()) => Then::Removed,
                    Err(error) => Then::Stuck(error.to_string()),
                },
            );
        }
        Err(error) => return Some(Then::Stuck(error.to_string())),
    };
    Some(match put_back(&device, &own, &helper) {
        Ok(()) => Then::Removed,
        Err(error) => Then::Stuck(error.to_string()),
    })
}

/// Takes the devices away that a dead driver has laid over a loop device of ours.
pub(in crate::lab) fn remove_over(device: &LoopDevice) -> io::Result<()> {
    let all = all_in(&format!("/sys/block/loop{}/holders", device.number))?;
    all.iter().try_for_each(dmsetup::remove)
}

/// The device of this name, if there is one.
pub(super) fn named(name: &str) -> io::Result<Option<MappedDevice>> {
    let mut all = all_in("/sys/block")?;
    all.retain(|device| device.name == name);
    Ok(all.pop())
}

/// The device-mapper devices that a folder of sysfs names.
fn all_in(folder: &str) -> io::Result<Vec<MappedDevice>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let dir = entry?.path();
        // One that goes away meanwhile is gone.
        let number = std::fs::read_to_string(dir.join("dev")).unwrap_or_default();
        if dir.join("dm").is_dir()
            && let Some((major, minor)) = number.trim().split_once(':')
            && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
        {
            found.extend(MappedDevice::numbered(major, minor)?);
        }
    }
    Ok(found)
}
