//! Disks that fail, and mounts that outlive them.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    NODE_STAGE_NO_FORMAT_ON_PROBE_FAILURE,
    "node.stage.no_format_on_probe_failure",
    Must,
    Integrity,
    "NodeStageVolume",
    "nodestagevolume",
    "A device that cannot be read is not taken for a blank one: the call fails, and nothing is written to it."
);
clause!(
    NODE_STAGE_RIGHT_DEVICE,
    "node.stage.right_device",
    Must,
    Integrity,
    "NodeStageVolume",
    "nodestagevolume",
    "The device staged is that of the volume: a mount that was at the path before, or a name of the device that leads elsewhere by now, is not taken for it."
);
clause!(
    NODE_STAGE_FAILURE_HOLDS_NOTHING,
    "node.stage.failure_holds_nothing",
    Should,
    Kubernetes,
    "NodeStageVolume",
    "nodestagevolume",
    "A stage that was refused for good leaves no mount and no device attached: the kubelet does not unstage what was never staged."
);
clause!(
    NODE_STAGE_FAILURE_IS_NO_SUCCESS,
    "node.stage.failure_is_no_success",
    Must,
    Integrity,
    "NodeStageVolume",
    "nodestagevolume",
    "A call that failed and is repeated is answered OK only when its work is done."
);
clause!(
    NODE_UNSTAGE_FAILURE_IS_REPAIRED,
    "node.unstage.failure_is_repaired",
    Must,
    Integrity,
    "NodeUnstageVolume",
    "nodeunstagevolume",
    "After an unstage that failed half way, a publish does not show the bare staging folder, and the unstage can be repeated until it is done."
);
clause!(
    NODE_MOUNT_LOST_IS_NOT_THERE,
    "node.publish.lost_mount_is_not_there",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "A mount that others took away is not taken for there: a repeat is answered OK only with the volume mounted again."
);
clause!(
    NODE_HANG_LEAVES_NO_LOCK,
    "general.hang.leaves_no_lock",
    Must,
    Specification,
    "Error Scheme",
    "error-scheme",
    "When what a call waited for is back, the same call ends well: ABORTED is not given for ever."
);
clause!(
    NODE_STATS_CONDITION_TRUE,
    "node.stats.condition_true",
    Should,
    Integrity,
    "NodeGetVolumeStats",
    "nodegetvolumestats",
    "A volume whose file system answers with errors, has stopped or has turned read-only is not told to be in normal condition."
);
