//! The methods that a configuration can name.

/// Every method of the five services, in the order of `csi.proto`, and the key
/// below `secrets:` for those whose request has a `secrets` field.
pub const RPCS: &[(&str, Option<&str>)] = &[
    ("GetPluginInfo", None),
    ("GetPluginCapabilities", None),
    ("Probe", None),
    ("CreateVolume", Some("create_volume")),
    ("DeleteVolume", Some("delete_volume")),
    ("ControllerPublishVolume", Some("controller_publish")),
    ("ControllerUnpublishVolume", Some("controller_unpublish")),
    (
        "ValidateVolumeCapabilities",
        Some("validate_volume_capabilities"),
    ),
    ("ListVolumes", None),
    (
        "ControllerListVolumeHealth",
        Some("controller_list_volume_health"),
    ),
    (
        "ControllerGetVolumeHealth",
        Some("controller_get_volume_health"),
    ),
    ("GetCapacity", None),
    ("ControllerGetCapabilities", None),
    ("CreateSnapshot", Some("create_snapshot")),
    ("DeleteSnapshot", Some("delete_snapshot")),
    ("ListSnapshots", Some("list_snapshots")),
    ("GetSnapshot", Some("get_snapshot")),
    ("ControllerExpandVolume", Some("controller_expand")),
    ("ControllerGetVolume", None),
    ("ControllerModifyVolume", Some("controller_modify")),
    ("GroupControllerGetCapabilities", None),
    (
        "CreateVolumeGroupSnapshot",
        Some("create_volume_group_snapshot"),
    ),
    (
        "DeleteVolumeGroupSnapshot",
        Some("delete_volume_group_snapshot"),
    ),
    ("GetVolumeGroupSnapshot", Some("get_volume_group_snapshot")),
    ("GetMetadataAllocated", Some("get_metadata_allocated")),
    ("GetMetadataDelta", Some("get_metadata_delta")),
    ("NodeStageVolume", Some("node_stage")),
    ("NodeUnstageVolume", None),
    ("NodePublishVolume", Some("node_publish")),
    ("NodeUnpublishVolume", None),
    ("NodeGetVolumeStats", None),
    ("NodeGetVolumeHealth", None),
    ("NodeGetStorageHealth", Some("node_get_storage_health")),
    ("NodeExpandVolume", Some("node_expand")),
    ("NodeGetCapabilities", None),
    ("NodeGetInfo", None),
];
