//! What is in the driver's way, and what it must leave alone.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount, umount2};
use tonic::Code;

use crate::Case;
use crate::requests::{MIB, mounted};
use crate::scratch::{loops_below, mounts_at};
use crate::world::{World, expect, refused};

pub(crate) static CASES: &[Case] = &[
    Case::honest("strangers_are_left_alone", strangers),
    Case::honest("busy_is_an_error", busy),
    Case::honest("content_is_never_formatted_over", foreign_content),
    Case::honest("a_short_disk_is_not_blank", short_disk),
];

fn strangers(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("own", mounted("", &[]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    let tmpfs = |path: &Path| {
        mount(
            Some("stranger"),
            path,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )
    };
    tmpfs(&staging)?;
    refused(
        world.stage(&volume, &staging),
        Code::FailedPrecondition,
        "staged over a stranger",
    )?;
    umount2(&staging, nix::mount::MntFlags::empty())?;

    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    fs::write(target.join("marker"), "kept")?;
    tmpfs(&target)?;
    refused(
        world.unpublish(&volume.id, &target),
        Code::FailedPrecondition,
        "a stranger on top",
    )?;
    umount2(&target, nix::mount::MntFlags::empty())?;
    expect(
        fs::read(target.join("marker"))? == b"kept",
        "nothing was removed",
    )?;

    mount(
        Some(&staging),
        &target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    expect(
        mounts_at(&target).len() >= 2,
        "the volume twice at the target",
    )?;
    world.unpublish(&volume.id, &target)?;
    expect(!target.exists(), "both went, and the target too")?;
    expect(
        fs::read(staging.join("marker"))? == b"kept",
        "no data was removed",
    )?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn busy(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("busy", mounted("", &[]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    let held = fs::File::create(target.join("held"))?;
    refused(
        world.unpublish(&volume.id, &target),
        Code::FailedPrecondition,
        "a busy target",
    )?;
    expect(target.join("held").exists(), "it is still there")?;
    drop(held);
    world.unpublish(&volume.id, &target)?;
    let held = fs::File::open(&staging)?;
    refused(
        world.unstage(&volume.id, &staging),
        Code::FailedPrecondition,
        "a busy staging path",
    )?;
    drop(held);

    // LOOP_CLR_FD answers 0 for a device that somebody has open, and the kernel
    // clears it at the last close: it must be said now, and undone by a stage.
    let (device, _) = loops_below(&world.folder).pop().ok_or("no device")?;
    let held = fs::File::open(&device)?;
    refused(
        world.unstage(&volume.id, &staging),
        Code::FailedPrecondition,
        "a busy device",
    )?;
    world.stage(&volume, &staging)?;
    drop(held);
    world.publish(&volume, &staging, &target, false)?;
    expect(
        target.join("held").exists(),
        "the device stayed, and the data",
    )?;
    world.unpublish(&volume.id, &target)?;
    world.unstage(&volume.id, &staging)?;
    expect(loops_below(&world.folder).is_empty(), "no device is left")
}

fn foreign_content(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("foreign", mounted("ext4", &[]), 64 * MIB)?;
    let staging = world.staging("staging")?;
    let image = world
        .path("state/volumes")
        .join(&volume.id)
        .join("disk.img");
    let disk = fs::File::options().write(true).open(&image)?;
    for (offset, content) in [
        (0, b"XFSB".as_slice()),
        (0, b"data"),
        (40 * (1 << 20), b"far"),
    ] {
        disk.write_all_at(content, offset)?;
        refused(
            world.stage(&volume, &staging),
            Code::FailedPrecondition,
            "content",
        )?;
        let mut found = vec![0; content.len()];
        fs::File::open(&image)?.read_exact_at(&mut found, offset)?;
        expect(found == content, "the content is still there")?;
        disk.write_all_at(&vec![0; content.len()], offset)?;
    }
    world.stage(&volume, &staging)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn short_disk(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("short", mounted("ext4", &[]), 64 * MIB)?;
    let staging = world.staging("staging")?;
    let image = world
        .path("state/volumes")
        .join(&volume.id)
        .join("disk.img");
    let disk = fs::File::options().write(true).open(&image)?;
    disk.set_len(0)?;
    refused(
        world.stage(&volume, &staging),
        Code::DataLoss,
        "a disk cut short",
    )?;
    let mut content = Vec::new();
    fs::File::open(&image)?.read_to_end(&mut content)?;
    expect(content.is_empty(), "nothing was written to it")?;

    // Cut short while it is in use, it is told of, and can be taken away.
    let volume = world.volume("cut", mounted("ext4", &[]), 64 * MIB)?;
    let target = world.path("target");
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    let image = world
        .path("state/volumes")
        .join(&volume.id)
        .join("disk.img");
    fs::File::options().write(true).open(&image)?.set_len(0)?;
    refused(
        world.publish(&volume, &staging, &target, false),
        Code::DataLoss,
        "published, and dead",
    )?;
    let condition = world.stats(&volume.id, &target)?.volume_condition;
    expect(
        condition.is_some_and(|condition| condition.abnormal),
        "an abnormal condition",
    )?;
    world.unpublish(&volume.id, &target)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}
