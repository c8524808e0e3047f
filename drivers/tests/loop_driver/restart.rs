//! Killed at any moment, the driver goes on where it was.

use std::fs;

use libtest_mimic::Failed;
use nix::mount::{MntFlags, umount2};

use crate::Case;
use crate::requests::{MIB, block, mounted};
use crate::scratch::{loops_below, mounts_at};
use crate::world::{World, expect};

pub(crate) static CASES: &[Case] = &[
    Case::honest("killed_and_repeated", killed_and_repeated),
    Case::honest("killed_and_undone", killed_and_undone),
    Case::honest("killed_while_formatting", killed_while_formatting),
    Case::honest("killed_at_any_moment", killed_at_any_moment),
    Case::honest("mount_lost", mount_lost),
    Case::honest("ends_on_sigterm", sigterm),
];

fn restart(world: &mut World) -> Result<(), Failed> {
    world.kill();
    world.start()
}

fn killed_and_repeated(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("kept", mounted("", &[]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    restart(world)?;
    world.stage(&volume, &staging)?;
    restart(world)?;
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, true)?;
    restart(world)?;
    world.publish(&volume, &staging, &target, true)?;
    expect(
        mounts_at(&staging).len() == 1 && mounts_at(&target).len() == 1,
        "mounted once",
    )?;
    expect(loops_below(&world.folder).len() == 1, "one device")?;
    let again = world.volume("kept", mounted("", &[]), 64 * MIB)?;
    expect(
        again.id == volume.id && again.attachment == volume.attachment,
        "the same volume",
    )?;
    world.unpublish(&volume.id, &target)?;
    restart(world)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn killed_and_undone(world: &mut World) -> Result<(), Failed> {
    for (name, capability) in [("a", mounted("", &[])), ("b", block())] {
        let volume = world.volume(name, capability, 64 * MIB)?;
        let (staging, target) = (world.staging("staging")?, world.path("target"));
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, true)?;
        restart(world)?;
        world.unpublish(&volume.id, &target)?;
        world.unstage(&volume.id, &staging)?;
        expect(
            !target.exists() && loops_below(&world.folder).is_empty(),
            "nothing is left",
        )?;
    }
    Ok(())
}

fn killed_while_formatting(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("half", mounted("ext4", &[]), 64 * MIB)?;
    let staging = world.staging("staging")?;
    world.kill();
    // What a killed mkfs leaves: something on the disk, and the record that says so.
    let folder = world.path("state/volumes").join(&volume.id);
    let record = fs::read_to_string(folder.join("volume.json"))?;
    let changed = record.replace("\"formatting\": false", "\"formatting\": true");
    expect(record != changed, "the record tells of formatting")?;
    fs::write(folder.join("volume.json"), changed)?;
    let disk = fs::File::options()
        .write(true)
        .open(folder.join("disk.img"))?;
    std::os::unix::fs::FileExt::write_all_at(&disk, b"half a file system", 1 << 20)?;
    // And what a killed CreateVolume leaves.
    let making = world.path("state/volumes/making-vol-00");
    fs::create_dir(&making)?;
    fs::write(making.join("disk.img"), "")?;
    world.start()?;
    expect(!making.exists(), "half a volume is cleared away")?;
    world.stage(&volume, &staging)?;
    fs::write(staging.join("marker"), "x")?;
    world.unstage(&volume.id, &staging)?;
    world.stage(&volume, &staging)?;
    expect(fs::read(staging.join("marker"))? == b"x", "formatted once")?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

/// The kill comes a little later each time, wherever in a stage that may be.
fn killed_at_any_moment(world: &mut World) -> Result<(), Failed> {
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    for moment in 0..12 {
        let volume = world.volume(&format!("at {moment}"), mounted("", &[]), 64 * MIB)?;
        let under_way = world.stage_in_background(&volume, &staging);
        std::thread::sleep(std::time::Duration::from_millis(2 * moment));
        restart(world)?;
        under_way.abort();
        if moment % 2 == 0 {
            world.stage(&volume, &staging)?;
            world.publish(&volume, &staging, &target, false)?;
            expect(mounts_at(&staging).len() == 1, "mounted once")?;
            expect(loops_below(&world.folder).len() == 1, "one device")?;
            world.unpublish(&volume.id, &target)?;
        }
        world.unstage(&volume.id, &staging)?;
        expect(mounts_at(&staging).is_empty(), "nothing is mounted")?;
        expect(loops_below(&world.folder).is_empty(), "no device is left")?;
    }
    Ok(())
}

/// As after a reboot: the record says that it is mounted, the kernel knows better.
fn mount_lost(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("lost", mounted("", &[]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    umount2(&target, MntFlags::empty())?;
    umount2(&staging, MntFlags::empty())?;
    expect(
        world.publish(&volume, &staging, &target, false).is_err(),
        "not staged any more",
    )?;
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    expect(mounts_at(&target).len() == 1, "mounted again")?;
    umount2(&target, MntFlags::empty())?;
    world.unpublish(&volume.id, &target)?;
    expect(!target.exists(), "the target is gone")?;
    umount2(&staging, MntFlags::empty())?;
    world.unstage(&volume.id, &staging)?;
    expect(loops_below(&world.folder).is_empty(), "no device is left")
}

fn sigterm(world: &mut World) -> Result<(), Failed> {
    let code = world.terminate()?;
    expect(code == Some(0), "a clean end")?;
    expect(!world.path("csi.sock").exists(), "the socket is gone")?;
    world.start()
}
