//! `GetPluginInfo`, `GetPluginCapabilities`, `Probe`.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Stop};
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::plugin_capability::service::Type as Service;
use csi_proto::v1::plugin_capability::volume_expansion::Type as Expansion;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CONTROLLER_IS_SERVED,
    &ENTRIES_SAY_SOMETHING,
    &EXPANSION_IS_BACKED,
    &SAME_CAPABILITIES,
    &TOPOLOGY_IS_ANNOUNCED,
    &NAME_IS_VALID,
    &SAME_INFO,
    &VERSION_IS_SET,
    &PROBE_AT_ONCE,
    &PROBE_IS_READY,
];

async fn info(cx: &Cx) -> Result<v1::GetPluginInfoResponse, Stop> {
    cx.ask::<rpc::GetPluginInfo>(&v1::GetPluginInfoRequest {})
        .await?
        .ok()
}

async fn capabilities(cx: &Cx) -> Result<Vec<v1::PluginCapability>, Stop> {
    let request = v1::GetPluginCapabilitiesRequest {};
    Ok(cx
        .ask::<rpc::GetPluginCapabilities>(&request)
        .await?
        .ok()?
        .capabilities)
}

check! {
    /// The plugin's name is set and has the form of a domain name.
    ///
    /// Everything that Kubernetes keeps of a driver hangs on this name: CSIDriver
    /// objects, the folders below the kubelet's root, the ids of volumes.
    NAME_IS_VALID = "get-plugin-info.name-is-valid",
    clauses: [spec::IDENTITY_INFO_NAME_CHARSET, spec::IDENTITY_INFO_NAME_REQUIRED],
    needs: Need::Nothing,
    volumes: 0, calls: 1,
    look_at: "the name that GetPluginInfo returns: at most 63 letters, digits, dashes and dots",
    run: name_is_valid,
}

async fn name_is_valid(cx: &Cx) -> Checked {
    let name = info(cx).await?.name;
    let alnum_ends = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphanumeric())
            && label.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let valid = name.len() <= 63
        && name.split('.').all(alnum_ends)
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    match name.as_str() {
        "" => Err(Stop::fail("GetPluginInfo returned no name")),
        _ if !valid => Err(Stop::fail(format!(
            "the name {name:?} is not in domain-name notation"
        ))),
        _ => Ok(()),
    }
}

check! {
    /// The plugin's version is set.
    ///
    /// Without it nobody can tell which driver a node runs, nor what it was when
    /// it failed.
    VERSION_IS_SET = "get-plugin-info.version-is-set",
    clauses: [spec::IDENTITY_INFO_VENDOR_VERSION],
    needs: Need::Nothing,
    volumes: 0, calls: 1,
    look_at: "vendor_version in GetPluginInfoResponse",
    run: version_is_set,
}

async fn version_is_set(cx: &Cx) -> Checked {
    match info(cx).await?.vendor_version.as_str() {
        // Many drivers in the field leave it out, and nothing breaks by it.
        "" => Err(Stop::Warn(
            "GetPluginInfo returned no vendor_version".into(),
        )),
        _ => Ok(()),
    }
}

check! {
    /// The plugin tells the same name and version each time.
    ///
    /// A caller keys its state on the name: one that changes loses the volumes.
    SAME_INFO = "get-plugin-info.same-every-time",
    clauses: [spec::IDENTITY_INFO_STABLE],
    needs: Need::Nothing,
    volumes: 0, calls: 3,
    run: same_info,
}

async fn same_info(cx: &Cx) -> Checked {
    let first = info(cx).await?;
    for _ in 0..2 {
        let next = info(cx).await?;
        if (&next.name, &next.vendor_version) != (&first.name, &first.vendor_version) {
            return Err(Stop::fail(format!(
                "first {} {}, then {} {}",
                first.name, first.vendor_version, next.name, next.vendor_version
            )));
        }
    }
    Ok(())
}

check! {
    /// Every plugin capability says what it is.
    ///
    /// An entry with nothing in it, or with the value UNKNOWN, announces nothing
    /// that a caller could use. Values of later releases are fine.
    ENTRIES_SAY_SOMETHING = "get-plugin-capabilities.entries-say-something",
    clauses: [spec::IDENTITY_CAPS_KNOWN_VALUES],
    needs: Need::Nothing,
    volumes: 0, calls: 1,
    run: entries_say_something,
}

async fn entries_say_something(cx: &Cx) -> Checked {
    use v1::plugin_capability::Type;
    let says_nothing = |capability: &v1::PluginCapability| match &capability.r#type {
        None => true,
        Some(Type::Service(service)) => service.r#type == 0,
        Some(Type::VolumeExpansion(expansion)) => expansion.r#type == 0,
    };
    let empty = capabilities(cx)
        .await?
        .iter()
        .filter(|c| says_nothing(c))
        .count();
    if empty > 0 {
        return Err(Stop::Warn(format!(
            "{empty} of the plugin's capabilities are UNKNOWN or empty"
        )));
    }
    Ok(())
}

check! {
    /// The plugin announces the same capabilities each time.
    ///
    /// Sidecars ask once, at their start: what comes or goes later is not seen.
    SAME_CAPABILITIES = "get-plugin-capabilities.same-every-time",
    clauses: [spec::IDENTITY_CAPS_SAME_EVERYWHERE],
    needs: Need::Nothing,
    volumes: 0, calls: 2,
    run: same_capabilities,
}

async fn same_capabilities(cx: &Cx) -> Checked {
    let (first, second) = (capabilities(cx).await?, capabilities(cx).await?);
    let misses =
        |a: &[v1::PluginCapability], b: &[v1::PluginCapability]| a.iter().any(|c| !b.contains(c));
    if misses(&first, &second) || misses(&second, &first) {
        return Err(Stop::fail("the second answer differs from the first"));
    }
    Ok(())
}

check! {
    /// A plugin that says it has a controller service serves it.
    ///
    /// The sidecars that see CONTROLLER_SERVICE call the controller, and crash or
    /// wait for ever when nobody is there.
    CONTROLLER_IS_SERVED = "get-plugin-capabilities.controller-is-served",
    clauses: [spec::IDENTITY_CAPS_CONTROLLER_SERVICE_TRUE],
    needs: Need::Service(Service::ControllerService),
    volumes: 0, calls: 1,
    look_at: "whether the controller service is registered on the socket that was given",
    run: controller_is_served,
}

async fn controller_is_served(cx: &Cx) -> Checked {
    if !cx.facts().has_controller {
        return Err(Stop::not_given("controller_endpoint"));
    }
    let request = v1::ControllerGetCapabilitiesRequest {};
    cx.ask::<rpc::ControllerGetCapabilities>(&request)
        .await?
        .ok()?;
    Ok(())
}

check! {
    /// Topology is only told by a plugin that announces it.
    ///
    /// Without VOLUME_ACCESSIBILITY_CONSTRAINTS the provisioner ignores topology,
    /// and volumes are made where the node cannot reach them.
    TOPOLOGY_IS_ANNOUNCED = "get-plugin-capabilities.topology-is-announced",
    clauses: [spec::IDENTITY_CAPS_TOPOLOGY_BEFORE_USE, spec::NODE_INFO_TOPOLOGY_NEEDS_CAPABILITY],
    needs: Need::NodeService,
    volumes: 0, calls: 1,
    run: topology_is_announced,
}

async fn topology_is_announced(cx: &Cx) -> Checked {
    let node = cx
        .ask::<rpc::NodeGetInfo>(&v1::NodeGetInfoRequest {})
        .await?;
    if node.refusal().is_some() {
        return Err(Stop::not_offered("NodeGetInfo"));
    }
    let told = node
        .ok()?
        .accessible_topology
        .is_some_and(|t| !t.segments.is_empty());
    if told
        && !cx
            .facts()
            .has_service(Service::VolumeAccessibilityConstraints)
    {
        return Err(Stop::fail(
            "NodeGetInfo returned accessible_topology without VOLUME_ACCESSIBILITY_CONSTRAINTS",
        ));
    }
    Ok(())
}

check! {
    /// A plugin that says it expands volumes has an RPC for it.
    ///
    /// ONLINE needs EXPAND_VOLUME at the controller or the node, OFFLINE at the
    /// controller; else a claim that is grown stays pending for ever.
    EXPANSION_IS_BACKED = "get-plugin-capabilities.expansion-is-backed",
    clauses: [spec::IDENTITY_CAPS_EXPANSION_ONLINE_BACKED],
    needs: Need::Nothing,
    volumes: 0, calls: 0,
    run: expansion_is_backed,
}

async fn expansion_is_backed(cx: &Cx) -> Checked {
    let facts = cx.facts();
    let says = |expansion: Expansion| facts.expansion.contains(&(expansion as i32));
    if !says(Expansion::Online) && !says(Expansion::Offline) {
        return Err(Stop::not_offered("volume expansion"));
    }
    let controller = facts.controller_can(ControllerRpc::ExpandVolume);
    let node = facts.node_can(NodeRpc::ExpandVolume);
    if !facts.has_controller || !facts.has_node {
        return Err(Stop::not_given("both endpoints of the driver"));
    }
    if says(Expansion::Online) && !controller && !node {
        return Err(Stop::fail(
            "ONLINE expansion is announced, and neither service has EXPAND_VOLUME",
        ));
    }
    if says(Expansion::Offline) && !controller {
        return Err(Stop::fail(
            "OFFLINE expansion is announced, and the controller has no EXPAND_VOLUME",
        ));
    }
    Ok(())
}

check! {
    /// Probe says that the plugin is ready.
    ///
    /// The liveness sidecar restarts a driver whose Probe fails; an answer
    /// without `ready` means ready.
    PROBE_IS_READY = "probe.is-ready",
    clauses: [spec::IDENTITY_PROBE_READY],
    needs: Need::Nothing,
    volumes: 0, calls: 1,
    run: probe_is_ready,
}

async fn probe_is_ready(cx: &Cx) -> Checked {
    let probe = cx.ask::<rpc::Probe>(&v1::ProbeRequest {}).await?.ok()?;
    match probe.ready {
        Some(false) => Err(Stop::fail(
            "Probe answers ready=false, long after the driver was first asked",
        )),
        _ => Ok(()),
    }
}

check! {
    /// Probe may come many times, also at once.
    ///
    /// Each sidecar and the kubelet probe on their own clocks.
    PROBE_AT_ONCE = "probe.many-at-once",
    clauses: [spec::IDENTITY_PROBE_ANY_TIME],
    needs: Need::Nothing,
    volumes: 0, calls: 8,
    run: probe_at_once,
}

async fn probe_at_once(cx: &Cx) -> Checked {
    let probe = || cx.ask::<rpc::Probe>(&v1::ProbeRequest {});
    let (a, b, c, d) = tokio::join!(probe(), probe(), probe(), probe());
    for asked in [a, b, c, d] {
        asked?.ok()?;
    }
    Ok(())
}
