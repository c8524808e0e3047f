//! What the controller tells of its volumes.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    CONTROLLER_CREATE_CAPACITY_REAL,
    "controller.create.capacity_real",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The size seen at the node (of the block device; of the file system, less what it needs itself) agrees with capacity_bytes."
);
clause!(
    CONTROLLER_GETVOLUME_NOT_FOUND,
    "controller.getvolume.not_found",
    Must,
    Specification,
    "ControllerGetVolume Errors",
    "controllergetvolume-errors",
    "Unknown or deleted volume gives NOT_FOUND."
);
clause!(
    CONTROLLER_GETVOLUME_VOLUME,
    "controller.getvolume.volume_required",
    Must,
    Specification,
    "ControllerGetVolume",
    "controllergetvolume",
    "response.volume is set, same id as at creation; so is response.status."
);
clause!(
    CONTROLLER_LISTVOLUMES_ALL,
    "controller.listvolumes.all",
    Must,
    Specification,
    "ListVolumes",
    "listvolumes",
    "All volumes the plugin knows are listed, new ones appear, deleted ones go."
);
clause!(
    CONTROLLER_LISTVOLUMES_NODES,
    "controller.listvolumes.published_nodes_true",
    Must,
    Specification,
    "ListVolumes",
    "listvolumes",
    "published_node_ids holds each node the volume is published on (extra nodes are allowed, missing ones are not)."
);
clause!(
    CONTROLLER_LISTVOLUMES_PAGES,
    "controller.listvolumes.pages_complete",
    Must,
    Specification,
    "ListVolumes",
    "listvolumes",
    "No page has more than max_entries entries, and with no change going on, the pages together list each volume exactly once."
);
clause!(
    CONTROLLER_LISTVOLUMES_TOKEN,
    "controller.listvolumes.invalid_token",
    Must,
    Specification,
    "ListVolumes Errors",
    "listvolumes-errors",
    "A starting_token that is not valid gives ABORTED."
);
clause!(
    CONTROLLER_PUBLISH_READONLY,
    "controller.publish.readonly",
    Must,
    Specification,
    "ControllerPublishVolume",
    "controllerpublishvolume",
    "readonly=true: the volume is published read-only (what is on the node takes no writes)."
);
