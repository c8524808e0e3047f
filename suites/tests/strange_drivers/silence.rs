//! Drivers that do not answer, answer late, or go away.

use std::sync::Arc;

use csi_harness::check::Outcome;
use libtest_mimic::Trial;

use super::folders::Folders;
use super::server::Answer;
use super::world::{Place, Tested, World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial("silence::one_call_is_never_answered", one_call),
        world.trial("silence::no_call_is_answered", no_call),
        world.trial("silence::each_call_takes_long", each_call_takes_long),
        world.trial("silence::it_dies_in_the_middle", dies),
    ]
}

/// One finding; the rest goes on.
fn one_call(place: &Place) -> Tested {
    let driver = Folders::of(&place.volumes())
        .but(|call| (call.method == "NodeGetInfo").then_some(Answer::Never));
    let said = place.against(driver, "deadlines: {NodeGetInfo: 500ms}")?;
    let message = said.only_fails("driver.answers-every-call")?;
    if !message.contains("NodeGetInfo") || !message.contains("500ms") {
        return Err(format!("what was not answered in time? {message}").into());
    }
    let blocked = said.check("node-get-info.id-is-set")?;
    assert_eq!(blocked.outcome, Outcome::Blocked, "{}", said.told());
    let passed = said.check("get-plugin-info.name-is-valid")?;
    assert_eq!(passed.outcome, Outcome::Pass, "{}", said.told());
    Ok(())
}

/// Only Probe is answered, so that the run begins: it comes to its end.
fn no_call(place: &Place) -> Tested {
    let driver =
        Folders::of(&place.volumes()).but(|call| (call.method != "Probe").then_some(Answer::Never));
    let said = place.against(driver, "deadline: 300ms")?;
    said.only_fails("driver.answers-every-call").map(drop)
}

/// Checks run side by side: the run is far from the sum of its calls.
fn each_call_takes_long(place: &Place) -> Tested {
    const DELAY_MS: u64 = 300;
    let delay = format!("--driver-arg=--call-delay={DELAY_MS}ms");
    // Enough of the suite to tell, and none that has the driver to itself.
    let some = ["node-publish", "node-stage", "node-unstage"];
    let run = ["--driver", "loop", &delay, "--jobs", "8"];
    let said = place.run(&[&run[..], &some].concat(), "")?;
    said.nothing_fails()?;
    let sum = said.report.calls * DELAY_MS;
    println!(
        "{} calls of {DELAY_MS} ms each are {sum} ms; the run took {} ms",
        said.report.calls, said.report.duration_ms
    );
    match sum >= 3 * said.report.duration_ms {
        true => Ok(()),
        false => Err(format!(
            "the calls took {sum} ms one by one, the run {} ms",
            said.report.duration_ms
        )
        .into()),
    }
}

/// Nobody starts it again: one finding that names the call, and the rest is
/// blocked by it.
fn dies(place: &Place) -> Tested {
    std::fs::create_dir(place.volumes().join("a"))?;
    let driver = Folders::of(&place.volumes())
        .but(|call| (call.method == "NodePublishVolume").then_some(Answer::Die));
    let said = place.against(
        driver,
        "driver: {ready_timeout: 1s}\nvolumes: [{id: a, scratch: true}]",
    )?;
    let message = said.only_fails("driver.stays-alive")?;
    if !message.contains("NodePublishVolume") {
        return Err(format!("the call is not named: {message}").into());
    }
    let blocked = said.check("node-publish.volume-id-is-required")?;
    assert_eq!(blocked.outcome, Outcome::Blocked, "{}", said.told());
    let by = blocked.blocked_by.as_deref();
    assert_eq!(by, Some("driver.stays-alive"), "{}", said.told());
    Ok(())
}
