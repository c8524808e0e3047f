//! What is odd and not wrong: at most a warning.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use csi_harness::check::{Outcome, Settled};
use csi_harness::node::MountTable;
use csi_proto::v1;
use csi_proto::v1::node_service_capability as node;
use csi_proto::v1::plugin_capability::service::Type::ControllerService;
use csi_proto::v1::volume_capability::AccessType;
use csi_proto::v1::volume_capability::access_mode::Mode;
use libtest_mimic::Trial;
use prost::Message;

use super::folders::{Folders, INTERNAL, INVALID_ARGUMENT, read, service};
use super::server::Answer;
use super::world::{Place, Said, Tested, World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("odd::capabilities_that_say_nothing", empty),
        world.trial("odd::capabilities_of_a_later_release", later),
        world.trial("odd::the_same_capability_twice", twice),
        world.trial("odd::no_version", no_version),
        world.trial("odd::probe_without_ready", probe_without_ready),
        world.trial("odd::refusals_with_details_and_no_words", no_words),
        world.trial("odd::no_block_volumes", no_block_volumes),
        world.trial("odd::file_systems_are_made_by_writers", writers_first),
        world.trial("odd::a_lost_mount_cannot_be_unpublished", lost_for_good),
        world.trial(
            "odd::a_refused_publish_leaves_its_target",
            target_of_a_refusal,
        ),
        world.trial(
            "statics::a_volume_that_is_published_read_only_alone",
            read_only_alone,
        ),
        world.trial("statics::bind_mounts_of_volumes_that_are_there", statics),
        world.trial("statics::a_volume_that_is_only_read", only_read),
        world.trial("statics::volumes_that_live_with_one_pod", inline),
    ]
}

fn with(place: &Place, answers: Vec<(&'static str, Vec<u8>)>) -> Result<Said, Box<dyn Error>> {
    let driver = Folders::creating(&place.volumes()).but(move |call| {
        let other = answers.iter().find(|(method, _)| *method == call.method);
        other.map(|(_, message)| Answer::Ok(message.clone()))
    });
    let said = place.against(
        driver,
        "checks: {only: [get-plugin, probe, node-get, driver]}",
    )?;
    said.nothing_fails()?;
    Ok(said)
}

fn plugin(numbers: &[i32]) -> Vec<u8> {
    let capabilities = numbers.iter().map(|number| service(*number)).collect();
    v1::GetPluginCapabilitiesResponse { capabilities }.encode_to_vec()
}

fn node(numbers: &[i32]) -> Vec<u8> {
    let capability = |number: &i32| v1::NodeServiceCapability {
        r#type: Some(node::Type::Rpc(node::Rpc { r#type: *number })),
    };
    let capabilities = numbers.iter().map(capability).collect();
    v1::NodeGetCapabilitiesResponse { capabilities }.encode_to_vec()
}

/// A warning of this check, and of no other.
fn warns(said: &Said, ids: &[&str]) -> Tested {
    let red = said.red();
    let due: Vec<_> = ids.iter().map(|id| (Outcome::Warn, *id)).collect();
    match red == due {
        true => Ok(()),
        false => Err(format!("{ids:?} had to warn: {}", said.told()).into()),
    }
}

fn empty(place: &Place) -> Tested {
    let controller = ControllerService as i32;
    let mut nothing =
        v1::GetPluginCapabilitiesResponse::decode(plugin(&[0, controller]).as_slice())?;
    nothing.capabilities.push(v1::PluginCapability::default());
    let nothing = nothing.encode_to_vec();
    let said = with(
        place,
        vec![
            ("GetPluginCapabilities", nothing),
            ("NodeGetCapabilities", node(&[0])),
        ],
    )?;
    let ids = said.red();
    match ids
        .iter()
        .any(|(_, id)| *id == "get-plugin-capabilities.entries-say-something")
    {
        true => Ok(()),
        false => Err(format!("an empty entry is worth a warning: {}", said.told()).into()),
    }
}

fn later(place: &Place) -> Tested {
    let controller = ControllerService as i32;
    let said = with(
        place,
        vec![
            ("GetPluginCapabilities", plugin(&[controller, 99])),
            ("NodeGetCapabilities", node(&[99])),
        ],
    )?;
    let known = said.report.driver.capabilities.get("plugin");
    assert!(
        known.is_some_and(|known| known.contains(&"(99)".to_owned())),
        "{known:?}"
    );
    warns(&said, &[])
}

fn twice(place: &Place) -> Tested {
    let controller = ControllerService as i32;
    with(
        place,
        vec![("GetPluginCapabilities", plugin(&[controller, controller]))],
    )
    .map(drop)
}

fn no_version(place: &Place) -> Tested {
    let info = v1::GetPluginInfoResponse {
        name: "folders.test".into(),
        ..Default::default()
    };
    let said = with(place, vec![("GetPluginInfo", info.encode_to_vec())])?;
    warns(&said, &["get-plugin-info.version-is-set"])
}

fn probe_without_ready(place: &Place) -> Tested {
    let probe = v1::ProbeResponse { ready: None }.encode_to_vec();
    warns(&with(place, vec![("Probe", probe)])?, &[])
}

/// `grpc-status-details-bin` holds what some libraries put into it; there is no
/// message beside it.
fn no_words(place: &Place) -> Tested {
    let folders = Folders::creating(&place.volumes());
    let honest = folders.clone();
    let driver = folders.but(move |call| match honest.answer(call) {
        Answer::Refuse(INVALID_ARGUMENT, _) => Some(Answer::Details(INVALID_ARGUMENT, "CAMSAA")),
        _ => None,
    });
    let said = place.against(
        driver,
        "checks: {only: [is-required, driver]}\nvolume: {access_types: [mount]}",
    )?;
    // That a refusal has words is a MUST of the specification; the codes count
    // all the same.
    said.only_fails("driver.explains-refusals").map(drop)
}

/// A volume for block access is refused when it is created: none comes of that.
fn no_block_volumes(place: &Place) -> Tested {
    let driver = Folders::creating(&place.volumes()).but(|call| {
        let request: v1::CreateVolumeRequest = match call.method.as_str() {
            "CreateVolume" => read(call).ok()?,
            _ => return None,
        };
        let is_block = |capability: &v1::VolumeCapability| {
            matches!(capability.access_type, Some(AccessType::Block(_)))
        };
        let refused = request.volume_capabilities.iter().any(is_block);
        refused.then(|| Answer::Refuse(INVALID_ARGUMENT, "volumes are folders".into()))
    });
    let said = place.against(driver, "checks: {only: [makes-one, driver]}")?;
    said.nothing_fails()?;
    said.passes("at-once.create-makes-one")
}

/// Such as certificates: whoever wants to write is refused.
fn read_only_alone(place: &Place) -> Tested {
    std::fs::create_dir(place.volumes().join("a"))?;
    let driver = Folders::of(&place.volumes()).but(|call| {
        let request: v1::NodePublishVolumeRequest = match call.method.as_str() {
            "NodePublishVolume" => read(call).ok()?,
            _ => return None,
        };
        // What is missing in a request is told first.
        let whole = request.volume_capability.is_some()
            && !request.volume_id.is_empty()
            && !request.target_path.is_empty();
        (whole && !request.readonly)
            .then(|| Answer::Refuse(INVALID_ARGUMENT, "readonly is required".into()))
    });
    let said = place.against(
        driver,
        "volume: {access_types: [mount]}\nvolumes: [{id: a, read_only: true}]",
    )?;
    said.nothing_fails()?;
    said.passes("node-publish.target-is-mounted")
}

const STATICS: &str = "
volume: {access_types: [mount], access_modes: [SINGLE_NODE_WRITER]}
volumes:
- {id: a, scratch: true}
- {id: b, scratch: true}
- {id: c, scratch: true}
";

/// A node service alone, with volumes that others made; a second unpublish is
/// NOT_FOUND there.
fn statics(place: &Place) -> Tested {
    for volume in ["a", "b", "c"] {
        std::fs::create_dir(place.volumes().join(volume))?;
    }
    let said = place.against(Folders::of(&place.volumes()).honest(), STATICS)?;
    said.nothing_fails()?;
    let mounted = said
        .report
        .checks
        .iter()
        .filter(|check| check.id.starts_with("node-publish") && check.outcome == Outcome::Pass);
    if mounted.count() < 10 {
        return Err(format!("too little was published: {}", said.told()).into());
    }
    // Checks run side by side, and wait for one another's volumes.
    let lacks = |check: &&Settled| check.message.starts_with("one more volume");
    match said.report.checks.iter().find(lacks) {
        None => Ok(()),
        Some(check) => Err(format!("{} had no volume: {}", check.id, said.told()).into()),
    }
}

/// Nothing is written to what is not marked as `scratch`.
fn only_read(place: &Place) -> Tested {
    let volume = place.volumes().join("a");
    std::fs::create_dir(&volume)?;
    std::fs::write(volume.join("of-the-user"), "kept")?;
    let said = place.against(
        Folders::of(&place.volumes()).honest(),
        "volume: {access_types: [mount]}\nvolumes: [{id: a}]",
    )?;
    said.nothing_fails()?;
    let there: Vec<_> = std::fs::read_dir(&volume)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert_eq!(there, ["of-the-user"]);
    assert_eq!(std::fs::read_to_string(volume.join("of-the-user"))?, "kept");
    Ok(())
}

/// An inline volume is made by its publish and goes with its unpublish: a second target,
/// which no kubelet asks for, loses it with the first.
fn inline(place: &Place) -> Tested {
    let volumes = place.volumes();
    let folders = Folders::of(&volumes);
    let honest = folders.clone();
    let driver = folders.but(move |call| match call.method.as_str() {
        "NodePublishVolume" => {
            let request: v1::NodePublishVolumeRequest = read(call).ok()?;
            let given = !request.volume_id.is_empty() && request.volume_capability.is_some();
            if given && !request.target_path.is_empty() {
                std::fs::create_dir_all(volumes.join(&request.volume_id)).ok()?;
            }
            None
        }
        "NodeUnpublishVolume" => {
            let request: v1::NodeUnpublishVolumeRequest = read(call).ok()?;
            let answer = honest.answer(call);
            let gone = matches!(answer, Answer::Ok(_)) && !request.volume_id.is_empty();
            if gone {
                // Nothing is mounted in here.
                std::fs::remove_dir_all(volumes.join(&request.volume_id)).ok()?;
            }
            Some(answer)
        }
        _ => None,
    });
    let said = place.against(
        driver,
        "volume: {access_types: [mount]}
volumes:
- id: 'inline-${n}'
  context: {csi.storage.k8s.io/ephemeral: 'true'}
  scratch: true",
    )?;
    said.nothing_fails()?;
    said.passes("node-publish.target-is-mounted")
}

/// Who makes a file system when it publishes cannot do so where nothing may be written.
fn writers_first(place: &Place) -> Tested {
    let made = Mutex::new(BTreeSet::new());
    let driver = Folders::creating(&place.volumes()).but(move |call| {
        let request: v1::NodePublishVolumeRequest = match call.method.as_str() {
            "NodePublishVolume" => read(call).ok()?,
            _ => return None,
        };
        let mode = request.volume_capability.as_ref()?.access_mode.as_ref()?;
        let reads = request.readonly || mode.mode == Mode::SingleNodeReaderOnly as i32;
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        if reads && !request.volume_id.is_empty() && !made.contains(&request.volume_id) {
            let words = "cannot mount unformatted disk as it is to be read only";
            return Some(Answer::Refuse(INTERNAL, words.into()));
        }
        made.insert(request.volume_id);
        None
    });
    let said = place.against(
        driver,
        "checks: {only: [node-publish.read-only, node-publish.access-mode]}
volume: {access_types: [mount], access_modes: [SINGLE_NODE_WRITER, SINGLE_NODE_READER_ONLY]}",
    )?;
    said.nothing_fails()?;
    said.passes("node-publish.read-only-takes-no-write")?;
    said.passes("node-publish.read-only-stays")
}

/// The target is made first, and the volume looked for then. What stays of that, a kubelet
/// removes; and what is not published cannot be unpublished here.
fn target_of_a_refusal(place: &Place) -> Tested {
    let volumes = place.volumes();
    let driver = Folders::creating(&volumes).but(move |call| {
        let request: v1::NodePublishVolumeRequest = match call.method.as_str() {
            "NodePublishVolume" => read(call).ok()?,
            _ => return None,
        };
        let is_gone = !request.volume_id.is_empty() && !volumes.join(&request.volume_id).exists();
        if is_gone && !request.target_path.is_empty() {
            std::fs::create_dir_all(&request.target_path).ok()?;
        }
        None
    });
    let said = place.against(
        driver,
        "checks: {only: [delete-volume.data-is-gone]}\nvolume: {access_types: [mount]}",
    )?;
    said.nothing_fails()?;
    said.passes("delete-volume.data-is-gone")
}

/// Who cannot unpublish what is not mounted any more is told so once.
fn lost_for_good(place: &Place) -> Tested {
    let driver = Folders::creating(&place.volumes()).but(|call| {
        let request: v1::NodeUnpublishVolumeRequest = match call.method.as_str() {
            "NodeUnpublishVolume" => read(call).ok()?,
            _ => return None,
        };
        let mounts = MountTable::ours().ok()?;
        let is_bare = mounts.at(Path::new(&request.target_path)).is_empty();
        is_bare.then(|| Answer::Refuse(INTERNAL, "umount: not mounted".into()))
    });
    let said = place.against(
        driver,
        "checks: {only: [driver.leaves, mount-lost]}
volume: {access_types: [mount]}
allow: [hang]",
    )?;
    said.fails("mount-lost.is-undone-all-the-same[mount]")
}
