//! The life of a volume on the node.

use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt};

use csi_proto::v1::volume_capability::access_mode::Mode;
use libtest_mimic::Failed;
use tonic::Code;

use crate::Case;
use crate::requests::{MIB, attach_request, block, mode, mounted};
use crate::scratch::{loops_below, mounts_at};
use crate::world::{World, expect, refused};

pub(crate) static CASES: &[Case] = &[
    Case::honest("ext4", |world| life(world, "ext4")),
    Case::honest("xfs", |world| life(world, "xfs")).needing("xfs"),
    Case::honest("btrfs", |world| life(world, "btrfs")).needing("btrfs"),
    Case::honest("block", raw_block),
    Case::honest("read_only", read_only),
    Case::honest("mount_flags", mount_flags),
    Case::honest("repeats", repeats),
    Case::honest("targets", targets),
    Case::honest("expansion_ext4", |world| expansion(world, "ext4")),
    Case::honest("expansion_xfs", |world| expansion(world, "xfs")).needing("xfs"),
    Case::honest("expansion_btrfs", |world| expansion(world, "btrfs")).needing("btrfs"),
];

fn life(world: &mut World, fs_type: &str) -> Result<(), Failed> {
    let volume = world.volume("life", mounted(fs_type, &[]), 320 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    for round in 0..2 {
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        expect(mounts_at(&target).len() == 1, "one mount at the target")?;
        let marker = target.join("marker");
        if round == 0 {
            fs::write(&marker, "of the first round")?;
        }
        expect(
            fs::read(&marker)? == b"of the first round",
            "the data stays",
        )?;

        let stats = world.stats(&volume.id, &target)?;
        let bytes = stats.usage.first().ok_or("no usage")?;
        expect(
            bytes.total > 200 * MIB && bytes.total <= 320 * MIB,
            "the volume's own size",
        )?;
        let condition = stats.volume_condition.ok_or("no condition")?;
        expect(
            !condition.abnormal && !condition.message.is_empty(),
            "well, and said so",
        )?;
        refused(
            world.stats(&volume.id, &world.folder),
            Code::NotFound,
            "stats elsewhere",
        )?;
        refused(
            world.delete(&volume.id),
            Code::FailedPrecondition,
            "delete in use",
        )?;

        world.unpublish(&volume.id, &target)?;
        expect(!target.exists(), "the target is gone")?;
        world.unstage(&volume.id, &staging)?;
        expect(
            mounts_at(&staging).is_empty() && staging.is_dir(),
            "unmounted, the folder stays",
        )?;
        expect(loops_below(&world.folder).is_empty(), "no device is left")?;
    }
    world.detach(&volume.id, "")?;
    world.delete(&volume.id)?;
    expect(
        fs::read_dir(world.path("state/volumes"))?.count() == 0,
        "nothing is left of it",
    )
}

fn raw_block(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("raw", block(), 3 * MIB + 1)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    let read_only = world.path("read-only");
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    world.publish(&volume, &staging, &read_only, true)?;
    for path in [&target, &read_only] {
        expect(
            fs::metadata(path)?.file_type().is_block_device(),
            "a device at the target",
        )?;
    }
    for path in [&target, &staging] {
        let total = world
            .stats(&volume.id, path)?
            .usage
            .first()
            .map(|usage| usage.total);
        expect(total == Some(4 * MIB), "the device's size")?;
    }
    let device = fs::File::options().read(true).write(true).open(&target)?;
    device.write_all_at(b"raw marker", 1 << 20)?;
    device.sync_all()?;
    drop(device);
    // The kernel opens a read-only device for writing, and refuses the write.
    let refusal = fs::File::options()
        .write(true)
        .open(&read_only)
        .and_then(|device| device.write_all_at(b"x", 0));
    expect(refusal.is_err(), "a read-only device refuses writes")?;
    let mut marker = [0; 10];
    fs::File::open(&read_only)?.read_exact_at(&mut marker, 1 << 20)?;
    expect(&marker == b"raw marker", "both are one volume")?;

    world.unpublish(&volume.id, &read_only)?;
    expect(
        loops_below(&world.folder).len() == 1,
        "the read-only device went with its target",
    )?;
    world.unpublish(&volume.id, &target)?;
    expect(
        !target.exists() && !read_only.exists(),
        "the files are gone",
    )?;
    world.unstage(&volume.id, &staging)?;
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    fs::File::open(&target)?.read_exact_at(&mut marker, 1 << 20)?;
    expect(
        &marker == b"raw marker",
        "the data stays, and nothing is formatted",
    )?;
    world.unpublish(&volume.id, &target)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn read_only(world: &mut World) -> Result<(), Failed> {
    let mut volume = world.volume("ro", mounted("", &[]), 64 * MIB)?;
    let staging = world.staging("staging")?;
    let (rw, ro) = (world.path("rw"), world.path("ro"));
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &rw, false)?;
    world.publish(&volume, &staging, &ro, true)?;
    fs::write(rw.join("marker"), "x")?;
    expect(fs::read(ro.join("marker"))? == b"x", "one volume")?;
    let refusal = fs::write(ro.join("marker"), "y").map_err(|error| error.raw_os_error());
    expect(refusal == Err(Some(libc::EROFS)), "writes are refused")?;
    refused(
        world.publish(&volume, &staging, &ro, false),
        Code::AlreadyExists,
        "the same target, writable",
    )?;
    for target in [&rw, &ro] {
        world.unpublish(&volume.id, target)?;
    }
    world.unstage(&volume.id, &staging)?;

    world.detach(&volume.id, crate::world::NODE)?;
    volume.capability.access_mode = mode(Mode::SingleNodeReaderOnly);
    volume.attachment = world.attach(attach_request(&volume.id, &volume.capability))?;
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &rw, false)?;
    expect(
        fs::write(rw.join("marker"), "y").is_err(),
        "nobody writes in a reader's mode",
    )?;
    expect(fs::read(rw.join("marker"))? == b"x", "everybody reads")?;
    world.unpublish(&volume.id, &rw)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn mount_flags(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume(
        "flags",
        mounted("ext4", &["noexec,nosuid", "noatime"]),
        64 * MIB,
    )?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, true)?;
    let options = mounts_at(&target).pop().ok_or("not mounted")?;
    for flag in ["ro", "noexec", "nosuid", "noatime"] {
        expect(
            options.split(',').any(|option| option == flag),
            &format!("{flag} in {options}"),
        )?;
    }
    world.unpublish(&volume.id, &target)?;
    world.unstage(&volume.id, &staging)?;

    let mut unknown = volume.clone();
    unknown.capability = mounted("ext4", &["no-such-flag"]);
    refused(
        world.stage(&unknown, &staging),
        Code::InvalidArgument,
        "an unknown flag",
    )?;
    expect(
        loops_below(&world.folder).is_empty(),
        "a stage that failed leaves no device",
    )?;
    expect(mounts_at(&staging).is_empty(), "and no mount")?;
    world.stage(&volume, &staging)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn repeats(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("repeats", mounted("", &["nodev"]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    for _ in 0..3 {
        world.stage(&volume, &staging)?;
    }
    for _ in 0..3 {
        world.publish(&volume, &staging, &target, false)?;
    }
    expect(
        mounts_at(&staging).len() == 1,
        "one mount at the staging path",
    )?;
    expect(mounts_at(&target).len() == 1, "one mount at the target")?;
    let mut other = volume.clone();
    other.capability = mounted("", &["noexec"]);
    refused(
        world.stage(&other, &staging),
        Code::AlreadyExists,
        "staged in another way",
    )?;
    refused(
        world.unstage(&volume.id, &staging),
        Code::FailedPrecondition,
        "published still",
    )?;
    for _ in 0..3 {
        world.unpublish(&volume.id, &target)?;
    }
    for _ in 0..3 {
        world.unstage(&volume.id, &staging)?;
    }
    refused(
        world.publish(&volume, &staging, &target, false),
        Code::FailedPrecondition,
        "published though not staged",
    )?;
    expect(!target.exists(), "a publish that failed leaves nothing")?;
    world.unpublish("vol-00", &target)?;
    world.unstage("of-a-foreign-form/..", &staging)?;
    Ok(())
}

fn targets(world: &mut World) -> Result<(), Failed> {
    let staging = world.staging("staging")?;
    for (wanted, second) in [
        (Mode::SingleNodeWriter, None),
        (Mode::SingleNodeMultiWriter, None),
        (Mode::SingleNodeSingleWriter, Some(Code::FailedPrecondition)),
    ] {
        let mut capability = mounted("", &[]);
        capability.access_mode = mode(wanted);
        let volume = world.volume(wanted.as_str_name(), capability, 64 * MIB)?;
        let (one, other) = (world.path("one"), world.path("other"));
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &one, false)?;
        let answer = world.publish(&volume, &staging, &other, false);
        match second {
            None => answer?,
            Some(code) => refused(answer, code, wanted.as_str_name())?,
        }
        world.unpublish(&volume.id, &other)?;
        expect(mounts_at(&one).len() == 1, "the first target stays")?;
        world.unpublish(&volume.id, &one)?;
        world.unstage(&volume.id, &staging)?;
    }
    Ok(())
}

fn expansion(world: &mut World, fs_type: &str) -> Result<(), Failed> {
    let volume = world.volume("grows", mounted(fs_type, &[]), 320 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, false)?;
    let total = |world: &World| -> Result<i64, Failed> {
        let stats = world.stats(&volume.id, &target)?;
        Ok(stats.usage.first().map_or(0, |usage| usage.total))
    };
    let before = total(world)?;
    expect(
        world.node_grow(&volume, &target)? == 320 * MIB,
        "as large as it is already",
    )?;
    expect(world.grow(&volume, 640 * MIB)? == 640 * MIB, "the new size")?;
    expect(
        world.grow(&volume, 64 * MIB)? == 640 * MIB,
        "it never shrinks",
    )?;
    match world.node_grow(&volume, &target) {
        Ok(bytes) => expect(bytes == 640 * MIB, "the new size")?,
        // Growing a mounted ext4 takes a capability that root may lack; the next
        // stage does without.
        Err(status) if fs_type == "ext4" && status.code() == Code::FailedPrecondition => {
            world.unpublish(&volume.id, &target)?;
            world.unstage(&volume.id, &staging)?;
            world.stage(&volume, &staging)?;
            world.publish(&volume, &staging, &target, false)?;
        }
        Err(status) => return Err(status.into()),
    }
    expect(
        total(world)? > before + 200 * MIB,
        "the file system has grown",
    )?;
    world.unpublish(&volume.id, &target)?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}
