//! What the defects look like from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::volume_capability::access_mode::Mode as Access;
use libtest_mimic::Failed;
use tonic::Code;

use crate::calls::{CANARY, LONG, SHORT, Volume, context, mode, mounted};
use crate::world::{World, ask, expect, refused};
use crate::{Case, Mode, table};

const DIRECT: &[Mode] = &[Mode::Direct];
const STAGED: &[Mode] = &[Mode::Staged];

macro_rules! case {
    ($name:literal, $run:expr, $modes:expr) => {
        Case::new(concat!("defect_", $name), $run)
            .with($name)
            .only($modes)
    };
}

pub(crate) static CASES: &[Case] = &[
    case!("edge-request-panics", edge_request, DIRECT).without_nfs(),
    case!("repeat-unpublish-fails", repeat_unpublish, DIRECT).without_nfs(),
    case!("secret-in-log", secret_in_log, DIRECT).without_nfs(),
    case!("stale-socket-crashloop", stale_socket, DIRECT).without_nfs(),
    case!("stats-of-parent-fs", parent_stats, DIRECT).without_nfs(),
    case!("unadvertised-rpc-panics", unadvertised, DIRECT).without_nfs(),
    case!("zombie-children", zombies, DIRECT).without_nfs(),
    case!("already-mounted-no-health-check", no_health_check, DIRECT),
    case!("chmod-on-publish", chmod, DIRECT),
    case!("delete-removes-parent", parent_removed, DIRECT),
    case!("estale-blocks-unpublish", estale, DIRECT),
    case!("global-mutex", global_mutex, DIRECT),
    case!("lazy-umount-hides-busy", lazy, DIRECT),
    case!("mount-error-swallowed", swallowed, DIRECT),
    case!("mount-flags-dropped", flags_dropped, DIRECT),
    case!("nfs-bg-trusted", bg_trusted, crate::BOTH),
    case!("publish-binds-unmounted-staging", binds_unmounted, STAGED),
    case!("publish-timeout-abandons-mount", abandoned, DIRECT),
    case!("readonly-flag-ignored", writable, DIRECT),
    case!("ro-bind-single-call", writable, STAGED),
    case!("same-handle-context-ignored", same_handle, DIRECT),
    case!("snsw-not-enforced", two_writers, DIRECT),
    case!("stack-on-repeat-publish", stacks, crate::BOTH),
    case!("state-on-private-path", forgets, DIRECT),
    case!("stats-block-forever", stats_block, DIRECT),
    case!("target-dir-left", target_left, DIRECT),
    case!("umount-once-then-removeall", files_removed, DIRECT),
    case!("unpublish-ok-still-mounted", still_mounted, DIRECT),
    case!("volume-id-traversal", traversal, DIRECT),
    case!("wrong-volume", wrong_volume, DIRECT),
];

/// A volume on a server that is none.
fn nowhere() -> Volume {
    Volume {
        id: "some-volume".to_owned(),
        context: context(&[("server", "127.0.0.1"), ("share", "/nowhere")]),
        capability: mounted("", &["vers=4.2"]),
    }
}

fn is_dead(world: &World) -> Result<(), Failed> {
    world.until("the driver is dead", |world| {
        ask!(world, IdentityClient.probe, csi::ProbeRequest {}).is_err()
    })
}

fn edge_request(world: &mut World) -> Result<(), Failed> {
    let mut request = world.publish_request(&nowhere(), &world.path("target"));
    request.volume_capability = None;
    expect(world.publish_with(request, LONG).is_err(), "no answer")?;
    is_dead(world)
}

fn unadvertised(world: &mut World) -> Result<(), Failed> {
    let request = csi::ListVolumesRequest::default();
    let answer = ask!(world, ControllerClient.list_volumes, request);
    expect(answer.is_err(), "no answer")?;
    is_dead(world)
}

fn repeat_unpublish(world: &mut World) -> Result<(), Failed> {
    let answer = world.unpublish("some-volume", &world.path("target"));
    refused(answer, &[Code::NotFound], "nothing to undo")
}

fn secret_in_log(world: &mut World) -> Result<(), Failed> {
    let request = world.publish_request(&nowhere(), &world.path("target"));
    let _ = world.publish_with(request, SHORT);
    expect(world.log().contains(CANARY), "the secret is logged")
}

fn stale_socket(world: &mut World) -> Result<(), Failed> {
    world.kill();
    expect(world.start_once()?, "the next one ends at once")
}

fn parent_stats(world: &mut World) -> Result<(), Failed> {
    let usage = world.stats("some-volume", &world.folder, LONG)?.usage;
    expect(!usage.is_empty(), "numbers of the node's own")
}

fn zombies(world: &mut World) -> Result<(), Failed> {
    let request = world.publish_request(&nowhere(), &world.path("target"));
    let _ = world.publish_with(request, SHORT);
    world.until("a child is dead and not waited for", |world| {
        world.zombies() > 0
    })
}

fn mounted_volume(world: &World) -> Result<(Volume, std::path::PathBuf), Failed> {
    let volume = world.folder_volume("volume", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    Ok((volume, target))
}

fn no_health_check(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    fs::remove_dir(world.on_server("volume")?)?;
    world.mount(&volume, &target, LONG)?;
    expect(fs::read_dir(&target).is_err(), "it cannot be used")
}

fn chmod(world: &mut World) -> Result<(), Failed> {
    let folder = world.on_server("volume")?;
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2750))?;
    mounted_volume(world)?;
    let mode = fs::metadata(&folder)?.permissions().mode() & 0o7777;
    expect(mode == 0o777, &format!("its mode is {mode:o}"))
}

fn parent_removed(world: &mut World) -> Result<(), Failed> {
    let parent = world.on_server("a")?;
    let export = world.server()?.export();
    let sub_dir = format!("{}/{{name}}", parent.strip_prefix(export)?.display());
    let parameters = [
        ("server", "127.0.0.1"),
        ("share", "/"),
        ("subDir", &sub_dir),
    ];
    let one = world.create(world.create_request("x", &parameters))?;
    world.create(world.create_request("y", &parameters))?;
    expect(parent.join("y").exists(), "two volumes")?;
    world.delete(&one.volume_id)?;
    expect(!parent.exists(), "both are gone, and what is around them")
}

fn estale(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    fs::remove_dir(world.on_server("volume")?)?;
    for _ in 0..2 {
        let answer = world.unpublish(&volume.id, &target);
        expect(answer.is_err(), "it cannot be unpublished")?;
    }
    expect(table::at(&target).len() == 1, "and stays")
}

fn global_mutex(world: &mut World) -> Result<(), Failed> {
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = format!("port={}", silent.local_addr()?.port());
    let waits = world.folder_volume("waits", &["vers=4.2", &port])?;
    let request = world.publish_request(&waits, &world.path("waiting"));
    let channel = world.channel();
    let waiting = world.runtime.spawn(async move {
        let mut client = NodeClient::new(channel?);
        client.node_publish_volume(request).await.map(drop)
    });
    world.until("the first waits", |world| !world.helpers().is_empty())?;
    let other = world.unpublish_within("another", &world.path("other"), SHORT);
    expect(other.is_err(), "another volume waits, too")?;
    waiting.abort();
    world.until("the helper is gone", |world| world.helpers().is_empty())
}

fn lazy(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    let _holder = fs::File::create(target.join("held"))?;
    world.unpublish(&volume.id, &target)?;
    expect(table::at(&target).is_empty(), "out of sight, and in use")
}

fn swallowed(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("lost", &["vers=4.2"])?;
    fs::remove_dir(world.on_server("lost")?)?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    expect(table::at(&target).is_empty(), "OK, and nothing is mounted")
}

fn flags_dropped(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("volume", &["vers=4.1", "noexec"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    let line = table::at(&target).pop().ok_or("nothing is mounted")?;
    expect(!line.options.contains("noexec"), &format!("{line:?}"))
}

/// OK with nothing mounted, and a helper that goes on.
fn bg_trusted(world: &mut World) -> Result<(), Failed> {
    let flags = ["vers=3", "nolock", "bg", "timeo=10,retrans=1"];
    let volume = world.folder_volume("late", &flags)?;
    let target = world.path("target");
    world.server()?.stop()?;
    if world.mode == Mode::Staged {
        world.stage(&volume, LONG)?;
        expect(table::at(&world.staging(&volume)).is_empty(), "nothing")?;
    } else {
        world.mount(&volume, &target, LONG)?;
        expect(table::at(&target).is_empty(), "nothing is mounted")?;
        world.unpublish(&volume.id, &target)?;
    }
    expect(!world.helpers().is_empty(), "a helper goes on")
}

/// An error, and a helper that goes on and mounts.
fn abandoned(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("late", &["vers=4.2"])?;
    let target = world.path("target");
    world.server()?.stop()?;
    expect(world.mount(&volume, &target, SHORT).is_err(), "an error")?;
    expect(!world.helpers().is_empty(), "a helper goes on")?;
    world.server()?.heal()?;
    world.until("it is mounted late", |_| !table::at(&target).is_empty())
}

fn binds_unmounted(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("volume", &["vers=4.2"])?;
    let target = world.path("target");
    fs::create_dir_all(world.staging(&volume))?;
    world.publish_with(world.publish_request(&volume, &target), LONG)?;
    let line = table::at(&target).pop().ok_or("nothing is mounted")?;
    expect(line.fs_type == "tmpfs", "the node's own file system")?;
    world.unpublish(&volume.id, &target)?;
    Ok(())
}

fn writable(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("volume", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount_read_only(&volume, &target)?;
    fs::write(target.join("marker"), "x")?;
    Ok(())
}

fn same_handle(world: &mut World) -> Result<(), Failed> {
    let (volume, _) = mounted_volume(world)?;
    let other = world.folder_volume("other", &["vers=4.2"])?;
    let twin = Volume {
        id: volume.id,
        ..other
    };
    let second = world.path("second");
    world.mount(&twin, &second, LONG)?;
    let line = table::at(&second).pop().ok_or("nothing is mounted")?;
    expect(line.source.ends_with("/volume"), "the first one's source")
}

fn two_writers(world: &mut World) -> Result<(), Failed> {
    let mut volume = world.folder_volume("volume", &["vers=4.2"])?;
    volume.capability.access_mode = mode(Access::SingleNodeSingleWriter);
    world.mount(&volume, &world.path("one"), LONG)?;
    world.mount(&volume, &world.path("other"), LONG)?;
    Ok(())
}

fn stacks(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    world.mount(&volume, &target, LONG)?;
    expect(table::at(&target).len() == 2, "two mounts after two calls")
}

fn forgets(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    world.kill();
    world.start()?;
    world.unpublish(&volume.id, &target)?;
    expect(table::at(&target).len() == 1, "OK, and it stays")
}

fn stats_block(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    world.server()?.cut_off()?;
    let answer = world.stats(&volume.id, &target, SHORT);
    expect(answer.is_err(), "no numbers")?;
    let probe = ask!(world, IdentityClient.probe, csi::ProbeRequest {}, SHORT);
    expect(probe.is_err(), "and nothing else is answered")?;
    world.server()?.heal()?;
    world.until("the driver answers again", |world| {
        ask!(world, IdentityClient.probe, csi::ProbeRequest {}).is_ok()
    })
}

fn target_left(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    world.unpublish(&volume.id, &target)?;
    expect(target.is_dir() && table::at(&target).is_empty(), "a folder")
}

fn cover(target: &std::path::Path) -> Result<(), Failed> {
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(target), target, None::<&str>, bind, None::<&str>)?;
    Ok(())
}

fn files_removed(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    fs::write(target.join("marker"), "x")?;
    cover(&target)?;
    world.unpublish(&volume.id, &target)?;
    expect(
        !world.on_server("volume/marker")?.exists(),
        "the file is gone",
    )
}

fn still_mounted(world: &mut World) -> Result<(), Failed> {
    let (volume, target) = mounted_volume(world)?;
    let _holder = fs::File::create(target.join("held"))?;
    world.unpublish(&volume.id, &target)?;
    expect(table::at(&target).len() == 1, "OK, and it stays")
}

fn traversal(world: &mut World) -> Result<(), Failed> {
    let victim = world.on_server("victim")?;
    fs::create_dir_all(&victim)?;
    let path = victim
        .strip_prefix(world.server()?.export())?
        .display()
        .to_string();
    let steps = path.replace("victim", "volume/../victim");
    world.delete(&format!("127.0.0.1#/#{steps}"))?;
    expect(!victim.exists(), "the folder beside it is gone")
}

fn wrong_volume(world: &mut World) -> Result<(), Failed> {
    mounted_volume(world)?;
    let other = world.folder_volume("other", &["vers=4.2"])?;
    let second = world.path("second");
    world.mount(&other, &second, LONG)?;
    let line = table::at(&second).pop().ok_or("nothing is mounted")?;
    expect(line.source.ends_with("/volume"), "the first one's source")
}
