//! Drivers that show what they were given.

use std::sync::Arc;

use csi_proto::v1;
use libtest_mimic::Trial;
use prost::Message as _;

use super::folders::{Folders, INVALID_ARGUMENT, read};
use super::server::Answer;
use super::world::{Place, Said, Tested, World};

/// Nothing else in a report is like these.
const PLAIN: &str = "canary-7c1e55aa";
const QUOTED: &str = "pass\"word\\of-9d20f1";

const CONFIG: &str = r#"
secrets:
  all: {token: 'canary-7c1e55aa', key: 'pass"word\of-9d20f1'}
checks: {only: [create-volume, node-publish.target-is-mounted, driver]}
volume: {access_types: [mount]}
"#;

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("secrets::in_a_status_message", in_a_message),
        world.trial("secrets::in_a_context", in_a_context),
        world.trial("secrets::with_a_quote_in_a_context", quoted),
        world.trial("secrets::nowhere", nowhere),
        world.trial("secrets::a_word_of_the_paths", in_the_paths),
    ]
}

/// `driver.keeps-secrets` fails, and neither we nor our report do the same.
fn told(said: &Said, others: &[&str]) -> Tested {
    let failed = said
        .red()
        .iter()
        .any(|(_, id)| *id == "driver.keeps-secrets");
    // What repeats a secret repeats a canary too.
    let secrets = ["driver.keeps-canaries", "driver.keeps-secrets"];
    let unrelated = |(_, id): &(_, &str)| !secrets.contains(id) && !others.contains(id);
    if !failed || said.code != Some(1) || said.red().iter().any(unrelated) {
        return Err(format!("driver.keeps-secrets had to fail: {}", said.told()).into());
    }
    hidden(said)
}

fn hidden(said: &Said) -> Tested {
    let json = |secret: &str| {
        let text = serde_json::Value::from(secret).to_string();
        text.trim_matches('"').to_owned()
    };
    for secret in [PLAIN, QUOTED] {
        for form in [secret.to_owned(), json(secret)] {
            for (what, text) in [("output", &said.output), ("report", &said.written)] {
                if text.contains(&form) {
                    return Err(format!("{secret} is in the {what}").into());
                }
            }
        }
    }
    Ok(())
}

fn in_a_message(place: &Place) -> Tested {
    let driver = Folders::creating(&place.volumes()).but(|call| {
        if call.method != "NodePublishVolume" {
            return None;
        }
        let request: v1::NodePublishVolumeRequest = read(call).ok()?;
        let words = format!("cannot log in with {:?}", request.secrets);
        Some(Answer::Refuse(16, words))
    });
    let said = place.against(driver, CONFIG)?;
    told(&said, &["node-publish.target-is-mounted[mount]"])
}

/// A context with what `of` makes of the request's secrets in it.
fn context(place: &Place, key: &'static str) -> Result<Said, Box<dyn std::error::Error>> {
    let folders = Folders::creating(&place.volumes());
    let honest = folders.clone();
    let driver = folders.but(move |call| {
        if call.method != "CreateVolume" {
            return None;
        }
        let request: v1::CreateVolumeRequest = read(call).ok()?;
        let Answer::Ok(message) = honest.answer(call) else {
            return None;
        };
        let mut answer = v1::CreateVolumeResponse::decode(message.as_slice()).ok()?;
        let secret = request.secrets.get(key)?.clone();
        answer
            .volume
            .as_mut()?
            .volume_context
            .insert("login".into(), secret);
        Some(Answer::Ok(answer.encode_to_vec()))
    });
    place.against(driver, CONFIG)
}

fn in_a_context(place: &Place) -> Tested {
    told(&context(place, "token")?, &[])
}

/// In JSON it looks otherwise.
fn quoted(place: &Place) -> Tested {
    told(&context(place, "key")?, &[])
}

/// A driver that keeps them passes, and our own report keeps them too.
fn nowhere(place: &Place) -> Tested {
    let driver = Folders::creating(&place.volumes()).but(|call| {
        // A refusal that tells of no secret.
        (call.method == "NodeGetVolumeStats").then(|| Answer::Refuse(INVALID_ARGUMENT, "no".into()))
    });
    let said = place.against(driver, CONFIG)?;
    said.nothing_fails()?;
    hidden(&said)
}

/// The user that some drivers log in as is called `kubernetes`, and so is a folder above
/// each target.
fn in_the_paths(place: &Place) -> Tested {
    let driver = Folders::creating(&place.volumes()).but(|call| {
        let request: v1::NodePublishVolumeRequest = match call.method.as_str() {
            "NodePublishVolume" => read(call).ok()?,
            _ => return None,
        };
        let words = format!("no volume_capability for {}", request.target_path);
        (request.volume_capability.is_none()).then_some(Answer::Refuse(INVALID_ARGUMENT, words))
    });
    let said = place.against(
        driver,
        "secrets: {all: {userID: kubernetes}}
checks: {only: [node-publish, driver]}
volume: {access_types: [mount]}",
    )?;
    said.nothing_fails()?;
    said.passes("node-publish.capability-is-required")
}
