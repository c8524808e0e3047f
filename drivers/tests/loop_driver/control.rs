//! The controller's answers, and what is refused.

use csi_proto::v1 as csi;
use libtest_mimic::Failed;
use tonic::Code;

use crate::Case;
use crate::requests::{MIB, attach_request, block, create_request, mode, mounted};
use crate::world::{NODE, World, expect, refused};
use csi_proto::v1::volume_capability::access_mode::Mode;

pub(crate) static CASES: &[Case] = &[
    Case::honest("create", create),
    Case::honest("sizes", sizes),
    Case::honest("publish_to_the_node", controller_publish),
    Case::honest("paging", paging),
    Case::honest("arguments", arguments),
    Case::honest("at_once", at_once),
    Case::honest("secrets_are_not_logged", secrets),
];

fn create(world: &mut World) -> Result<(), Failed> {
    let capability = mounted("ext4", &[]);
    let request = create_request("one", &capability, 64 * MIB);
    let first = world.create(request.clone())?;
    expect(
        world.create(request.clone())? == first,
        "a repeat finds the same volume",
    )?;
    let smaller = create_request("one", &capability, MIB);
    expect(
        world.create(smaller)?.volume_id == first.volume_id,
        "a compatible repeat",
    )?;

    let larger = create_request("one", &capability, 65 * MIB);
    refused(world.create(larger), Code::AlreadyExists, "another size")?;
    refused(
        world.create(create_request("one", &block(), MIB)),
        Code::AlreadyExists,
        "another use",
    )?;
    let mut parameters = request.clone();
    parameters
        .parameters
        .insert("fsType".to_owned(), "ext4".to_owned());
    refused(
        world.create(parameters),
        Code::AlreadyExists,
        "other parameters",
    )?;

    for name in ["..", "a/b", "-x", "snow \u{2603}"] {
        let made = world.create(create_request(name, &capability, MIB))?;
        world.delete(&made.volume_id)?;
    }
    let bad = |change: fn(&mut csi::CreateVolumeRequest)| {
        let mut request = create_request("bad", &capability, MIB);
        change(&mut request);
        refused(
            world.create(request),
            Code::InvalidArgument,
            "a bad request",
        )
    };
    bad(|request| request.name.clear())?;
    bad(|request| request.name = "n".repeat(129))?;
    bad(|request| request.volume_capabilities.clear())?;
    bad(|request| request.volume_capabilities = vec![mounted("ntfs", &[])])?;
    bad(|request| request.volume_capabilities = vec![csi::VolumeCapability::default()])?;
    bad(|request| request.volume_content_source = Some(csi::VolumeContentSource::default()))?;
    bad(|request| {
        drop(
            request
                .parameters
                .insert("no-such".to_owned(), "x".to_owned()),
        )
    })?;
    bad(|request| {
        drop(
            request
                .mutable_parameters
                .insert("no-such".to_owned(), "x".to_owned()),
        )
    })?;
    bad(|request| request.accessibility_requirements = Some(csi::TopologyRequirement::default()))?;

    world.delete(&first.volume_id)?;
    world.delete(&first.volume_id)?;
    world.delete("../../etc")?;
    Ok(())
}

fn sizes(world: &mut World) -> Result<(), Failed> {
    let sized = |name: &str, required_bytes, limit_bytes| {
        let mut request = create_request(name, &block(), 0);
        request.capacity_range = Some(csi::CapacityRange {
            required_bytes,
            limit_bytes,
        });
        world.create(request).map(|volume| volume.capacity_bytes)
    };
    expect(sized("odd", MIB + 1, 0)? == 2 * MIB, "rounded up")?;
    expect(
        sized("limited", 0, 3 * MIB + 5)? == 3 * MIB,
        "within the limit",
    )?;
    refused(
        sized("narrow", MIB + 1, MIB + 2),
        Code::OutOfRange,
        "no size lies in between",
    )?;
    refused(
        sized("upside-down", 2 * MIB, MIB),
        Code::OutOfRange,
        "upside down",
    )?;
    refused(sized("negative", -1, 0), Code::InvalidArgument, "negative")?;
    refused(sized("empty", 0, 0), Code::InvalidArgument, "empty")?;
    let largest = world.capacity()?.maximum_volume_size.ok_or("no maximum")?;
    expect(
        sized("largest", largest, 0)? == largest,
        "the largest there is",
    )?;
    refused(
        sized("too large", largest + 1, 0),
        Code::OutOfRange,
        "larger than that",
    )
}

fn controller_publish(world: &mut World) -> Result<(), Failed> {
    let capability = mounted("", &[]);
    let id = world
        .create(create_request("one", &capability, MIB))?
        .volume_id;
    let request = attach_request(&id, &capability);
    let first = world.attach(request.clone())?;
    expect(!first.is_empty(), "the node is told something")?;
    expect(
        world.attach(request.clone())? == first,
        "and the same again",
    )?;
    let listed = world
        .list(0, "")?
        .entries
        .pop()
        .and_then(|entry| entry.status);
    let nodes = listed.map(|status| status.published_node_ids);
    expect(nodes == Some(vec![NODE.to_owned()]), "listed as published")?;

    let with = |change: fn(&mut csi::ControllerPublishVolumeRequest)| {
        let mut request = request.clone();
        change(&mut request);
        world.attach(request)
    };
    refused(
        with(|request| request.readonly = true),
        Code::AlreadyExists,
        "read-only",
    )?;
    let other = with(|request| request.volume_id = "vol-00".to_owned());
    refused(other, Code::NotFound, "an unknown volume")?;
    refused(
        with(|request| request.node_id = "x".to_owned()),
        Code::NotFound,
        "an unknown node",
    )?;
    refused(
        with(|request| request.node_id.clear()),
        Code::InvalidArgument,
        "no node",
    )?;
    refused(
        with(|request| request.volume_capability = None),
        Code::InvalidArgument,
        "no use",
    )?;
    refused(
        world.delete(&id),
        Code::FailedPrecondition,
        "delete while published",
    )?;
    world.detach(&id, "another")?;
    refused(
        world.delete(&id),
        Code::FailedPrecondition,
        "still published here",
    )?;
    world.detach(&id, NODE)?;
    world.detach(&id, NODE)?;
    world.delete(&id)?;
    Ok(())
}

fn paging(world: &mut World) -> Result<(), Failed> {
    let mut made = Vec::new();
    for number in 0..5 {
        let request = create_request(&format!("volume {number}"), &block(), MIB);
        made.push(world.create(request)?.volume_id);
    }
    made.sort();
    for page in 1..=6 {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let answer = world.list(page, &token)?;
            expect(
                answer.entries.len() <= usize::try_from(page)?,
                "no more than asked for",
            )?;
            let volumes = answer.entries.into_iter().filter_map(|entry| entry.volume);
            found.extend(volumes.map(|volume| volume.volume_id));
            token = answer.next_token;
            if token.is_empty() {
                break;
            }
        }
        expect(found == made, "every volume once")?;
    }
    refused(
        world.list(0, "no such token"),
        Code::Aborted,
        "a token that is none",
    )?;
    refused(world.list(-1, ""), Code::InvalidArgument, "a negative page")
}

fn arguments(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("args", mounted("ext4", &[]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    let stage = |change: fn(&mut csi::NodeStageVolumeRequest)| {
        let mut request = world.stage_request(&volume, &staging);
        change(&mut request);
        world.stage_with(request)
    };
    let invalid = Code::InvalidArgument;
    refused(stage(|q| q.volume_id.clear()), invalid, "stage: no volume")?;
    refused(
        stage(|q| q.staging_target_path.clear()),
        invalid,
        "stage: no path",
    )?;
    refused(
        stage(|q| q.staging_target_path = "relative".to_owned()),
        invalid,
        "stage: relative",
    )?;
    refused(
        stage(|q| q.volume_capability = None),
        invalid,
        "stage: no capability",
    )?;
    refused(
        stage(|q| q.volume_id = "vol-00".to_owned()),
        Code::NotFound,
        "stage: unknown",
    )?;
    let block_access = stage(|q| q.volume_capability = Some(block()));
    refused(
        block_access,
        Code::FailedPrecondition,
        "stage: block access",
    )?;
    let foreign = stage(|q| drop(q.volume_context.insert("access".to_owned(), "x".to_owned())));
    refused(foreign, invalid, "stage: a context of another volume")?;
    let alone = stage(|q| q.publish_context.clear());
    refused(
        alone,
        Code::FailedPrecondition,
        "stage: without a publication",
    )?;

    world.stage(&volume, &staging)?;
    let publish = |change: fn(&mut csi::NodePublishVolumeRequest)| {
        let mut request = world.publish_request(&volume, &staging, &target, false);
        change(&mut request);
        world.publish_with(request)
    };
    refused(
        publish(|q| q.volume_id.clear()),
        invalid,
        "publish: no volume",
    )?;
    refused(
        publish(|q| q.target_path.clear()),
        invalid,
        "publish: no target",
    )?;
    refused(
        publish(|q| q.target_path.push_str("/../x")),
        invalid,
        "publish: a step back",
    )?;
    refused(
        publish(|q| q.volume_capability = None),
        invalid,
        "publish: no capability",
    )?;
    let unset = publish(|q| q.staging_target_path.clear());
    refused(unset, Code::FailedPrecondition, "publish: no staging path")?;
    let elsewhere = publish(|q| q.staging_target_path.push_str("-not"));
    refused(
        elsewhere,
        Code::FailedPrecondition,
        "publish: not staged there",
    )?;
    refused(
        publish(|q| q.volume_id = "vol-00".to_owned()),
        Code::NotFound,
        "publish: unknown",
    )?;
    expect(!target.exists(), "nothing was made")?;

    refused(
        world.unpublish("", &target),
        invalid,
        "unpublish: no volume",
    )?;
    refused(world.unstage("", &staging), invalid, "unstage: no volume")?;
    refused(
        world.stats("vol-00", &staging),
        Code::NotFound,
        "stats: unknown",
    )?;
    refused(
        world.node_grow(&volume, &target),
        Code::NotFound,
        "expand: not there",
    )?;
    refused(
        world.modify(),
        Code::Unimplemented,
        "a call that is not offered",
    )?;
    expect(
        !world.validate(&volume, block())?,
        "block access is not confirmed",
    )?;
    let mut many = mounted("ext4", &[]);
    many.access_mode = mode(Mode::MultiNodeMultiWriter);
    expect(
        !world.validate(&volume, many)?,
        "several nodes are not confirmed",
    )?;
    expect(
        world.validate(&volume, mounted("ext4", &[]))?,
        "its own use is confirmed",
    )?;
    let info = world.node_info()?;
    expect(
        info.node_id == NODE && info.max_volumes_per_node > 0,
        "the node",
    )?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn at_once(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("at once", mounted("ext4", &[]), 64 * MIB)?;
    let staging = world.staging("staging")?;
    let answers = world.stage_twice(&volume, &staging);
    expect(answers.iter().any(Result::is_ok), "one of the two succeeds")?;
    for answer in answers {
        if answer.is_err() {
            refused(answer, Code::Aborted, "the other of two stages")?;
        }
    }
    expect(crate::scratch::mounts_at(&staging).len() == 1, "one mount")?;
    expect(
        crate::scratch::loops_below(&world.folder).len() == 1,
        "one device",
    )?;
    world.unstage(&volume.id, &staging)?;
    Ok(())
}

fn secrets(world: &mut World) -> Result<(), Failed> {
    let volume = world.volume("secret", mounted("", &["no-such-flag=canary"]), 64 * MIB)?;
    let (staging, target) = (world.staging("staging")?, world.path("target"));
    let refusal = world.stage(&volume, &staging);
    expect(
        !format!("{refusal:?}").contains("canary"),
        "the answer tells no flag",
    )?;
    refused(refusal, Code::InvalidArgument, "an unknown flag")?;
    let staged = world.publish(&volume, &staging, &target, false);
    refused(staged, Code::FailedPrecondition, "not staged")?;
    let log = world.log();
    expect(
        log.contains("NodeStageVolume") && !log.contains("canary"),
        "the log tells no secret",
    )
}
