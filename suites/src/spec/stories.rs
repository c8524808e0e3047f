//! What befalls pods and their volumes: the same handle twice, the pod that came back,
//! the volume that is in use when it goes.

use csi_harness::check::{Basis, Clause, Level};

clause!(
    STORY_POD_CAME_BACK,
    "k8s.story.pod_came_back",
    Must,
    Kubernetes,
    "NodeStageVolume",
    "nodestagevolume",
    "A pod that is made again on its node comes with a publish and no stage before it, with an unstage and a stage at once, or with a second target while the first is there. The volume is usable after each of them."
);
clause!(
    NODE_STAGE_FAILURE_CLEANS_UP,
    "node.stage.failure_cleans_up",
    Should,
    Specification,
    "NodeStageVolume",
    "nodestagevolume",
    "A failed stage leaves no mount or device mapping that unstage would not clear."
);
clause!(
    STORY_ONE_HANDLE,
    "k8s.story.one_handle",
    Must,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Where volume_context says what data a volume holds, a call with another context shows that other data, or is refused; it never shows the data of the first."
);
clause!(
    STORY_TWINS,
    "k8s.story.twin_mounts",
    Should,
    Kubernetes,
    "NodeStageVolume",
    "nodestagevolume",
    "The mounts of two volumes differ in device or root: the kubelet takes mounts with the same pair for one volume's, and unstages neither while the other is there."
);
clause!(
    NODE_UNDERLAY_EMPTY,
    "node.underlay.empty",
    Should,
    Integrity,
    "NodePublishVolume",
    "nodepublishvolume",
    "Beneath a mount point lies an empty folder: nothing of the volume was written to the node's own disk."
);
