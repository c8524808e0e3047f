//! What needs no server: what the driver says of itself, and what it refuses.

use csi_proto::v1 as csi;
use csi_proto::v1::identity_client::IdentityClient;
use csi_proto::v1::node_client::NodeClient;
use csi_proto::v1::node_service_capability::Type;
use csi_proto::v1::node_service_capability::rpc::Type as Rpc;
use libtest_mimic::Failed;
use tonic::Code;

use crate::calls::{LONG, Volume, block, context, mode, mounted};
use crate::world::{NODE, World, ask, expect, refused};
use crate::{Case, Mode, table};

pub(crate) static CASES: &[Case] = &[
    Case::new("identity", identity).without_nfs(),
    Case::new("refusals", refusals).without_nfs(),
    Case::new("ids_lead_nowhere", ids_lead_nowhere).without_nfs(),
    Case::new("nothing_there", nothing_there).without_nfs(),
    Case::new("restart", restart).without_nfs(),
];

const INVALID: &[Code] = &[Code::InvalidArgument];

fn volume() -> Volume {
    Volume {
        id: "some-volume".to_owned(),
        // Nobody listens there.
        context: context(&[("server", "127.0.0.1"), ("share", "/nowhere")]),
        capability: mounted("", &[]),
    }
}

fn identity(world: &mut World) -> Result<(), Failed> {
    let info = ask!(
        world,
        IdentityClient.get_plugin_info,
        csi::GetPluginInfoRequest {}
    )?;
    expect(info.name == "nfs.csi-conformance.dev", "its name")?;
    let node = ask!(world, NodeClient.node_get_info, csi::NodeGetInfoRequest {})?;
    expect(node.node_id == NODE, "the node's name")?;
    let can = ask!(
        world,
        NodeClient.node_get_capabilities,
        csi::NodeGetCapabilitiesRequest {}
    )?;
    let stages = can.capabilities.iter().any(|capability| {
        matches!(&capability.r#type, Some(Type::Rpc(rpc)) if rpc.r#type == Rpc::StageUnstageVolume as i32)
    });
    expect(stages == (world.mode == Mode::Staged), "stages if told to")?;
    if world.mode == Mode::Direct {
        refused(
            world.stage(&volume(), LONG),
            &[Code::Unimplemented],
            "a stage that is not offered",
        )?;
    }
    Ok(())
}

fn refusals(world: &mut World) -> Result<(), Failed> {
    let target = world.path("target");
    let volume = volume();
    let with = |capability: csi::VolumeCapability| Volume {
        capability,
        ..volume.clone()
    };
    let at = |parts| Volume {
        context: context(parts),
        ..volume.clone()
    };
    for (what, wrong) in [
        ("block", with(block())),
        ("ext4", with(mounted("ext4", &[]))),
        ("bg", with(mounted("nfs", &["vers=3", "bg"]))),
        (
            "bg among others",
            with(mounted("nfs4", &["soft,bg,timeo=10"])),
        ),
        ("remount", with(mounted("", &["remount"]))),
        ("a newline", with(mounted("", &["soft\nbg"]))),
        (
            "no access mode",
            with(csi::VolumeCapability {
                access_mode: None,
                ..mounted("", &[])
            }),
        ),
        ("no context", at(&[])),
        ("no server", at(&[("share", "/x")])),
        ("no share", at(&[("server", "h")])),
        (
            "an option for a server",
            at(&[("server", "-o"), ("share", "/x")]),
        ),
        ("a relative share", at(&[("server", "h"), ("share", "x")])),
        (
            "a share with steps back",
            at(&[("server", "h"), ("share", "/x/../y")]),
        ),
        (
            "steps back",
            at(&[("server", "h"), ("share", "/x"), ("subDir", "../y")]),
        ),
        (
            "an absolute folder",
            at(&[("server", "h"), ("share", "/x"), ("subDir", "/y")]),
        ),
    ] {
        let answer = match world.mode {
            Mode::Direct => world.publish_with(world.publish_request(&wrong, &target), LONG),
            Mode::Staged => world.stage(&wrong, LONG),
        };
        refused(answer, INVALID, what)?;
        let answer = world.publish_with(world.publish_request(&wrong, &target), LONG);
        refused(answer, INVALID, what)?;
    }
    let mut request = world.publish_request(&volume, &target);
    request.volume_capability = None;
    refused(world.publish_with(request, LONG), INVALID, "no capability")?;
    for path in ["", "relative", "/a/../b"] {
        let mut request = world.publish_request(&volume, &target);
        request.target_path = path.to_owned();
        refused(world.publish_with(request, LONG), INVALID, path)?;
    }
    let mut request = world.publish_request(&volume, &target);
    request.volume_id.clear();
    refused(world.publish_with(request, LONG), INVALID, "no volume id")?;
    if world.mode == Mode::Staged {
        let mut request = world.publish_request(&volume, &target);
        request.staging_target_path.clear();
        let answer = world.publish_with(request, LONG);
        refused(answer, &[Code::FailedPrecondition], "no staging path")?;
    }
    expect(!target.exists(), "nothing was made")
}

fn ids_lead_nowhere(world: &mut World) -> Result<(), Failed> {
    for id in [
        "h#/x#../y",
        "h#/x#a/../../y",
        "h#/x#/y",
        "h#x#y",
        "h#/x#",
        "-h#/x#y",
    ] {
        refused(world.delete(id), INVALID, id)?;
    }
    for sub_dir in ["..", "a/../../b", "/etc", "a#b", "."] {
        let parameters = [("server", "h"), ("share", "/x"), ("subDir", sub_dir)];
        let answer = world.create(world.create_request("v", &parameters));
        refused(answer, INVALID, sub_dir)?;
    }
    let unknown = [("server", "h"), ("share", "/x"), ("colour", "red")];
    let answer = world.create(world.create_request("v", &unknown));
    refused(answer, INVALID, "an unknown parameter")?;
    let answer = world.create(world.create_request("v", &[]));
    refused(answer, INVALID, "no parameters")?;
    let mut request = world.create_request("v", &[("server", "h"), ("share", "/x")]);
    request.volume_capabilities = vec![block()];
    refused(world.create(request), INVALID, "a block volume")
}

fn nothing_there(world: &mut World) -> Result<(), Failed> {
    let target = world.path("target");
    world.unpublish("some-volume", &target)?;
    world.delete("some-volume")?;
    if world.mode == Mode::Staged {
        world.unstage(&volume())?;
    }
    let stats = |path| world.stats("some-volume", path, LONG);
    refused(stats(&target), &[Code::NotFound], "stats of nothing")?;
    let folder = world.folder.clone();
    refused(stats(&folder), &[Code::NotFound], "stats of the node's own")?;
    let mut unknown = volume();
    unknown.context.clear();
    refused(
        world.validate(&unknown),
        &[Code::NotFound],
        "an unknown volume",
    )?;
    // What is mounted there is no share: it is left alone.
    std::fs::create_dir(&target)?;
    table::mount_tmpfs(&target)?;
    world.unpublish("some-volume", &target)?;
    expect(table::at(&target).len() == 1, "somebody else's mount stays")?;
    let answer = world.publish_with(world.publish_request(&volume(), &target), LONG);
    refused(answer, &[Code::FailedPrecondition], "an occupied target")?;
    nix::mount::umount(&target)?;
    let mut capability = mounted("nfs", &[]);
    capability.access_mode = mode(csi::volume_capability::access_mode::Mode::SingleNodeWriter);
    expect(
        !world.log().contains(crate::calls::CANARY),
        "no secret is logged",
    )
}

/// A killed driver leaves its socket; the next one takes its place.
fn restart(world: &mut World) -> Result<(), Failed> {
    world.kill();
    expect(world.path("csi.sock").exists(), "the socket is left")?;
    world.start()
}
