//! Snapshots of several volumes at one moment.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    IDENTITY_CAPS_GROUP_SERVICE_TRUE,
    "identity.caps.group_service_true",
    Must,
    Specification,
    "GetPluginCapabilities",
    "getplugincapabilities",
    "The REQUIRED GroupController RPCs really answer."
);
clause!(
    GROUP_CREATE_IMPLEMENTED,
    "group.create.implemented",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "CreateVolumeGroupSnapshot is implemented when the capability is reported."
);
clause!(
    GROUP_FIELDS_SNAPSHOTS,
    "group.fields.snapshots",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "snapshots has one member for each source volume, each with all its required fields."
);
clause!(
    GROUP_FIELDS_MEMBER_GROUP_ID,
    "group.fields.member_group_id",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "group_snapshot_id of each member inside the group is that of the group."
);
clause!(
    GROUP_FIELDS_CREATION_TIME,
    "group.fields.creation_time",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "creation_time is set and stable."
);
clause!(
    GROUP_CREATE_IDEMPOTENT,
    "group.create.idempotent",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "The same name, volumes and parameters again: OK with the same group, made only once."
);
clause!(
    GROUP_CREATE_EXISTS_INCOMPATIBLE,
    "group.create.exists_incompatible",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot Errors",
    "createvolumegroupsnapshot-errors",
    "The name exists with other sources or parameters: ALREADY_EXISTS."
);
clause!(
    GROUP_CREATE_NAME_REQUIRED,
    "group.create.name_required",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "An empty name is refused."
);
clause!(
    GROUP_CREATE_SOURCES_REQUIRED,
    "group.create.sources_required",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "An empty list of source volumes is refused."
);
clause!(
    GROUP_CREATE_WRITE_ORDER,
    "group.create.write_order",
    Must,
    Specification,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "All members are of one point in time relative to writes to the volumes, or the call fails."
);
clause!(
    GROUP_MEMBER_DATA,
    "group.create.member_data",
    Must,
    Integrity,
    "CreateVolumeGroupSnapshot",
    "createvolumegroupsnapshot",
    "A volume that is made from a member holds what that member's own source held."
);
clause!(
    GROUP_DELETE_IMPLEMENTED,
    "group.delete.implemented",
    Must,
    Specification,
    "DeleteVolumeGroupSnapshot",
    "deletevolumegroupsnapshot",
    "DeleteVolumeGroupSnapshot is implemented."
);
clause!(
    GROUP_DELETE_MEMBERS,
    "group.delete.deletes_members",
    Must,
    Specification,
    "DeleteVolumeGroupSnapshot",
    "deletevolumegroupsnapshot",
    "All member snapshots are gone after OK."
);
clause!(
    GROUP_DELETE_IDEMPOTENT,
    "group.delete.idempotent",
    Must,
    Specification,
    "DeleteVolumeGroupSnapshot",
    "deletevolumegroupsnapshot",
    "Twice, or an id that does not exist: OK."
);
clause!(
    GROUP_DELETE_ID_REQUIRED,
    "group.delete.id_required",
    Must,
    Specification,
    "DeleteVolumeGroupSnapshot",
    "deletevolumegroupsnapshot",
    "An empty group_snapshot_id is refused."
);
clause!(
    GROUP_GET_CURRENT,
    "group.get.current",
    Should,
    Specification,
    "GetVolumeGroupSnapshot",
    "getvolumegroupsnapshot",
    "It returns the present state of the group."
);
clause!(
    GROUP_GET_NOT_FOUND,
    "group.get.not_found",
    Must,
    Specification,
    "GetVolumeGroupSnapshot Errors",
    "getvolumegroupsnapshot-errors",
    "An unknown or deleted group gives NOT_FOUND."
);
