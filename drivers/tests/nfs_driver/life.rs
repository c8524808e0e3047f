//! The life of a volume where nothing goes wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use csi_proto::v1::volume_capability::access_mode::Mode as Access;
use csi_proto::v1::volume_usage::Unit;
use libtest_mimic::Failed;
use tonic::Code;

use crate::calls::{LONG, Volume, mode, mounted};
use crate::world::{World, expect, refused};
use crate::{Case, Mode, table};

pub(crate) static CASES: &[Case] = &[
    Case::new("v3", |world| life(world, &["vers=3", "nolock"], "vers=3")).only(&[Mode::Direct]),
    Case::new("v4.1", |world| life(world, &["vers=4.1"], "vers=4.1")).only(&[Mode::Staged]),
    Case::new("v4.2", |world| life(world, &["nfsvers=4.2"], "vers=4.2")),
    Case::new("fs_types", fs_types).only(&[Mode::Direct]),
    Case::new("created", created).only(&[Mode::Direct]),
    Case::new("flags", flags),
    Case::new("read_only", read_only),
    Case::new("other_ways", other_ways),
    Case::new("single_writer", single_writer).only(&[Mode::Direct]),
    Case::new("restarted", restarted).only(&[Mode::Staged]),
];

fn life(world: &mut World, flags: &[&str], version: &str) -> Result<(), Failed> {
    let volume = world.folder_volume("life", flags)?;
    let (one, other) = (world.path("one"), world.path("other"));
    world.mount(&volume, &one, LONG)?;
    world.mount(&volume, &other, LONG)?;
    for _ in 0..2 {
        world.mount(&volume, &one, LONG)?;
    }
    let mounts = table::at(&one);
    expect(mounts.len() == 1, "a repeat mounts nothing")?;
    let shown = mounts.iter().any(|line| {
        line.super_options
            .split(',')
            .any(|option| option == version)
            && line.source.ends_with("/life")
    });
    expect(shown, &format!("the version and the folder: {mounts:?}"))?;
    fs::write(one.join("marker"), "x")?;
    expect(
        fs::read(other.join("marker"))? == b"x",
        "both show the same",
    )?;
    expect(
        world.on_server("life/marker")?.exists(),
        "and it is the server's",
    )?;
    let stats = world.stats(&volume.id, &one, LONG)?.usage;
    for unit in [Unit::Bytes, Unit::Inodes] {
        let told = stats
            .iter()
            .any(|usage| usage.unit == unit as i32 && usage.total > 0);
        expect(told, &format!("{unit:?}: {stats:?}"))?;
    }
    expect(world.validate(&volume)?, "it can be used as it is")?;
    world.unpublish(&volume.id, &one)?;
    expect(!one.exists(), "the target is gone")?;
    expect(fs::read(other.join("marker"))? == b"x", "the other stays")?;
    world.unmount(&volume, &other)?;
    world.unmount(&volume, &other)?;
    let stats = world.stats(&volume.id, &one, LONG);
    refused(stats, &[Code::NotFound], "stats of what is gone")?;
    expect(
        world.on_server("life/marker")?.exists(),
        "the data is where it was",
    )
}

fn fs_types(world: &mut World) -> Result<(), Failed> {
    for (fs_type, version) in [("nfs4", "vers=4"), ("nfs", "vers="), ("nfs3", "vers=3")] {
        let flags: &[&str] = if fs_type == "nfs3" { &["nolock"] } else { &[] };
        let mut volume = world.folder_volume("typed", flags)?;
        if fs_type == "nfs3" {
            let share = world.server()?.share("3");
            volume.context.insert("share".to_owned(), share);
        }
        volume.capability = mounted(fs_type, flags);
        let target = world.path(fs_type);
        world.mount(&volume, &target, LONG)?;
        let mounts = table::at(&target);
        let shown = mounts
            .iter()
            .any(|line| line.super_options.contains(version));
        expect(shown, &format!("{fs_type}: {mounts:?}"))?;
        world.unmount(&volume, &target)?;
    }
    Ok(())
}

fn created(world: &mut World) -> Result<(), Failed> {
    let world_name = world
        .folder
        .file_name()
        .ok_or("no name")?
        .display()
        .to_string();
    let create = |name: &str| {
        let sub_dir = format!("{world_name}/{{name}}");
        let parameters = [
            ("server", "127.0.0.1"),
            ("share", "/"),
            ("subDir", &sub_dir),
        ];
        world.create(world.create_request(name, &parameters))
    };
    let (one, other) = (create("one")?, create("../two")?);
    expect(one.volume_id != other.volume_id, "two volumes")?;
    expect(one.capacity_bytes == 1 << 20, "the size that was asked for")?;
    expect(
        create("one")?.volume_id == one.volume_id,
        "a name is a volume",
    )?;
    let folder = world.on_server("one")?;
    let mode = fs::metadata(&folder)?.permissions().mode() & 0o7777;
    expect(mode == 0o777, "everybody may write")?;
    let mut larger = world.create_request("one", &[("server", "127.0.0.1"), ("share", "/")]);
    refused(
        world.create(larger.clone()),
        &[Code::AlreadyExists],
        "another folder",
    )?;
    larger
        .parameters
        .insert("subDir".to_owned(), format!("{world_name}/{{name}}"));
    larger.capacity_range = Some(csi_proto::v1::CapacityRange {
        required_bytes: 2 << 20,
        limit_bytes: 0,
    });
    refused(world.create(larger), &[Code::AlreadyExists], "another size")?;

    let volume = Volume {
        id: one.volume_id.clone(),
        context: one.volume_context,
        capability: mounted("", &["vers=4.2"]),
    };
    let target = world.path("target");
    expect(world.validate(&volume)?, "it can be used")?;
    world.mount(&volume, &target, LONG)?;
    fs::create_dir_all(target.join("deep/deeper"))?;
    fs::write(target.join("deep/marker"), "x")?;
    let answer = world.delete(&volume.id);
    refused(answer, &[Code::FailedPrecondition], "delete in use")?;
    world.unmount(&volume, &target)?;
    for _ in 0..2 {
        world.delete(&volume.id)?;
    }
    expect(!folder.exists(), "the folder is gone")?;
    expect(
        fs::read_dir(folder.parent().ok_or("no parent")?)?.count() == 1,
        "the other volume stays",
    )?;
    let gone = world.mount(&volume, &target, LONG);
    refused(gone, &[Code::NotFound], "a deleted volume")?;
    let gone = world.publish_with(world.publish_request(&volume, &target), LONG);
    refused(gone, &[Code::NotFound], "a deleted volume")?;
    refused(
        world.validate(&volume),
        &[Code::NotFound],
        "a deleted volume",
    )?;
    expect(!target.exists(), "no target is left")?;
    world.delete(&other.volume_id)?;
    expect(
        fs::read_dir(world.path("state/work"))?.count() == 0,
        "no share is left mounted",
    )
}

fn flags(world: &mut World) -> Result<(), Failed> {
    let given = ["vers=4.2", "noexec,nosuid", "noatime", "soft", "timeo=77"];
    let volume = world.folder_volume("flags", &given)?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    let mounts = table::at(&target);
    let line = mounts.last().ok_or("nothing is mounted")?;
    for flag in ["noexec", "nosuid", "noatime"] {
        let shown = line.options.split(',').any(|option| option == flag);
        expect(shown, &format!("{flag}: {line:?}"))?;
    }
    for flag in ["soft", "timeo=77"] {
        let shown = line.super_options.split(',').any(|option| option == flag);
        expect(shown, &format!("{flag}: {line:?}"))?;
    }
    world.mount(&volume, &target, LONG)?;
    let unknown = world.folder_volume("flags", &["vers=4.2", "no-such-flag"])?;
    let answer = world.mount(&unknown, &world.path("other"), LONG);
    // A staging path that carries the volume in another way is told first.
    refused(
        answer,
        &[Code::InvalidArgument, Code::AlreadyExists],
        "an unknown flag",
    )?;
    world.unmount(&volume, &target)?;
    Ok(())
}

fn read_only(world: &mut World) -> Result<(), Failed> {
    let versions: &[&str] = match world.mode {
        Mode::Direct => &["vers=4.2", "vers=3,nolock"],
        Mode::Staged => &["vers=4.2"],
    };
    for version in versions {
        let volume = world.folder_volume("read-only", &[version])?;
        let (reader, writer) = (world.path("reader"), world.path("writer"));
        // The reader first: what it shares with the writer must not keep that from writing.
        world.mount_read_only(&volume, &reader)?;
        expect(fs::write(reader.join("x"), "x").is_err(), "a reader reads")?;
        world.mount(&volume, &writer, LONG)?;
        fs::write(writer.join("marker"), "x")?;
        expect(fs::read(reader.join("marker"))? == b"x", "the same volume")?;
        expect(fs::write(reader.join("x"), "x").is_err(), "a reader reads")?;
        world.mount_read_only(&volume, &reader)?;
        world.unpublish(&volume.id, &reader)?;
        world.mount_read_only(&volume, &reader)?;
        expect(fs::write(reader.join("x"), "x").is_err(), "beside a writer")?;
        fs::write(writer.join("marker"), "y")?;
        world.unpublish(&volume.id, &reader)?;
        world.unmount(&volume, &writer)?;
    }
    Ok(())
}

fn other_ways(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("one", &["vers=4.2"])?;
    let other = world.folder_volume("other", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    let mut readonly = world.publish_request(&volume, &target);
    readonly.readonly = true;
    let exists = &[Code::AlreadyExists];
    refused(world.publish_with(readonly, LONG), exists, "read-only now")?;
    let flagged = Volume {
        capability: mounted("", &["vers=4.2", "nosuid"]),
        ..volume.clone()
    };
    let answer = world.publish_with(world.publish_request(&flagged, &target), LONG);
    refused(answer, exists, "other flags")?;
    let answer = world.publish_with(world.publish_request(&other, &target), LONG);
    refused(answer, exists, "another volume")?;
    world.unpublish(&other.id, &target)?;
    expect(table::at(&target).len() == 1, "the volume is as it was")?;

    // One handle, two contexts: each target shows what its own call asked for.
    let twin = Volume {
        id: volume.id.clone(),
        ..other
    };
    let second = world.path("second");
    let answer = world.mount(&twin, &second, LONG);
    match world.mode {
        // The one staging path carries the first.
        Mode::Staged => refused(answer, exists, "another context")?,
        Mode::Direct => {
            answer?;
            let shown = table::at(&second);
            let right = shown.iter().all(|line| line.source.ends_with("/other"));
            expect(right && shown.len() == 1, &format!("{shown:?}"))?;
            world.unpublish(&twin.id, &second)?;
        }
    }
    world.unmount(&volume, &target)?;
    Ok(())
}

fn single_writer(world: &mut World) -> Result<(), Failed> {
    let mut volume = world.folder_volume("single", &["vers=4.2"])?;
    volume.capability.access_mode = mode(Access::SingleNodeSingleWriter);
    let (one, other) = (world.path("one"), world.path("other"));
    world.mount(&volume, &one, LONG)?;
    world.mount(&volume, &one, LONG)?;
    let answer = world.mount(&volume, &other, LONG);
    refused(answer, &[Code::FailedPrecondition], "a second target")?;
    world.unpublish(&volume.id, &one)?;
    world.mount(&volume, &other, LONG)?;
    world.unmount(&volume, &other)?;
    Ok(())
}

/// What is mounted outlives the driver, and the next one knows it.
fn restarted(world: &mut World) -> Result<(), Failed> {
    let volume = world.folder_volume("kept", &["vers=4.2"])?;
    let target = world.path("target");
    world.mount(&volume, &target, LONG)?;
    world.kill();
    world.start()?;
    world.mount(&volume, &target, LONG)?;
    expect(table::at(&target).len() == 1, "mounted once")?;
    world.kill();
    fs::remove_file(world.path("state/records.json"))?;
    world.start()?;
    world.mount(&volume, &target, LONG)?;
    world.kill();
    fs::remove_file(world.path("state/records.json"))?;
    world.start()?;
    world.unmount(&volume, &target)?;
    expect(
        !target.exists() && table::at(&world.staging(&volume)).is_empty(),
        "without any record, too",
    )
}
