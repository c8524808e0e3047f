//! Each defect bites where it says it does.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use csi_proto::v1::volume_capability::access_mode::Mode;
use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tonic::Code;

use crate::Case;
use crate::requests::{MIB, Volume, block, create_request, mode, mounted};
use crate::scratch::{loops_below, mounts_at};
use crate::world::{World, expect, refused};

macro_rules! bites {
    ($($name:literal => $body:expr;)*) => {
        pub(crate) static CASES: &[Case] =
            &[$(Case::honest(concat!("defect_", $name), $body).with($name)),*];
    };
}

bites! {
    "already-mounted-no-identity-check" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        mount(Some("x"), &staging, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        world.stage(&volume, &staging)?;
        expect(loops_below(&world.folder).is_empty(), "OK without a device")
    };
    "already-mounted-no-health-check" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        cut_short(world, &volume)?;
        Ok(world.publish(&volume, &staging, &target, false)?)
    };
    "estale-blocks-unpublish" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        umount2(&target, MntFlags::empty())?;
        fs::remove_dir(&target)?;
        expect(world.unpublish(&volume.id, &target).is_err(), "it gives up")
    };
    "format-on-unreadable" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        fs::write(staging.join("marker"), "x")?;
        world.unstage(&volume.id, &staging)?;
        cut_short(world, &volume)?;
        world.stage(&volume, &staging)?;
        expect(!staging.join("marker").exists(), "formatted over")
    };
    "lock-not-released" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &["no-such-flag"]))?;
        expect(world.stage(&volume, &staging).is_err(), "it fails")?;
        refused(world.unstage(&volume.id, &staging), Code::Aborted, "the lock is held still")
    };
    "block-formatted-as-mount" => |world| {
        let (volume, staging, _) = ready(world, block())?;
        world.stage(&volume, &staging)?;
        let mut magic = [0; 2];
        let image = world.path("state/volumes").join(&volume.id).join("disk.img");
        world.unstage(&volume.id, &staging)?;
        fs::File::open(image)?.read_exact_at(&mut magic, 0x438)?;
        expect(magic == [0x53, 0xef], "formatted")
    };
    "chmod-on-publish" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        expect(fs::metadata(&target)?.permissions().mode() & 0o7777 == 0o777, "mode forced")
    };
    "delete-in-use-ok" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.delete(&volume.id)?;
        expect(mounts_at(&staging).len() == 1, "deleted while mounted")
    };
    "edge-request-panics" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        let mut request = world.stage_request(&volume, &staging);
        request.volume_capability = None;
        dies(world, |world| world.stage_with(request).is_err())
    };
    "expand-noop-ok" => |world| {
        let (volume, staging, _) = ready(world, block())?;
        world.stage(&volume, &staging)?;
        world.grow(&volume, 128 * MIB)?;
        world.node_grow(&volume, &staging)?;
        let total = world.stats(&volume.id, &staging)?.usage.first().map(|usage| usage.total);
        expect(total == Some(64 * MIB), "not grown")
    };
    "lazy-umount-hides-busy" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        let held = fs::File::create(target.join("held"))?;
        world.unpublish(&volume.id, &target)?;
        expect(mounts_at(&target).is_empty(), "out of sight")?;
        world.unstage(&volume.id, &staging)?;
        held.sync_all()?;
        expect(loops_below(&world.folder).len() == 1, "and still there")
    };
    "loop-left-after-unstage" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.unstage(&volume.id, &staging)?;
        expect(loops_below(&world.folder).len() == 1, "the device is left")?;
        world.detach(&volume.id, "")?;
        Ok(world.delete(&volume.id)?)
    };
    "mount-error-swallowed" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &["no-such-flag"]))?;
        world.stage(&volume, &staging)?;
        expect(mounts_at(&staging).is_empty(), "OK, and not mounted")?;
        world.publish(&volume, &staging, &target, false)
            .map_err(|status| format!("publish: {status}"))?;
        world.unpublish(&volume.id, &target)?;
        Ok(world.unstage(&volume.id, &staging)?)
    };
    "mount-flags-dropped" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &["noexec"]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        let options = mounts_at(&target).pop().unwrap_or_default();
        expect(!options.contains("noexec"), "dropped")
    };
    "mount-in-private-namespace" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        expect(mounts_at(&target).is_empty(), "nobody else sees it")?;
        world.unpublish(&volume.id, &target)?;
        Ok(world.unstage(&volume.id, &staging)?)
    };
    "never-answers" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        let first = world.publish_in_background(&volume, &staging, &world.path("first"));
        expect(world.logs("hangs"), "the first is not answered")?;
        world.publish(&volume, &staging, &target, false)?;
        expect(!first.is_finished(), "others are, and the first still is not")?;
        world.unpublish(&volume.id, &target)?;
        Ok(world.unstage(&volume.id, &staging)?)
    };
    "no-per-volume-lock" => |world| {
        let (volume, staging, _) = ready(world, block())?;
        let answers = world.stage_twice(&volume, &staging);
        expect(answers.iter().all(Result::is_ok), "both are done")?;
        expect(loops_below(&world.folder).len() == 2, "two devices")
    };
    "publish-binds-unmounted-staging" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.publish(&volume, &staging, &target, false)?;
        expect(mounts_at(&target).len() == 1, "the bare folder is bound")?;
        world.unpublish(&volume.id, &target)?;
        expect(!target.exists(), "and taken away again")
    };
    "published-nothing" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        expect(target.is_dir() && mounts_at(&target).is_empty(), "an empty folder")?;
        world.unpublish(&volume.id, &target)?;
        Ok(world.unstage(&volume.id, &staging)?)
    };
    "readonly-flag-ignored" => |world| writable_though_read_only(world, mounted("", &[]));
    "ro-bind-single-call" => |world| writable_though_read_only(world, mounted("", &[]));
    "ro-block-bind-only" => |world| writable_though_read_only(world, block());
    "repeat-unpublish-fails" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        world.unpublish(&volume.id, &target)?;
        expect(world.unpublish(&volume.id, &target).is_err(), "a repeat fails")?;
        world.unstage(&volume.id, &staging)?;
        expect(world.unstage(&volume.id, &staging).is_err(), "a repeat fails")
    };
    "same-handle-context-ignored" => |world| {
        let (mut volume, staging, _) = ready(world, mounted("", &[]))?;
        volume.context.insert("access".to_owned(), "another".to_owned());
        Ok(world.stage(&volume, &staging)?)
    };
    "secret-in-log" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        expect(world.log().contains("canary-of-a-secret"), "logged")
    };
    "size-rounded-down" => |world| {
        let made = world.create(create_request("odd", &block(), 3 * MIB - 1))?;
        expect(made.capacity_bytes == 2 * MIB, "rounded down")
    };
    "snsw-not-enforced" => |world| {
        let mut capability = mounted("", &[]);
        capability.access_mode = mode(Mode::SingleNodeSingleWriter);
        let (volume, staging, target) = ready(world, capability)?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        Ok(world.publish(&volume, &staging, &world.path("second"), false)?)
    };
    "stack-on-repeat-publish" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        world.publish(&volume, &staging, &target, false)?;
        expect(mounts_at(&target).len() >= 2, "stacked")
    };
    "stage-error-dir-then-ok" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &["no-such-flag"]))?;
        expect(world.stage(&volume, &staging).is_err(), "the first fails")?;
        world.stage(&volume, &staging)?;
        expect(mounts_at(&staging).is_empty(), "OK, and not mounted")
    };
    "stage-error-leaves-device" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &["no-such-flag"]))?;
        expect(world.stage(&volume, &staging).is_err(), "it fails")?;
        expect(loops_below(&world.folder).len() == 1, "the device is left")
    };
    "stale-socket-crashloop" => |world| {
        world.kill();
        expect(world.start().is_err(), "it does not start again")
    };
    "state-on-private-path" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        world.kill();
        world.start()?;
        world.unpublish(&volume.id, &target)?;
        world.unstage(&volume.id, &staging)?;
        expect(mounts_at(&target).len() + mounts_at(&staging).len() == 2, "nothing was undone")
    };
    "stats-of-parent-fs" => |world| {
        let (volume, _, _) = ready(world, mounted("", &[]))?;
        Ok(world.stats(&volume.id, &world.folder).map(drop)?)
    };
    "target-dir-left" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        world.unpublish(&volume.id, &target)?;
        expect(target.is_dir() && mounts_at(&target).is_empty(), "left")?;
        Ok(world.unstage(&volume.id, &staging)?)
    };
    "umount-once-then-removeall" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        fs::create_dir(target.join("folder"))?;
        fs::write(target.join("folder/marker"), "x")?;
        mount(Some(&staging), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        world.unpublish(&volume.id, &target)?;
        expect(!staging.join("folder").exists(), "the data is gone")
    };
    "unadvertised-rpc-panics" => |world| dies(world, |world| world.modify().is_err());
    "dies" => |world| {
        if !crate::scratch::has("xfs") {
            return Ok(());
        }
        let volume = world.volume("dies", mounted("xfs", &[]), MIB)?;
        let staging = world.staging("staging")?;
        dies(world, |world| world.stage(&volume, &staging).is_err())
    };
    "unpublish-ok-still-mounted" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        world.publish(&volume, &staging, &target, false)?;
        let held = fs::File::create(target.join("held"))?;
        world.unpublish(&volume.id, &target)?;
        drop(held);
        expect(mounts_at(&target).len() == 1, "OK, and still mounted")
    };
    "unstage-ok-still-mounted" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        let held = fs::File::create(staging.join("held"))?;
        world.unstage(&volume.id, &staging)?;
        drop(held);
        expect(mounts_at(&staging).len() == 1, "OK, and still mounted")
    };
    "wipes-on-stage" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        fs::write(staging.join("marker"), "x")?;
        world.unstage(&volume.id, &staging)?;
        world.stage(&volume, &staging)?;
        expect(!staging.join("marker").exists(), "wiped")
    };
    "wrong-stats" => |world| {
        let (volume, staging, _) = ready(world, block())?;
        world.stage(&volume, &staging)?;
        let total = world.stats(&volume.id, &staging)?.usage.first().map(|usage| usage.total);
        expect(total == Some(32 * MIB), "half")
    };
    "wrong-volume" => |world| {
        let (volume, staging, target) = ready(world, mounted("", &[]))?;
        let other = world.volume("other", mounted("", &[]), 64 * MIB)?;
        let (other_staging, other_target) = (world.staging("other-s")?, world.path("other-t"));
        world.stage(&volume, &staging)?;
        world.stage(&other, &other_staging)?;
        world.publish(&volume, &staging, &target, false)?;
        world.publish(&other, &other_staging, &other_target, false)?;
        fs::write(target.join("marker"), "x")?;
        expect(other_target.join("marker").exists(), "the first volume at both")?;
        world.unpublish(&other.id, &other_target)?;
        Ok(world.unstage(&other.id, &other_staging)?)
    };
    "zombie-children" => |world| {
        let (volume, staging, _) = ready(world, mounted("", &[]))?;
        world.stage(&volume, &staging)?;
        expect(world.zombies() >= 1, "a child that nobody waits for")
    };
}

/// A volume of 64 MiB, a staging folder and a target.
fn ready(
    world: &World,
    capability: csi_proto::v1::VolumeCapability,
) -> Result<(Volume, PathBuf, PathBuf), Failed> {
    let volume = world.volume("one", capability, 64 * MIB)?;
    Ok((volume, world.staging("staging")?, world.path("target")))
}

/// Cuts the disk of a volume short beneath what uses it.
fn cut_short(world: &World, volume: &Volume) -> Result<(), Failed> {
    let image = world
        .path("state/volumes")
        .join(&volume.id)
        .join("disk.img");
    Ok(fs::File::options().write(true).open(image)?.set_len(0)?)
}

fn dies(world: &mut World, ask: impl FnOnce(&World) -> bool) -> Result<(), Failed> {
    expect(ask(world), "no answer")?;
    expect(world.ends(), "the process is dead")
}

fn writable_though_read_only(
    world: &mut World,
    capability: csi_proto::v1::VolumeCapability,
) -> Result<(), Failed> {
    let (volume, staging, target) = ready(world, capability)?;
    world.stage(&volume, &staging)?;
    world.publish(&volume, &staging, &target, true)?;
    let file = if target.is_dir() {
        target.join("file")
    } else {
        target
    };
    let file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)?;
    file.write_all_at(b"x", 0)?;
    Ok(file.sync_all()?)
}
