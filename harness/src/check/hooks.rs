//! The user's own commands at a step, for drivers that need an object from
//! elsewhere.

use std::ffi::OsString;

use super::cx::Cx;
use super::stop::Stop;
use crate::config::expand;
use crate::lab::Hook;

/// After `CreateVolume` answered OK.
pub(super) async fn after_create(cx: &Cx, volume_id: &str) -> Result<(), Stop> {
    run(
        cx,
        "after CreateVolume",
        &cx.session.config().hooks.after_create_volume,
        volume_id,
    )
    .await
}

/// Before `NodeStageVolume`.
pub(super) async fn before_stage(cx: &Cx, volume_id: &str) -> Result<(), Stop> {
    run(
        cx,
        "before NodeStageVolume",
        &cx.session.config().hooks.before_node_stage,
        volume_id,
    )
    .await
}

async fn run(cx: &Cx, step: &str, command: &[String], volume_id: &str) -> Result<(), Stop> {
    if command.is_empty() {
        return Ok(());
    }
    let node = cx
        .facts()
        .node_info
        .as_ref()
        .map(|info| info.node_id.clone())
        .unwrap_or_default();
    let name = {
        let claims = cx.claims();
        let volume = claims
            .volumes
            .iter()
            .find(|v| v.id.as_deref() == Some(volume_id));
        volume.and_then(|v| v.name.clone()).unwrap_or_default()
    };
    let values = [
        ("node_id", node.as_str()),
        ("run", cx.session.run_id.as_str()),
        ("volume_id", volume_id),
        ("volume_name", name.as_str()),
    ];
    let words = command
        .iter()
        .map(|word| expand(word, &values).map(OsString::from));
    let command = words
        .collect::<Result<_, _>>()
        .map_err(|e| Stop::ours(step, e))?;
    let hook = Hook {
        step: step.to_owned(),
        command,
        deadline: cx.session.config().deadline,
    };
    // A hook is the user's: that it fails is not the driver's fault.
    hook.run(&[("CSI_VOLUME_ID", volume_id), ("CSI_NODE_ID", &node)])
        .await
        .map(|_| ())
        .map_err(|error| Stop::ours("the user's command", error))
}
