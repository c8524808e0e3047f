//! Where volumes come from: snapshots, clones, sizes.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    CONTROLLER_CREATE_FROM_SNAPSHOT_DATA,
    "controller.create.from_snapshot_data",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The new volume holds the data of the snapshot, byte for byte, as of its cut."
);
clause!(
    CONTROLLER_CREATE_FROM_VOLUME_DATA,
    "controller.create.from_volume_data",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The clone holds the data of the source; later writes to one do not show in the other."
);
clause!(
    CONTROLLER_CREATE_CONTENT_SOURCE_REPORTED,
    "controller.create.content_source_reported",
    Should,
    Kubernetes,
    "CreateVolume",
    "createvolume",
    "content_source of the answer is the source that was asked for; the provisioner of Kubernetes deletes a volume without it."
);
clause!(
    CONTROLLER_CREATE_SOURCE_LARGER,
    "controller.create.source_larger_fs_resized",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The filesystem of a larger restore or clone has been grown at or before NodePublish, without NodeExpandVolume, and also when a first try was cut off."
);
clause!(
    CONTROLLER_CREATE_SOURCE_NOT_FOUND,
    "controller.create.source_not_found",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "A source snapshot or volume that does not exist gives NOT_FOUND and no volume."
);
clause!(
    CONTROLLER_CREATE_EXISTS_OTHER_SOURCE,
    "controller.create.exists_incompatible.volume_content_source",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The name exists but the volume is not compatible with the requested volume_content_source: ALREADY_EXISTS, and the old volume is untouched."
);
clause!(
    CONTROLLER_CREATE_LIMIT_KEPT,
    "controller.create.capacity_limit",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The volume is never larger than limit_bytes: where no size lies in the range, the call fails with OUT_OF_RANGE."
);
clause!(
    CONTROLLER_DELETE_SNAPSHOTS_SURVIVE,
    "controller.delete.snapshots_survive",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "After a volume is deleted its snapshots are whole: usable as sources, with the right data."
);
clause!(
    CONTROLLER_DELETE_SNAPSHOTS_DEPENDENT,
    "controller.delete.snapshots_dependent",
    Must,
    Specification,
    "DeleteVolume",
    "deletevolume",
    "A volume that its snapshots depend on is not deleted: FAILED_PRECONDITION, and it is not altered at all."
);
clause!(
    SNAPSHOT_CREATE_IMPLEMENTED,
    "controller.snapshot.create.implemented",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "CreateSnapshot is implemented when the capability is reported."
);
clause!(
    SNAPSHOT_FIELDS,
    "controller.snapshot.fields.source_volume_id",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "A snapshot has an id, the id of its source, the time of its cut, and a size that is not negative."
);
clause!(
    SNAPSHOT_CREATE_IDEMPOTENT,
    "controller.snapshot.create.idempotent",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "Same name and source again: OK with the same snapshot (id, creation_time, size)."
);
clause!(
    SNAPSHOT_CREATE_EXISTS_OTHER_SOURCE,
    "controller.snapshot.create.exists_other_source",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "The name exists for another source volume: ALREADY_EXISTS."
);
clause!(
    SNAPSHOT_CREATE_NAME_REQUIRED,
    "controller.snapshot.create.name_required",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "Empty name is refused."
);
clause!(
    SNAPSHOT_CREATE_SOURCE_REQUIRED,
    "controller.snapshot.create.source_required",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "Empty source_volume_id is refused."
);
clause!(
    SNAPSHOT_CREATE_SOURCE_MISSING,
    "controller.snapshot.create.source_missing",
    Should,
    Integrity,
    "CreateSnapshot",
    "createsnapshot",
    "A source volume that does not exist is refused (NOT_FOUND is the usual code)."
);
clause!(
    SNAPSHOT_CREATE_CUT,
    "controller.snapshot.create.blocks_until_cut",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "The call returns OK only when the snapshot is cut: writes after the answer are not in it, writes synced before the call are."
);
clause!(
    SNAPSHOT_CREATE_WRITTEN_OUT,
    "controller.snapshot.create.written_out",
    Should,
    Integrity,
    "CreateSnapshot",
    "createsnapshot",
    "A plugin that cuts the snapshot on the node where the volume is mounted lets the kernel write out first what it holds back, so that what a workload has written is in it."
);
clause!(
    CONTROLLER_CREATE_NAMES_APART,
    "controller.create.name_max_length",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "Names of up to 128 bytes that differ, if only in the last byte, are names of different volumes."
);
clause!(
    CONTROLLER_CREATE_FULL_RESPONSE,
    "controller.create.idempotent_full_response",
    Must,
    Specification,
    "CreateVolume",
    "createvolume",
    "The answer to a repeat is as full as the first: the same volume_context and capacity."
);
clause!(
    SNAPSHOT_CREATE_NAMES_APART,
    "controller.snapshot.create.name_any_unicode",
    Must,
    Specification,
    "CreateSnapshot",
    "createsnapshot",
    "Names of up to 128 bytes that differ, if only in the last byte, are names of different snapshots."
);
clause!(
    SNAPSHOT_CREATE_IMMUTABLE,
    "controller.snapshot.create.immutable",
    Must,
    Integrity,
    "CreateSnapshot",
    "createsnapshot",
    "The content of a snapshot never changes after the cut, whatever becomes of its source, of other snapshots and of the volumes that are made from it."
);
clause!(
    SNAPSHOT_DELETE_ONLY_THAT,
    "controller.snapshot.delete.only_that_snapshot",
    Must,
    Integrity,
    "DeleteSnapshot",
    "deletesnapshot",
    "No other snapshot is touched, and no volume."
);
clause!(
    SNAPSHOT_DELETE_IMPLEMENTED,
    "controller.snapshot.delete.implemented",
    Must,
    Specification,
    "DeleteSnapshot",
    "deletesnapshot",
    "DeleteSnapshot is implemented when the capability is reported."
);
clause!(
    SNAPSHOT_DELETE_IDEMPOTENT,
    "controller.snapshot.delete.idempotent",
    Must,
    Specification,
    "DeleteSnapshot",
    "deletesnapshot",
    "Deleting twice, and an id that does not exist (of any form), gives OK."
);
clause!(
    SNAPSHOT_DELETE_ID_REQUIRED,
    "controller.snapshot.delete.id_required",
    Must,
    Specification,
    "DeleteSnapshot",
    "deletesnapshot",
    "Empty snapshot_id is refused."
);
clause!(
    SNAPSHOT_DELETE_RESTORED_SURVIVE,
    "controller.snapshot.delete.restored_volumes_survive",
    Must,
    Integrity,
    "DeleteSnapshot",
    "deletesnapshot",
    "If the delete is OK, volumes made from the snapshot keep their data."
);
clause!(
    LIST_SNAPSHOTS_ALL,
    "controller.listsnapshots.all",
    Must,
    Specification,
    "ListSnapshots",
    "listsnapshots",
    "All snapshots that match are listed, however they were made; deleted ones are not."
);
clause!(
    LIST_SNAPSHOTS_BY_ID,
    "controller.listsnapshots.by_id",
    Must,
    Specification,
    "ListSnapshots",
    "listsnapshots",
    "snapshot_id filters to that one; an id that does not exist gives an empty list with OK."
);
clause!(
    NODE_EXPAND_NOT_PUBLISHED,
    "node.expand.not_published",
    Should,
    Integrity,
    "NodeExpandVolume",
    "nodeexpandvolume",
    "A volume neither staged nor published at volume_path is refused."
);
clause!(
    CONTROLLER_EXPAND_WORKS,
    "controller.expand.works",
    Must,
    Specification,
    "ControllerExpandVolume",
    "controllerexpandvolume",
    "The volume is expanded, and capacity_bytes holds the new size within the range."
);
clause!(
    NODE_MOUNT_LOST_HOST_UNTOUCHED,
    "node.mount_lost.host_untouched",
    Must,
    Integrity,
    "RPC Interface",
    "rpc-interface",
    "A call for a volume whose mount was lost changes nothing of the folder that is there in its place: it belongs to the node."
);
