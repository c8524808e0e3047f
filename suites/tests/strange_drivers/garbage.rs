//! Answers that are no answers: each a finding, none a panic.

use std::sync::Arc;

use csi_proto::v1;
use libtest_mimic::Trial;
use prost::Message as _;

use super::folders::Folders;
use super::server::Answer;
use super::world::{Place, Said, Tested, World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("garbage::no_message", no_message),
        world.trial("garbage::far_too_large", far_too_large),
        world.trial("garbage::a_reset_stream", a_reset_stream),
        world.trial("garbage::a_closed_connection", a_closed_connection),
        world.trial("garbage::unknown_fields_are_none", unknown_fields),
    ]
}

/// Answers one method in another way, and says what the run said.
fn with(
    place: &Place,
    method: &'static str,
    other: impl Fn() -> Answer + Send + Sync + 'static,
) -> Result<Said, Box<dyn std::error::Error>> {
    let folders = Folders::of(&place.volumes());
    let driver = folders.but(move |call| (call.method == method).then(&other));
    place.against(driver, "")
}

/// `driver.speaks-csi` is the finding, names the call, and blocks what needs it.
fn speaks_no_csi(said: &Said, words: &[&str]) -> Tested {
    let message = said.only_fails("driver.speaks-csi")?;
    match words.iter().find(|word| !message.contains(**word)) {
        Some(word) => Err(format!("`{word}` is not in {message:?}").into()),
        None if said.report.totals.blocked == 0 => {
            Err(format!("nothing was blocked by it: {}", said.told()).into())
        }
        None => Ok(()),
    }
}

fn no_message(place: &Place) -> Tested {
    let said = with(place, "GetPluginInfo", || Answer::Ok(vec![0xff; 8]))?;
    speaks_no_csi(&said, &["GetPluginInfo"])
}

fn far_too_large(place: &Place) -> Tested {
    let large = v1::NodeGetInfoResponse {
        node_id: "n".repeat(8 << 20),
        ..Default::default()
    };
    let large = large.encode_to_vec();
    let said = with(place, "NodeGetInfo", move || Answer::Ok(large.clone()))?;
    speaks_no_csi(&said, &["NodeGetInfo", "too large"])?;
    match said.written.len() < (4 << 20) {
        true => Ok(()),
        false => Err("the report holds the whole answer".into()),
    }
}

fn a_reset_stream(place: &Place) -> Tested {
    let said = with(place, "NodeGetCapabilities", || Answer::Reset)?;
    speaks_no_csi(&said, &["NodeGetCapabilities"])
}

fn a_closed_connection(place: &Place) -> Tested {
    let said = with(place, "NodeGetInfo", || Answer::HangUp)?;
    speaks_no_csi(&said, &["NodeGetInfo"])
}

/// Fields of a release that is not written yet are no garbage.
fn unknown_fields(place: &Place) -> Tested {
    let mut probe = v1::ProbeResponse { ready: Some(true) }.encode_to_vec();
    // Field 999, two bytes.
    probe.extend([0xba, 0x3e, 2, b'h', b'i']);
    with(place, "Probe", move || Answer::Ok(probe.clone()))?.nothing_fails()
}
