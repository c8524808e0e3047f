//! The clauses that checks stand for: requirements on a driver in our own words,
//! with where they come from.
//!
//! Their ids are those of the matrix of requirements. Strength belongs to the
//! clause: what the specification states or implies, what the kubelet needs
//! beyond it, and what is stated nowhere but costs data when it is broken.

use csi_harness::check::{Basis, Clause, Level};

/// CSI 1.12.0, the last text that both the older and the newer drivers share.
macro_rules! clause {
    ($name:ident, $id:literal, $level:ident, $basis:ident, $section:literal, $anchor:literal, $text:literal) => {
        pub(crate) static $name: Clause = Clause {
            id: $id,
            level: Level::$level,
            basis: Basis::$basis,
            text: $text,
            section: $section,
            url: concat!(
                "https://github.com/container-storage-interface/spec/blob/v1.12.0/spec.md#",
                $anchor
            ),
        };
    };
}

mod creation;
mod disks;
mod groups;
mod listing;
mod restart;
mod stories;
mod watched;

pub(crate) use creation::*;
pub(crate) use disks::*;
pub(crate) use groups::*;
pub(crate) use listing::*;
pub(crate) use restart::*;
pub(crate) use stories::*;
pub(crate) use watched::*;

clause!(
    IDENTITY_INFO_NAME_REQUIRED,
    "identity.info.name_required",
    Must,
    Specification,
    "GetPluginInfo",
    "getplugininfo",
    "name is set."
);
clause!(
    IDENTITY_INFO_NAME_CHARSET,
    "identity.info.name_charset",
    Must,
    Specification,
    "GetPluginInfo",
    "getplugininfo",
    "name begins and ends with a letter or digit; inside only letters, digits, dashes and dots."
);
clause!(
    IDENTITY_INFO_VENDOR_VERSION,
    "identity.info.vendor_version",
    Must,
    Specification,
    "GetPluginInfo",
    "getplugininfo",
    "vendor_version is set."
);
clause!(
    IDENTITY_INFO_STABLE,
    "identity.info.stable",
    Must,
    Specification,
    "GetPluginInfo",
    "getplugininfo",
    "name is the same on every call, endpoint and after restart (the CO keys state on it)."
);
clause!(
    IDENTITY_CAPS_KNOWN_VALUES,
    "identity.caps.known_values",
    Must,
    Specification,
    "GetPluginCapabilities",
    "getplugincapabilities",
    "Every entry has its oneof set to a known, non-UNKNOWN type."
);
clause!(
    IDENTITY_CAPS_TOPOLOGY_BEFORE_USE,
    "identity.caps.topology_before_use",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "VOLUME_ACCESSIBILITY_CONSTRAINTS is reported whenever CreateVolume, ListVolumes, ControllerGetVolume or NodeGetInfo returns accessible_topology."
);
clause!(
    IDENTITY_CAPS_CONTROLLER_SERVICE_TRUE,
    "identity.caps.controller_service_true",
    Must,
    Specification,
    "GetPluginCapabilities",
    "getplugincapabilities",
    "The REQUIRED controller RPCs (ControllerGetCapabilities, ValidateVolumeCapabilities) really answer."
);
clause!(
    IDENTITY_CAPS_EXPANSION_ONLINE_BACKED,
    "identity.caps.expansion_online_backed",
    Must,
    Specification,
    "GetPluginCapabilities",
    "getplugincapabilities",
    "ONLINE implies EXPAND_VOLUME on the controller, the node, or both."
);
clause!(
    IDENTITY_CAPS_SAME_EVERYWHERE,
    "identity.caps.same_everywhere",
    Must,
    Specification,
    "GetPluginCapabilities",
    "getplugincapabilities",
    "All instances of one vendor_version return the same set, wherever they run and whichever services they serve (node and controller sockets agree, and before and after restart)."
);
clause!(
    IDENTITY_PROBE_READY,
    "identity.probe.ready",
    Must,
    Specification,
    "Probe",
    "probe",
    "Probe is OK with ready=true, or with ready absent, which means ready; after that controller and node calls work."
);
clause!(
    IDENTITY_PROBE_ANY_TIME,
    "identity.probe.any_time",
    Must,
    Specification,
    "Probe",
    "probe",
    "Probe may come at any time and many times, also during other calls; it neither fails nor blocks for that."
);
clause!(
    GENERAL_STATUS_MESSAGE_PRESENT,
    "general.status.message_present",
    Must,
    Specification,
    "Error Scheme",
    "error-scheme",
    "A non-OK status carries a non-empty human-readable message."
);
clause!(
    GENERAL_PROCESS_LONG_RUNNING,
    "general.process.long_running",
    Must,
    Specification,
    "Operational Recommendations",
    "operational-recommendations",
    "The plugin is a long-running server: it neither exits after an RPC, nor on an idle or dropped connection, nor on a malformed request."
);
clause!(
    GENERAL_TRANSPORT_GRPC,
    "general.transport.grpc",
    Must,
    Specification,
    "Connectivity",
    "connectivity",
    "The plugin speaks gRPC (HTTP/2, no TLS needed) on its listen address, and answers the csi.v1 services there."
);
clause!(
    GENERAL_RPCS_ALL_OR_ERROR,
    "general.rpcs.all_or_error",
    Must,
    Specification,
    "GetPluginInfo Errors",
    "getplugininfo-errors",
    "Any RPC that could not be done ends with a non-OK status; OK means done."
);
clause!(
    GENERAL_ERROR_UNIMPLEMENTED,
    "general.error.unimplemented",
    Must,
    Specification,
    "Error Scheme",
    "error-scheme",
    "An RPC that is not implemented or is off in the present mode gives UNIMPLEMENTED (not OK, INTERNAL or a closed connection)."
);
clause!(
    GENERAL_LOGGING_NO_SECRETS,
    "general.logging.no_secrets",
    Must,
    Specification,
    "RPC Interface",
    "rpc-interface",
    "Values of fields marked csi_secret never appear in the log of the plugin, at any verbosity, on success or on error (test: canary values in every secrets map)."
);
clause!(
    GENERAL_SECRETS_NOT_IN_STATUS,
    "general.secrets.not_in_status",
    Should,
    Specification,
    "Security",
    "security",
    "Secret values do not come back in status messages or responses (messages may be shown to end users)."
);
clause!(
    NODE_PUBLISH_SECOND_TARGET_SNSW,
    "node.publish.second_target_snsw",
    Should,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "Second target_path: FAILED_PRECONDITION."
);
clause!(
    NODE_CAPS_KNOWN_VALUES,
    "node.caps.known_values",
    Must,
    Specification,
    "NodeGetCapabilities",
    "nodegetcapabilities",
    "Every entry has rpc set with a known type."
);
clause!(
    NODE_CAPS_TRUTHFUL,
    "node.caps.truthful",
    Must,
    Specification,
    "NodeGetCapabilities",
    "nodegetcapabilities",
    "Each RPC behind a reported capability does not answer UNIMPLEMENTED; RPCs without capability do."
);
clause!(
    NODE_INFO_NODE_ID_REQUIRED,
    "node.info.node_id_required",
    Must,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "node_id is set."
);
clause!(
    NODE_INFO_NODE_ID_MAX_256,
    "node.info.node_id_max_256",
    Must,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "node_id has at most 256 bytes."
);
clause!(
    NODE_INFO_NODE_ID_128,
    "node.info.node_id_128",
    Should,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "node_id has at most 128 bytes, for older peers."
);
clause!(
    NODE_INFO_NODE_ID_UNIQUE_STABLE,
    "node.info.node_id_unique_stable",
    Must,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "node_id tells this node from all others, and is the same on every call and after restart."
);
clause!(
    NODE_INFO_MAX_VOLUMES_NONNEG,
    "node.info.max_volumes_nonneg",
    Must,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "max_volumes_per_node is not negative."
);
clause!(
    NODE_INFO_TOPOLOGY_NEEDS_CAPABILITY,
    "node.info.topology_needs_capability",
    Must,
    Specification,
    "NodeGetInfo",
    "nodegetinfo",
    "accessible_topology only together with VOLUME_ACCESSIBILITY_CONSTRAINTS."
);
clause!(
    NODE_STAGE_IMPLEMENTED,
    "node.stage.implemented",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "NodeStageVolume is implemented when the capability is reported."
);
clause!(
    NODE_STAGE_IDEMPOTENT,
    "node.stage.idempotent",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "Staged already at that path with the same capability: OK."
);
clause!(
    NODE_STAGE_NO_MOUNT_STACK,
    "node.stage.no_mount_stack",
    Must,
    Integrity,
    "NodeStageVolume",
    "nodestagevolume",
    "Repeats do not stack mounts: as many mountinfo entries after n calls as after one."
);
clause!(
    NODE_STAGE_DATA_KEPT,
    "node.stage.data_kept",
    Must,
    Integrity,
    "NodeStageVolume",
    "nodestagevolume",
    "Staging again (same node, after unstage, after plugin restart, on another node) keeps the data: a volume that has a filesystem is never formatted."
);
clause!(
    NODE_STAGE_INCOMPATIBLE,
    "node.stage.incompatible",
    Must,
    Specification,
    "NodeStageVolume Errors",
    "nodestagevolume-errors",
    "Staged at that path with a capability that is not compatible: ALREADY_EXISTS."
);
clause!(
    NODE_STAGE_NOT_FOUND,
    "node.stage.not_found",
    Must,
    Specification,
    "NodeStageVolume Errors",
    "nodestagevolume-errors",
    "Unknown volume gives NOT_FOUND."
);
clause!(
    NODE_STAGE_VOLUME_ID_REQUIRED,
    "node.stage.volume_id_required",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "Empty volume_id is refused."
);
clause!(
    NODE_STAGE_PATH_REQUIRED,
    "node.stage.path_required",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "Empty staging_target_path is refused."
);
clause!(
    NODE_STAGE_CAPABILITY_REQUIRED,
    "node.stage.capability_required",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "Missing volume_capability is refused."
);
clause!(
    NODE_STAGE_USES_GIVEN_DIRECTORY,
    "node.stage.uses_given_directory",
    Must,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "It works with the existing empty directory that the CO made, for mount and for block access; it neither needs to make it nor replaces it by a file."
);
clause!(
    NODE_UNSTAGE_UNDOES,
    "node.unstage.undoes",
    Must,
    Specification,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "All work of NodeStageVolume is undone: no mount at or under the staging path in any namespace, no device mapping, loop device, session or helper process left, data flushed."
);
clause!(
    NODE_UNSTAGE_IDEMPOTENT,
    "node.unstage.idempotent",
    Must,
    Specification,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "Not staged at that path (also: path gone, never staged, after reboot): OK."
);
clause!(
    NODE_UNSTAGE_VOLUME_ID_REQUIRED,
    "node.unstage.volume_id_required",
    Must,
    Specification,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "Empty volume_id is refused."
);
clause!(
    NODE_UNSTAGE_PATH_REQUIRED,
    "node.unstage.path_required",
    Must,
    Specification,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "Empty staging_target_path is refused."
);
clause!(
    NODE_UNSTAGE_ONLY_THAT_VOLUME,
    "node.unstage.only_that_volume",
    Must,
    Integrity,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "Other staged and published volumes stay as they are."
);
clause!(
    NODE_UNSTAGE_DATA_FLUSHED,
    "node.unstage.data_flushed",
    Must,
    Integrity,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "Data written before is there when the volume is staged on another node after OK (no lazy unmount with dirty pages behind it)."
);
clause!(
    NODE_PUBLISH_IDEMPOTENT,
    "node.publish.idempotent",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "Published already at that target_path and compatible: OK (T1=T2, P1=P2)."
);
clause!(
    NODE_PUBLISH_NO_MOUNT_STACK,
    "node.publish.no_mount_stack",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Repeats do not stack mounts at target_path, and one unpublish clears all."
);
clause!(
    NODE_PUBLISH_SAME_TARGET_OTHER_ARGS,
    "node.publish.same_target_other_args",
    Must,
    Specification,
    "NodePublishVolume Errors",
    "nodepublishvolume-errors",
    "Same target_path with other, not compatible capability or readonly flag: ALREADY_EXISTS (T1=T2, P1!=P2)."
);
clause!(
    NODE_PUBLISH_CREATES_TARGET,
    "node.publish.creates_target",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "The plugin makes target_path itself; only the parent exists (absent target must not fail)."
);
clause!(
    NODE_PUBLISH_MOUNT_AT_TARGET,
    "node.publish.mount_at_target",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "target_path is a directory with the volume mounted on it (own mountinfo entry; not the parent filesystem)."
);
clause!(
    NODE_PUBLISH_BLOCK_AT_TARGET,
    "node.publish.block_at_target",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "target_path is the block device (device node, or a file with the device bind-mounted), right size and readable as the volume."
);
clause!(
    NODE_PUBLISH_NOT_ROOT_FS,
    "node.publish.not_root_fs",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "OK is not given when what shows at target_path is a plain directory of the node filesystem (staging path not mounted, backend mount failed)."
);
clause!(
    NODE_PUBLISH_CAPABILITY_HONOURED,
    "node.publish.capability_honoured",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "The volume can be used as the capability says (writable, fs_type, mount_flags), or the call fails."
);
clause!(
    NODE_PUBLISH_MOUNT_FLAGS_APPLIED,
    "node.publish.mount_flags_applied",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The given mount_flags are in force at target_path (noatime, ro, nosuid ...), unknown ones cause an error, not silence."
);
clause!(
    NODE_PUBLISH_FS_TYPE_APPLIED,
    "node.publish.fs_type_applied",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The filesystem is of the given fs_type, or the call fails; empty means the choice of the plugin."
);
clause!(
    NODE_PUBLISH_READONLY,
    "node.publish.readonly",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "readonly=true: writes at target_path fail (EROFS; block: device opened for write refuses), while another rw target of the volume stays writable."
);
clause!(
    NODE_PUBLISH_READONLY_BLOCK,
    "node.publish.readonly_block",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "readonly=true for block volumes also: a read-only bind mount alone does not stop writes to a device node."
);
clause!(
    NODE_PUBLISH_NOT_FOUND,
    "node.publish.not_found",
    Must,
    Specification,
    "NodePublishVolume Errors",
    "nodepublishvolume-errors",
    "Unknown volume gives NOT_FOUND."
);
clause!(
    NODE_PUBLISH_STAGING_PATH_NOT_SET,
    "node.publish.staging_path_not_set",
    Must,
    Specification,
    "NodePublishVolume Errors",
    "nodepublishvolume-errors",
    "No staging_target_path: FAILED_PRECONDITION (not INVALID_ARGUMENT)."
);
clause!(
    NODE_PUBLISH_WITHOUT_STAGE,
    "node.publish.without_stage",
    Should,
    Specification,
    "RPC Interactions and Reference Counting",
    "rpc-interactions-and-reference-counting",
    "Publish of a volume that was never staged is an error, not OK."
);
clause!(
    NODE_PUBLISH_VOLUME_ID_REQUIRED,
    "node.publish.volume_id_required",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "Empty volume_id is refused."
);
clause!(
    NODE_PUBLISH_TARGET_REQUIRED,
    "node.publish.target_required",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "Empty target_path is refused."
);
clause!(
    NODE_PUBLISH_CAPABILITY_REQUIRED,
    "node.publish.capability_required",
    Must,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "Missing volume_capability is refused."
);
clause!(
    NODE_PUBLISH_PERSISTENCE,
    "node.publish.persistence",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Data written through one publication is there in the next (other target, after unstage/stage, after plugin restart)."
);
clause!(
    NODE_PUBLISH_ISOLATION,
    "node.publish.isolation",
    Must,
    Integrity,
    "CreateVolume",
    "createvolume",
    "Two volumes never show one another's data; a fresh volume shows no data of a deleted one."
);
clause!(
    NODE_PUBLISH_VISIBLE_IN_HOST_NAMESPACE,
    "node.publish.visible_in_host_namespace",
    Must,
    Kubernetes,
    "Namespaces",
    "namespaces",
    "The mount is seen in the mount namespace of the CO (propagation), not only in that of the plugin."
);
clause!(
    NODE_UNPUBLISH_UNDOES,
    "node.unpublish.undoes",
    Must,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "All work of NodePublishVolume is undone: no mount at target_path is left in mountinfo, whatever the number of publish repeats."
);
clause!(
    NODE_UNPUBLISH_REMOVES_TARGET,
    "node.unpublish.removes_target",
    Must,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "The file or directory that the plugin made at target_path is deleted (also for block)."
);
clause!(
    NODE_UNPUBLISH_NEVER_REMOVES_DATA,
    "node.unpublish.never_removes_data",
    Must,
    Integrity,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "No data of the volume is deleted: no recursive removal at target_path, above all not when the unmount failed (busy) or the mount was not seen."
);
clause!(
    NODE_UNPUBLISH_BUSY_IS_ERROR,
    "node.unpublish.busy_is_error",
    Should,
    Specification,
    "NodeUnpublishVolume Errors",
    "nodeunpublishvolume-errors",
    "With a process that holds files open the call fails (or waits); OK is not given with the volume still mounted."
);
clause!(
    NODE_UNPUBLISH_IDEMPOTENT,
    "node.unpublish.idempotent",
    Must,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "Not published at that path (path gone, plain empty directory, never published, after reboot): OK."
);
clause!(
    NODE_UNPUBLISH_OTHER_TARGETS_KEPT,
    "node.unpublish.other_targets_kept",
    Must,
    Integrity,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "Other publications of the same volume, and its staging mount, go on to work."
);
clause!(
    NODE_UNPUBLISH_VOLUME_ID_REQUIRED,
    "node.unpublish.volume_id_required",
    Must,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "Empty volume_id is refused."
);
clause!(
    NODE_UNPUBLISH_TARGET_REQUIRED,
    "node.unpublish.target_required",
    Must,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "Empty target_path is refused."
);
clause!(
    NODE_STATS_TOTAL_REQUIRED,
    "node.stats.total_required",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "Each usage has total, not negative."
);
clause!(
    NODE_STATS_UNIT_REQUIRED,
    "node.stats.unit_required",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "Each usage has a unit other than UNKNOWN, and each unit comes once."
);
clause!(
    NODE_STATS_NONNEG,
    "node.stats.nonneg",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "available and used are not negative."
);
clause!(
    NODE_STATS_TRUE,
    "node.stats.true",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "The numbers agree with statvfs of the path (block: with the device size), and grow with data written and after expansion."
);
clause!(
    NODE_STATS_BLOCK_TOTAL,
    "node.stats.block_total",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "Works for block volumes; used and available may be left out, total may not."
);
clause!(
    NODE_STATS_VOLUME_NOT_FOUND,
    "node.stats.volume_not_found",
    Must,
    Specification,
    "NodeGetVolumeStats Errors",
    "nodegetvolumestats-errors",
    "Unknown volume gives NOT_FOUND."
);
clause!(
    NODE_STATS_PATH_NOT_FOUND,
    "node.stats.path_not_found",
    Must,
    Specification,
    "NodeGetVolumeStats Errors",
    "nodegetvolumestats-errors",
    "The volume is not at volume_path: NOT_FOUND (not numbers of the root filesystem)."
);
clause!(
    NODE_STATS_ID_REQUIRED,
    "node.stats.id_required",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "Empty volume_id is refused."
);
clause!(
    NODE_STATS_PATH_REQUIRED,
    "node.stats.path_required",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "Empty volume_path is refused."
);
clause!(
    NODE_STATS_CONDITION_REQUIRED,
    "node.stats.condition_required",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "volume_condition is set."
);
clause!(
    NODE_STATS_CONDITION_MESSAGE,
    "node.stats.condition_message",
    Must,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "A condition has a message (also when normal)."
);
clause!(
    NODE_EXPAND_WORKS,
    "node.expand.works",
    Must,
    Specification,
    "NodeExpandVolume",
    "nodeexpandvolume",
    "After OK the filesystem (or device) seen at the target has the new size."
);
clause!(
    NODE_EXPAND_AFTER_STAGE,
    "node.expand.after_stage_or_publish",
    Must,
    Specification,
    "NodeExpandVolume",
    "nodeexpandvolume",
    "Works after stage, before or after publish, with volume_path the staging or the target path."
);
clause!(
    NODE_EXPAND_DATA_KEPT,
    "node.expand.data_kept",
    Must,
    Integrity,
    "NodeExpandVolume",
    "nodeexpandvolume",
    "Data is the same after, also with writes going on during an online expansion."
);
clause!(
    NODE_EXPAND_IDEMPOTENT,
    "node.expand.idempotent",
    Must,
    Specification,
    "NodeExpandVolume",
    "nodeexpandvolume",
    "The same call again gives OK."
);
clause!(
    CONTROLLER_CREATE_IDEMPOTENT,
    "controller.create.idempotent",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The same request again gives OK and the same volume (same volume_id)."
);
clause!(
    CONTROLLER_CREATE_VOLUME_ID_REQUIRED,
    "controller.create.volume_id_required",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "volume_id is set (and, by the general limit, at most 128 bytes)."
);
clause!(
    CONTROLLER_CREATE_CAPACITY_HONOURED,
    "controller.create.capacity_honoured",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "A given capacity_range is kept: capacity_bytes >= required_bytes and, with limit_bytes, <= limit_bytes."
);
clause!(
    CONTROLLER_CREATE_NAME_REQUIRED,
    "controller.create.name_required",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "Empty name is refused."
);
clause!(
    CONTROLLER_CREATE_CAPABILITIES_REQUIRED,
    "controller.create.capabilities_required",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "Empty volume_capabilities is refused."
);
clause!(
    CONTROLLER_CREATE_EXISTS_INCOMPATIBLE_CAPACITY_RANGE,
    "controller.create.exists_incompatible.capacity_range",
    Must,
    Specification,
    "CreateVolume Errors",
    "createvolume-errors",
    "The name exists but the volume is not compatible with the requested capacity_range: ALREADY_EXISTS, and the old volume is untouched."
);
clause!(
    CONTROLLER_DELETE_IMPLEMENTED,
    "controller.delete.implemented",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "DeleteVolume is implemented when the capability is reported."
);
clause!(
    CONTROLLER_DELETE_IDEMPOTENT,
    "controller.delete.idempotent",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "Deleting twice gives OK twice; an id that does not exist (also one of a foreign form) gives OK."
);
clause!(
    CONTROLLER_DELETE_ID_REQUIRED,
    "controller.delete.id_required",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "Empty volume_id is refused."
);
clause!(
    CONTROLLER_DELETE_IN_USE,
    "controller.delete.in_use",
    Must,
    Specification,
    "DeleteVolume Errors",
    "deletevolume-errors",
    "A volume in use by another resource (published, staged, source of a dependent clone) is not deleted: FAILED_PRECONDITION."
);
clause!(
    CONTROLLER_PUBLISH_IMPLEMENTED,
    "controller.publish.implemented",
    Must,
    Specification,
    "ControllerPublishVolume",
    "controllerpublishvolume",
    "ControllerPublishVolume is implemented when the capability is reported."
);
clause!(
    CONTROLLER_PUBLISH_IDEMPOTENT,
    "controller.publish.idempotent",
    Must,
    Specification,
    "ControllerPublishVolume",
    "controllerpublishvolume",
    "Published already at that node and compatible: OK."
);
clause!(
    CONTROLLER_PUBLISH_NODE_NOT_FOUND,
    "controller.publish.node_not_found",
    Must,
    Specification,
    "ControllerPublishVolume Errors",
    "controllerpublishvolume-errors",
    "Unknown node_id gives NOT_FOUND."
);
clause!(
    CONTROLLER_UNPUBLISH_IDEMPOTENT,
    "controller.unpublish.idempotent",
    Must,
    Specification,
    "ControllerUnpublishVolume",
    "controllerunpublishvolume",
    "Not attached to that node: OK."
);
clause!(
    CONTROLLER_UNPUBLISH_NODE_SET,
    "controller.unpublish.node_set",
    Must,
    Specification,
    "ControllerUnpublishVolume",
    "controllerunpublishvolume",
    "With node_id set the volume is unpublished from that node only; other nodes keep it."
);
clause!(
    CONTROLLER_UNPUBLISH_IMPLEMENTED,
    "controller.unpublish.implemented",
    Must,
    Specification,
    "ControllerUnpublishVolume",
    "controllerunpublishvolume",
    "ControllerUnpublishVolume is implemented when the capability is reported."
);
clause!(
    CONTROLLER_VALIDATE_NOT_FOUND,
    "controller.validate.not_found",
    Must,
    Specification,
    "ValidateVolumeCapabilities Errors",
    "validatevolumecapabilities-errors",
    "Unknown volume gives NOT_FOUND."
);
clause!(
    CONTROLLER_VALIDATE_CONFIRMED_TRUTHFUL,
    "controller.validate.confirmed_truthful",
    Must,
    Specification,
    "ValidateVolumeCapabilities",
    "validatevolumecapabilities",
    "What Validate confirms, create and publish accept, and what they refuse it does not confirm."
);
clause!(
    GENERAL_TIMEOUT_CANCEL_BY_NEGATION,
    "general.timeout.cancel_by_negation",
    Must,
    Specification,
    "Timeouts",
    "timeouts",
    "A pending operation is cancelled by its negation (Create/Delete, Publish/Unpublish, Stage/Unstage): the negation called while or after the first is pending leaves nothing behind."
);
clause!(
    NODE_PUBLISH_FAILURE_CLEANS_UP,
    "node.publish.failure_cleans_up",
    Should,
    Specification,
    "NodePublishVolume",
    "nodepublishvolume",
    "A failed publish leaves no mount, and an unpublish clears what is left of target_path."
);
clause!(
    NODE_UNPUBLISH_STALE_MOUNT,
    "node.unpublish.stale_mount",
    Should,
    Specification,
    "NodeUnpublishVolume",
    "nodeunpublishvolume",
    "A target whose backend is gone (ENOTCONN, EIO, ESTALE) can still be unpublished; the call ends in bounded time."
);
clause!(
    NODE_UNSTAGE_STALE_MOUNT,
    "node.unstage.stale_mount",
    Should,
    Specification,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "A staging mount whose backend is gone (ENOTCONN, EIO, ESTALE) can still be unstaged; the call ends in bounded time."
);
clause!(
    NODE_STATS_BOUNDED_TIME,
    "node.stats.bounded_time",
    Should,
    Specification,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "The call ends in bounded time when the backend hangs, and does not block other calls."
);
clause!(
    CONTROLLER_DELETE_REALLY_GONE,
    "controller.delete.really_gone",
    Must,
    Integrity,
    "DeleteVolume",
    "deletevolume",
    "After OK the volume is gone: not in ListVolumes, NOT_FOUND elsewhere, backing storage freed."
);
clause!(
    CONTROLLER_DELETE_ONLY_THAT_VOLUME,
    "controller.delete.only_that_volume",
    Must,
    Integrity,
    "DeleteVolume",
    "deletevolume",
    "No other volume or data is touched (ids that are prefixes of others, ids with \"..\", \"/\" or empty parts)."
);
clause!(
    GENERAL_HANG_OTHERS_GO_ON,
    "general.hang.others_go_on",
    Should,
    Kubernetes,
    "Timeouts",
    "timeouts",
    "A call that waits for a dead backend keeps no other waiting: volumes elsewhere are published, unpublished and measured meanwhile, and Probe answers."
);
clause!(
    NODE_PUBLISH_DEAD_MOUNT,
    "node.publish.dead_mount",
    Should,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "A repeat is not answered OK for a mount at target_path that is dead (ESTALE, EIO, ENOTCONN): it is mounted anew, or the call fails."
);
clause!(
    NODE_PUBLISH_MODE_KEPT,
    "node.publish.mode_kept",
    Should,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Owner and mode of the root folder of a volume stay as a workload left them, when the volume is published again."
);
clause!(
    NODE_PUBLISH_NO_LATE_MOUNT,
    "node.publish.no_late_mount",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "The volume is mounted when the call is answered: nothing is mounted at target_path by that call afterwards."
);
clause!(
    NODE_PUBLISH_CONTEXT_DECIDES,
    "node.publish.context_decides",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Where volume_context says what is to be mounted, that is mounted, or the call fails: not what another volume_context said for the same volume_id."
);
