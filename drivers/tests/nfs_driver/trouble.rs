//! Servers that are away, silent, or have lost a folder.

use std::fs;
use std::time::Duration;

use csi_proto::v1::node_client::NodeClient;
use libtest_mimic::Failed;
use tonic::Code;

use crate::calls::{LONG, SHORT};
use crate::world::{World, expect, refused};
use crate::{Case, Mode, table};

pub(crate) static CASES: &[Case] = &[
    Case::new("stopped_v3", |world| stopped(world, &["vers=3", "nolock"])).only(&[Mode::Direct]),
    Case::new("stopped_v4", |world| stopped(world, &["vers=4.2"])).only(&[Mode::Staged]),
    Case::new("cancelled", cancelled).only(&[Mode::Direct]),
    Case::new("cut_off", cut_off),
    Case::new("stale", stale).only(&[Mode::Direct]),
    Case::new("in_use", in_use).only(&[Mode::Direct]),
    Case::new("stacked", stacked).only(&[Mode::Staged]),
    Case::new("another_works", another_works).only(&[Mode::Direct]),
];

/// What a call that takes too long may be answered with, by the driver or by its
/// caller's own clock.
const LATE: &[Code] = &[Code::DeadlineExceeded, Code::Unavailable, Code::Cancelled];

/// A mount that fails leaves nothing: no mount, no helper that brings it later.
fn stopped(world: &mut World, flags: &[&str]) -> Result<(), Failed> {
    let volume = world.folder_volume("stopped", flags)?;
    let target = world.path("target");
    world.server()?.stop()?;
    refused(world.mount(&volume, &target, SHORT), LATE, "no server")?;
    world.until("the helper is gone", |world| world.helpers().is_empty())?;
    world.until("the target is gone", |_| !target.exists())?;
    world.server()?.heal()?;
    expect(table::at(&target).is_empty(), "nothing is mounted late")?;
    world.mount(&volume, &target, LONG)?;
    fs::write(target.join("marker"), "x")?;
    world.unmount(&volume, &target)?;
    Ok(())
}

/// A caller that gives up is noticed, long before the time is up.
fn cancelled(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("cancelled", &["vers=4.2"])?;
    let target = world.path("target");
    world.server()?.stop()?;
    let request = world.publish_request(&volume, &target);
    let channel = world.channel();
    let call = world.runtime.spawn(async move {
        let mut client = NodeClient::new(channel?);
        client.node_publish_volume(request).await.map(drop)
    });
    world.until("the helper is at work", |world| !world.helpers().is_empty())?;
    call.abort();
    world.until("the helper is gone", |world| world.helpers().is_empty())?;
    world.until("the target is gone", |_| !target.exists())?;
    world.server()?.heal()?;
    world.until("the volume is free again", |world| {
        world.mount(&volume, &target, LONG).is_ok()
    })?;
    world.unmount(&volume, &target)?;
    Ok(())
}

/// A server that says nothing keeps no call for long, and a volume whose server
/// is back is as it was.
fn cut_off(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("cut-off", &["vers=4.2"])?;
    let (target, second) = (world.path("target"), world.path("second"));
    world.mount(&volume, &target, LONG)?;
    world.mount(&volume, &second, LONG)?;
    fs::write(target.join("marker"), "x")?;
    world.server()?.cut_off()?;
    let silent = &[Code::Unavailable];
    refused(world.stats(&volume.id, &target, LONG), silent, "stats")?;
    let again = world.publish_request(&volume, &target);
    refused(world.publish_with(again, LONG), silent, "a repeat")?;
    // Of two mounts of one share, one needs no word with the server to go.
    world.unpublish(&volume.id, &second)?;
    expect(!second.exists(), "unpublished while the server is silent")?;
    world.server()?.heal()?;
    world.until("the server answers", |world| {
        world.stats(&volume.id, &target, LONG).is_ok()
    })?;
    world.mount(&volume, &target, LONG)?;
    expect(fs::read(target.join("marker"))? == b"x", "it is as it was")?;
    world.server()?.cut_off()?;
    // Whatever the answer is, it comes; and after the server is back, it is OK.
    let _ = world.unmount(&volume, &target);
    world.server()?.heal()?;
    world.until("it can be unmounted", |world| {
        world.unmount(&volume, &target).is_ok()
    })?;
    let state = fs::read_to_string(format!("/proc/{}/status", world.pid()))?;
    expect(!state.contains("State:\tD"), "the driver is not stuck")
}

/// A folder that is gone from the server cannot be used, and can be unmounted.
/// (Of NFS 3, knfsd goes on to serve such a folder while anybody has it.)
fn stale(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("stale", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    fs::remove_dir(world.on_server("stale")?)?;
    let stats = world.stats(&volume.id, &target, LONG);
    refused(stats, &[Code::Unavailable], "stats of a lost folder")?;
    let again = world.mount(&volume, &target, LONG);
    refused(again, &[Code::NotFound], "a lost folder")?;
    fs::create_dir(world.on_server("stale")?)?;
    world.mount(&volume, &target, LONG)?;
    fs::write(target.join("marker"), "x")?;
    expect(
        world.on_server("stale/marker")?.exists(),
        "the new folder is mounted",
    )?;
    fs::remove_dir_all(world.on_server("stale")?)?;
    world.unmount(&volume, &target)?;
    expect(!target.exists(), "unpublished all the same")
}

/// What is in use stays, and says so.
fn in_use(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("in-use", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    let holder = fs::File::create(target.join("held"))?;
    let answer = world.unpublish(&volume.id, &target);
    refused(answer, &[Code::FailedPrecondition], "in use")?;
    expect(table::at(&target).len() == 1, "it stays")?;
    drop(holder);
    world.unmount(&volume, &target)?;
    expect(!target.exists(), "it is gone")
}

/// Every mount at the target goes, and nothing of the volume with it.
fn stacked(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("stacked", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    fs::write(target.join("marker"), "x")?;
    let bind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(&target), &target, None::<&str>, bind, None::<&str>)?;
    expect(table::at(&target).len() == 2, "two are there")?;
    world.unmount(&volume, &target)?;
    expect(!target.exists(), "both are gone")?;
    expect(world.on_server("stacked/marker")?.exists(), "no file is")
}

/// While one volume waits for its server, others are served.
fn another_works(world: &mut World) -> Result<(), Failed> {
    let mut waits = world.folder_volume("waits", &["vers=4.2"])?;
    // Somebody listens there, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port();
    waits.capability = crate::calls::mounted("", &["vers=4.2", &format!("port={port}")]);
    let works = world.folder_volume("works", &["vers=4.2"])?;
    let target = world.path("target");
    let request = world.publish_request(&waits, &world.path("waiting"));
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(50));
    let channel = world.channel();
    let waiting = world.runtime.spawn(async move {
        let mut client = NodeClient::new(channel?);
        client.node_publish_volume(request).await.map(drop)
    });
    world.until("the first waits", |world| !world.helpers().is_empty())?;
    world.mount(&works, &target, LONG)?;
    world.stats(&works.id, &target, LONG)?;
    world.unmount(&works, &target)?;
    expect(!waiting.is_finished(), "all the while, the first waits")?;
    waiting.abort();
    world.until("the helper is gone", |world| world.helpers().is_empty())
}
