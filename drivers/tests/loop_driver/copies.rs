//! Snapshots, and volumes that are made from something.

use std::fs;

use csi_proto::v1 as csi;
use csi_proto::v1::controller_client::ControllerClient;
use csi_proto::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
use libtest_mimic::Failed;
use tonic::{Code, Status};

use crate::Case;
use crate::requests::{MIB, Volume, attach_request, create_request, mounted};
use crate::world::{World, ask, expect, refused};

pub(crate) static CASES: &[Case] = &[
    Case::honest("copies_ext4", |world| copies(world, "ext4")),
    Case::honest("copies_xfs", |world| copies(world, "xfs")).needing("xfs"),
    Case::honest("copies_btrfs", |world| copies(world, "btrfs")).needing("btrfs"),
    Case::honest("snapshots", snapshots),
];

fn snapshot(world: &World, name: &str, of: &str) -> Result<csi::Snapshot, Status> {
    let request = csi::CreateSnapshotRequest {
        name: name.to_owned(),
        source_volume_id: of.to_owned(),
        ..Default::default()
    };
    let made = ask!(world, ControllerClient.create_snapshot, request)?;
    made.snapshot
        .ok_or_else(|| Status::internal("no snapshot in the answer"))
}

fn delete(world: &World, id: &str) -> Result<(), Status> {
    let request = csi::DeleteSnapshotRequest {
        snapshot_id: id.to_owned(),
        ..Default::default()
    };
    ask!(world, ControllerClient.delete_snapshot, request).map(drop)
}

fn listed(world: &World, id: &str, token: &str) -> Result<csi::ListSnapshotsResponse, Status> {
    let request = csi::ListSnapshotsRequest {
        snapshot_id: id.to_owned(),
        starting_token: token.to_owned(),
        max_entries: 1,
        ..Default::default()
    };
    ask!(world, ControllerClient.list_snapshots, request)
}

fn from_snapshot(id: &str) -> Type {
    Type::Snapshot(SnapshotSource {
        snapshot_id: id.to_owned(),
    })
}

fn from_volume(id: &str) -> Type {
    Type::Volume(VolumeSource {
        volume_id: id.to_owned(),
    })
}

/// A volume with this content, attached.
fn made_from(
    world: &World,
    name: &str,
    fs_type: &str,
    bytes: i64,
    source: Type,
) -> Result<Volume, Status> {
    let capability = mounted(fs_type, &[]);
    let mut request = create_request(name, &capability, bytes);
    request.volume_content_source = Some(csi::VolumeContentSource {
        r#type: Some(source),
    });
    let made = world.create(request.clone())?;
    if made.content_source != request.volume_content_source {
        return Err(Status::internal("another content_source is told of"));
    }
    let attachment = world.attach(attach_request(&made.volume_id, &capability))?;
    Ok(Volume {
        id: made.volume_id,
        capability,
        context: made.volume_context,
        attachment,
    })
}

/// What was written is in a copy, also without fsync(2); a larger one has grown; and
/// all of them are used side by side.
fn copies(world: &mut World, fs_type: &str) -> Result<(), Failed> {
    let size = 320 * MIB;
    let source = world.volume("source", mounted(fs_type, &[]), size)?;
    let staging = world.staging("source")?;
    world.stage(&source, &staging)?;
    fs::write(staging.join("before"), "the cut")?;
    let snapshot = snapshot(world, "snapshot", &source.id)?;
    expect(
        snapshot.size_bytes == size && snapshot.ready_to_use,
        "whole",
    )?;
    fs::write(staging.join("after"), "the cut")?;
    let restored = from_snapshot(&snapshot.snapshot_id);
    let restored = made_from(world, "restored", fs_type, 2 * size, restored)?;
    let clone = made_from(world, "clone", fs_type, size, from_volume(&source.id))?;
    let mut stages = vec![(source, staging)];
    for (volume, name, has_both) in [(restored, "restored", false), (clone, "clone", true)] {
        let staging = world.staging(name)?;
        world.stage(&volume, &staging)?;
        expect(fs::read(staging.join("before"))? == b"the cut", name)?;
        expect(staging.join("after").exists() == has_both, name)?;
        fs::write(staging.join(name), "written to one of them")?;
        stages.push((volume, staging));
    }
    let total =
        |staging| nix::sys::statvfs::statvfs(staging).map(|fs| fs.blocks() * fs.fragment_size());
    let (small, large) = (total(&stages[0].1)?, total(&stages[1].1)?);
    expect(large > small + small / 2, "the larger copy has grown")?;
    expect(!stages[0].1.join("clone").exists(), "they are apart")?;
    delete(world, &snapshot.snapshot_id)?;
    for (volume, staging) in &stages {
        world.unstage(&volume.id, staging)?;
        world.detach(&volume.id, "")?;
        world.delete(&volume.id)?;
    }
    Ok(())
}

fn snapshots(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("one", mounted("", &[]), 64 * MIB)?;
    let other = world.volume("other", mounted("", &[]), 64 * MIB)?;
    let first = snapshot(world, "name", &volume.id)?;
    let again = snapshot(world, "name", &volume.id)?;
    expect(first == again, "one name is one snapshot")?;
    let exists = snapshot(world, "name", &other.id);
    refused(exists, Code::AlreadyExists, "the name with another source")?;
    refused(
        snapshot(world, "", &other.id),
        Code::InvalidArgument,
        "no name",
    )?;
    refused(snapshot(world, "x", ""), Code::InvalidArgument, "no source")?;
    refused(snapshot(world, "x", "vol-00"), Code::NotFound, "no volume")?;
    let second = snapshot(world, "second", &other.id)?;
    let page = listed(world, "", "")?;
    let next = listed(world, "", &page.next_token)?;
    let ids = [&page, &next].map(|page| page.entries[0].snapshot.clone().unwrap_or_default());
    let ids = ids.map(|snapshot| snapshot.snapshot_id);
    expect(
        ids.contains(&first.snapshot_id) && ids.contains(&second.snapshot_id),
        "page by page",
    )?;
    expect(next.next_token.is_empty(), "the last page")?;
    refused(listed(world, "", "x"), Code::Aborted, "no token of ours")?;

    // The snapshot stays when its volume goes, and when the driver is killed.
    world.detach(&volume.id, "")?;
    world.delete(&volume.id)?;
    world.kill();
    world.start()?;
    expect(
        listed(world, &first.snapshot_id, "")?.entries.len() == 1,
        "kept",
    )?;
    let smaller = made_from(world, "r", "", 16 * MIB, from_snapshot(&first.snapshot_id))?;
    let image = world
        .path("state/volumes")
        .join(&smaller.id)
        .join("disk.img");
    expect(
        fs::metadata(image)?.len() == 64 << 20,
        "not smaller than its source",
    )?;
    delete(world, &first.snapshot_id)?;
    delete(world, &first.snapshot_id)?;
    let gone = made_from(world, "s", "", MIB, from_snapshot(&first.snapshot_id));
    refused(gone.map(|_| ()), Code::NotFound, "a source that is gone")?;
    expect(
        listed(world, &first.snapshot_id, "")?.entries.is_empty(),
        "gone",
    )
}
