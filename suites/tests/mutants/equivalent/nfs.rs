//! Those of the NFS driver.

use super::Reason;

pub(super) const NFS: &[Reason] = &[
    (
        "NodePublishVolume|NodeStageVolume:rename:1=skip|late",
        "a record that is lost is no harm: the mount table tells whether something is mounted, and \
         the volume's id and context what it should be",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:rename:1=skip|late",
        "the record still tells of a mount, and is believed as far as the kernel agrees",
    ),
    (
        "NodePublishVolume|NodeStageVolume:open|write|rename:2=*",
        "the record of what failed stays: whether anything is mounted is asked of the kernel",
    ),
    (
        "NodePublishVolume:rmdir:1=*",
        "the folder for a publish that failed goes with the NodeUnpublishVolume that has to follow",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:umount:*=skip",
        "the driver looks after each unmount, and unmounts again what it still sees",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:mountinfo:3=lie",
        "a look after the unmount, when nothing is mounted there any more",
    ),
];
