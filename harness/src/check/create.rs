//! What `CreateVolume` is asked.

use std::collections::HashMap;

use csi_proto::v1;
use csi_proto::v1::plugin_capability::service::Type as Service;

use super::claims::VolumeClaim;
use super::content::Source;
use super::cx::Cx;
use super::kind::Kind;
use super::stop::Stop;
use super::values::Values;
use crate::config::{Config, Quantity, StringMap, expand_map};

/// The request that creates a volume: the same each time.
pub(super) fn request(cx: &Cx, claim: &VolumeClaim) -> Result<v1::CreateVolumeRequest, Stop> {
    let config = cx.session.config();
    let topology = cx
        .facts()
        .has_service(Service::VolumeAccessibilityConstraints);
    Ok(v1::CreateVolumeRequest {
        name: claim.name.clone().unwrap_or_default(),
        capacity_range: Some(v1::CapacityRange {
            required_bytes: claim
                .want
                .bytes
                .unwrap_or_else(|| required_bytes(config, &claim.kind))
                + i64::from(claim.want.odd_size),
            limit_bytes: claim
                .want
                .limit
                .unwrap_or_else(|| config.volume.limit.map_or(0, bytes)),
        }),
        volume_capabilities: vec![capability(cx, claim, &[])],
        parameters: filled(cx, claim, &config.parameters)?,
        secrets: cx.secrets("CreateVolume"),
        volume_content_source: claim.want.source.as_ref().map(Source::told),
        accessibility_requirements: topology.then(|| cx.facts().topology()).flatten(),
        mutable_parameters: filled(cx, claim, &config.mutable_parameters)?,
    })
}

/// Parameters of the user's for this volume, with their holes filled.
pub(super) fn filled(
    cx: &Cx,
    claim: &VolumeClaim,
    parameters: &StringMap,
) -> Result<HashMap<String, String>, Stop> {
    let values = Values::of(cx, claim.number, &claim.want)?;
    let filled = expand_map(parameters, &values.pairs());
    let filled = filled.map_err(|error| Stop::ours("fill in the parameters", error))?;
    Ok(filled.into_iter().collect())
}

/// The capability that a volume is asked with, and used with; some flags are only
/// for its use.
pub(super) fn capability(
    cx: &Cx,
    claim: &VolumeClaim,
    more_flags: &[String],
) -> v1::VolumeCapability {
    let config = cx.session.config();
    let mode = claim.want.mode.unwrap_or_else(|| cx.mode());
    let mut flags = claim
        .want
        .flags
        .clone()
        .unwrap_or_else(|| config.volume.mount_flags.clone());
    flags.extend_from_slice(more_flags);
    claim.kind.capability(mode, &flags)
}

/// What XFS refuses to be made smaller than (mkfs.xfs(8)).
const XFS_LEAST: i64 = 300 << 20;

/// The size to ask for: the user's, or what the file system needs at least.
fn required_bytes(config: &Config, kind: &Kind) -> i64 {
    let size = bytes(config.volume.size);
    match kind {
        Kind::Mount(fs_type) if fs_type == "xfs" => size.max(XFS_LEAST),
        Kind::Mount(fs_type) if fs_type == "btrfs" => size.max(BTRFS_LEAST),
        _ => size,
    }
}

/// What mkfs.btrfs(8) needs for a file system with its default profiles.
const BTRFS_LEAST: i64 = 128 << 20;

fn bytes(quantity: Quantity) -> i64 {
    i64::try_from(quantity.bytes()).unwrap_or(i64::MAX)
}
