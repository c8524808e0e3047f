//! `NodeGetInfo`, `NodeGetCapabilities`.

use csi_harness::check;
use csi_harness::check::{Asked, Check, Checked, Cx, Need, Stop};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ENTRIES_SAY_SOMETHING,
    &OFFERED_IS_SERVED,
    &NOT_OFFERED_IS_REFUSED,
    &ID_IS_SET,
    &LIMIT_IS_NOT_NEGATIVE,
    &SAME_INFO,
];

check! {
    /// Every node capability says what it is.
    ///
    /// An entry with nothing in it, or with the value UNKNOWN, announces nothing
    /// that a caller could use. Values of later releases are fine.
    ENTRIES_SAY_SOMETHING = "node-get-capabilities.entries-say-something",
    clauses: [spec::NODE_CAPS_KNOWN_VALUES],
    needs: Need::NodeService,
    volumes: 0, calls: 1,
    run: entries_say_something,
}

async fn entries_say_something(cx: &Cx) -> Checked {
    use v1::node_service_capability::Type;
    let request = v1::NodeGetCapabilitiesRequest {};
    let said = cx
        .ask::<rpc::NodeGetCapabilities>(&request)
        .await?
        .ok()?
        .capabilities;
    let says_nothing = |c: &&v1::NodeServiceCapability| match &c.r#type {
        None => true,
        Some(Type::Rpc(rpc)) => rpc.r#type == 0,
    };
    match said.iter().filter(says_nothing).count() {
        0 => Ok(()),
        empty => Err(Stop::Warn(format!(
            "{empty} of the node's capabilities are UNKNOWN or empty"
        ))),
    }
}

/// What each optional node RPC answers to an empty request.
async fn optional_rpcs(cx: &Cx) -> Result<Vec<(NodeRpc, &'static str, Option<Code>)>, Stop> {
    fn code<T>(asked: &Asked<T>) -> Option<Code> {
        asked.refusal().map(|refusal| refusal.code)
    }
    use NodeRpc::{ExpandVolume, GetVolumeStats, StageUnstageVolume};
    Ok(vec![
        (
            StageUnstageVolume,
            "NodeStageVolume",
            code(&cx.ask::<rpc::NodeStageVolume>(&Default::default()).await?),
        ),
        (
            StageUnstageVolume,
            "NodeUnstageVolume",
            code(
                &cx.ask::<rpc::NodeUnstageVolume>(&Default::default())
                    .await?,
            ),
        ),
        (
            GetVolumeStats,
            "NodeGetVolumeStats",
            code(
                &cx.ask::<rpc::NodeGetVolumeStats>(&Default::default())
                    .await?,
            ),
        ),
        (
            ExpandVolume,
            "NodeExpandVolume",
            code(&cx.ask::<rpc::NodeExpandVolume>(&Default::default()).await?),
        ),
    ])
}

check! {
    /// What the node says it can do, it has an RPC for.
    ///
    /// The kubelet sends what was announced, and takes UNIMPLEMENTED for a
    /// failure of the volume.
    OFFERED_IS_SERVED = "node-get-capabilities.offered-is-served",
    clauses: [spec::NODE_CAPS_TRUTHFUL],
    needs: Need::NodeService,
    volumes: 0, calls: 4,
    look_at: "the capabilities of NodeGetCapabilities against the RPCs that are implemented",
    run: offered_is_served,
}

async fn offered_is_served(cx: &Cx) -> Checked {
    for (capability, name, code) in optional_rpcs(cx).await? {
        if cx.facts().node_can(capability) && code == Some(Code::UNIMPLEMENTED) {
            let word = capability.as_str_name();
            return Err(Stop::fail(format!(
                "{word} is announced, and {name} answers UNIMPLEMENTED"
            )));
        }
    }
    Ok(())
}

check! {
    /// What the node does not say it can do is UNIMPLEMENTED.
    ///
    /// Any other answer lets a caller take the call for done, or repeat it for
    /// ever.
    NOT_OFFERED_IS_REFUSED = "node-get-capabilities.not-offered-is-unimplemented",
    clauses: [spec::GENERAL_ERROR_UNIMPLEMENTED],
    needs: Need::NodeService,
    volumes: 0, calls: 4,
    seen_in: ["ceph/ceph-csi#4769" => "a call that was not announced made the plugin panic"],
    run: not_offered_is_refused,
}

async fn not_offered_is_refused(cx: &Cx) -> Checked {
    for (capability, name, code) in optional_rpcs(cx).await? {
        // Whether the arguments or the RPC are looked at first, nobody says.
        let is_refused = [Code::UNIMPLEMENTED, Code::INVALID_ARGUMENT]
            .map(Some)
            .contains(&code);
        if cx.facts().node_can(capability) || is_refused {
            continue;
        }
        // VOLUME_CONDITION alone is served by the same RPC.
        let by_condition =
            capability == NodeRpc::GetVolumeStats && cx.facts().node_can(NodeRpc::VolumeCondition);
        let word = capability.as_str_name();
        match code {
            _ if by_condition => {}
            None => {
                return Err(Stop::fail(format!(
                    "{word} is not announced, and {name} answers OK to an empty request"
                )));
            }
            // It did nothing, and said so; only the code is another.
            Some(code) => {
                return Err(Stop::Warn(format!(
                    "{word} is not announced, and {name} answers {code}"
                )));
            }
        }
    }
    Ok(())
}

check! {
    /// The node's id is set, and not too long.
    ///
    /// ControllerPublishVolume is called with it; longer than 256 bytes it cannot
    /// be kept, and longer than 128 not by older callers.
    ID_IS_SET = "node-get-info.id-is-set",
    clauses: [spec::NODE_INFO_NODE_ID_REQUIRED, spec::NODE_INFO_NODE_ID_MAX_256, spec::NODE_INFO_NODE_ID_128],
    needs: Need::NodeService,
    volumes: 0, calls: 1,
    run: id_is_set,
}

async fn node_info(cx: &Cx) -> Result<v1::NodeGetInfoResponse, Stop> {
    let asked = cx
        .ask::<rpc::NodeGetInfo>(&v1::NodeGetInfoRequest {})
        .await?;
    let needed = cx
        .facts()
        .controller_can(ControllerRpc::PublishUnpublishVolume);
    match asked.refusal() {
        Some(refusal) if refusal.code == Code::UNIMPLEMENTED && !needed => {
            Err(Stop::not_offered("NodeGetInfo"))
        }
        _ => asked.ok(),
    }
}

async fn id_is_set(cx: &Cx) -> Checked {
    match node_info(cx).await?.node_id.len() {
        0 => Err(Stop::fail("NodeGetInfo returned no node_id")),
        n if n > 256 => Err(Stop::fail(format!(
            "node_id has {n} bytes; 256 are allowed"
        ))),
        n if n > 128 => Err(Stop::Warn(format!(
            "node_id has {n} bytes; older callers take 128"
        ))),
        _ => Ok(()),
    }
}

check! {
    /// The node tells the same id and topology each time.
    ///
    /// What is attached to one id cannot be detached from another.
    SAME_INFO = "node-get-info.same-every-time",
    clauses: [spec::NODE_INFO_NODE_ID_UNIQUE_STABLE],
    needs: Need::NodeService,
    volumes: 0, calls: 2,
    run: same_info,
}

async fn same_info(cx: &Cx) -> Checked {
    let (first, second) = (node_info(cx).await?, node_info(cx).await?);
    if (&first.node_id, &first.accessible_topology)
        != (&second.node_id, &second.accessible_topology)
    {
        return Err(Stop::fail(format!(
            "first {:?}, then {:?}",
            first.node_id, second.node_id
        )));
    }
    Ok(())
}

check! {
    /// The node's limit of volumes is not negative.
    ///
    /// The scheduler counts with it; zero leaves the limit to the caller.
    LIMIT_IS_NOT_NEGATIVE = "node-get-info.volume-limit-is-not-negative",
    clauses: [spec::NODE_INFO_MAX_VOLUMES_NONNEG],
    needs: Need::NodeService,
    volumes: 0, calls: 1,
    run: limit_is_not_negative,
}

async fn limit_is_not_negative(cx: &Cx) -> Checked {
    match node_info(cx).await?.max_volumes_per_node {
        n if n < 0 => Err(Stop::fail(format!("max_volumes_per_node is {n}"))),
        _ => Ok(()),
    }
}
