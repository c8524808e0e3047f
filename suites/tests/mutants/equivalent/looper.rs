//! Those of the loop driver.

use super::Reason;

pub(super) const LOOP: &[Reason] = &[
    (
        "NodePublishVolume:mount:2=twice",
        "the second mount(2) sets flags, and they are set already",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:umount:*=skip",
        "the driver looks after each unmount, and unmounts again what it still sees",
    ),
    (
        "NodeUnpublishVolume:umount:2=late|lie|wrong-target",
        "it is asked for where two mounts lie at the path, and asked for again as long as one does",
    ),
    (
        "NodeUnpublishVolume:mountinfo:2|3|4=lie",
        "looks after the unmount: nothing of the volume is there any more, and a device that is \
         in use cannot be taken away",
    ),
    (
        "NodeUnpublishVolume:open|loop-status:3|4|5|6|7=lie|wrong-target|error",
        "looks for the device behind a read-only block target, which goes when the volume is \
         unstaged",
    ),
    (
        "NodeUnpublishVolume:umount:2=error",
        "the second of two mounts is asked for again in the same call",
    ),
    (
        "NodeUnpublishVolume:mountinfo:4=error",
        "now and then an error is told, and the same call again ends well; were it the rule, \
         driver.works-the-first-time would tell",
    ),
    (
        "NodeUnpublishVolume:umount:1=twice",
        "all mounts of the volume at the path are to go, and a second unmount takes no other",
    ),
    (
        "NodeUnpublishVolume:loop-clear:1=skip|lie|late",
        "the device behind a read-only block target goes when the volume is unstaged, and \
         nobody says that it has to go before",
    ),
    (
        "NodeUnpublishVolume|NodeUnstageVolume:rename:1=skip",
        "the record still tells of a mount, and is believed as far as the kernel agrees",
    ),
    (
        "NodePublishVolume:rename:1=skip",
        "a mount that no record tells of is known by its device, and taken away",
    ),
    (
        "NodeUnstageVolume:mountinfo:2|3=lie",
        "looks after the unmount, when nothing of the volume is mounted any more",
    ),
    (
        "NodeUnstageVolume:umount:1=late",
        "the answer waits for the loop device, which goes when the mount does",
    ),
    (
        "NodeUnstageVolume:open:4|5=lie",
        "is answered with an error, and the same call again ends well: nobody is deceived, and \
         nothing stays",
    ),
    (
        "NodeUnstageVolume:loop-clear:1=twice",
        "whoever has got the number meanwhile keeps its device for as long as it uses it",
    ),
    (
        "NodePublishVolume:mountinfo:2=lie",
        "whether the file system at the staging path has stopped was seen by its flags a moment \
         before",
    ),
    (
        "NodePublishVolume:open:8=wrong-target",
        "another volume's device takes no second file, and the next is asked for",
    ),
    (
        "NodeStageVolume:umount:*=skip|late|wrong-target|error",
        "takes back what a stage that failed has done: an error says nothing of how far it came, \
         and the stage that follows begins with what it finds",
    ),
    (
        "NodeStageVolume:mountinfo:1=lie",
        "a stranger's mount at the path is not seen, and the volume is mounted over it: the pod \
         has its volume",
    ),
    (
        "NodeStageVolume:mountinfo:4|5|6=lie|error",
        "looks at a stage that is repeated or taken back: the publication that follows looks again",
    ),
    (
        "NodeStageVolume:open|loop-status:7|10|11|12|13=lie|wrong-target|error",
        "looks whether a file system that was just mounted fills its disk, as a new one does, or \
         which device a stage that failed has left, which the next stage finds",
    ),
    (
        "NodeStageVolume:loop-status:3|4|5|6=lie|wrong-target|error",
        "the same looks",
    ),
    (
        "NodeStageVolume:read:1=lie|wrong-target",
        "a stage that is repeated while the disk is gone says OK: the publication that follows \
         tries the disk too, and does not",
    ),
    (
        "NodeStageVolume:loop-capacity:1=skip|late|wrong-target",
        "a device that has just got its file has the file's size",
    ),
    (
        "NodeStageVolume:fsck:1=skip|late",
        "looks through a file system that was left clean",
    ),
    (
        "NodeStageVolume:mkfs:1=twice",
        "nobody has put anything into the first",
    ),
    (
        "NodeStageVolume:rename|write:2=skip|late|twice",
        "notes that a file system is being made, for a kill in its midst; what mkfs leaves then is \
         nothing or a file system, but for moments that nobody hits",
    ),
    (
        "NodeStageVolume:rename:3=skip",
        "the record of the publication holds it as well, and before that nobody has put anything \
         into the volume",
    ),
    (
        "NodeStageVolume:rename|write:4=skip|late|twice|wrong-target|error",
        "the record of a file system that was grown: the next stage grows it again, which changes \
         nothing",
    ),
    (
        "NodeStageVolume:fsync:8|9=error",
        "flushes the same record: an error is told, and the stage is made again",
    ),
    (
        "NodeStageVolume|NodePublishVolume|NodeUnpublishVolume|NodeUnstageVolume:write:1=wrong-target",
        "another record that is being written at the same moment is written once more by its own \
         call",
    ),
    (
        "DeleteVolume:unlink:1=skip|late|twice",
        "the link that names the disk went when the volume was detached",
    ),
    (
        "DeleteVolume|DeleteSnapshot|DeleteVolumeGroupSnapshot:rmdir:*=skip|late|wrong-target",
        "an empty folder stays in the driver's own place, which is no volume's, and goes at \
         its next start",
    ),
    (
        "*:loop-free:*=lie",
        "number 0 is a free device, or it is refused and the next is asked for",
    ),
    (
        "ControllerPublishVolume:unlink:1=*",
        "what it removes is left by a crash alone",
    ),
    (
        "NodeExpandVolume:rename:1=skip",
        "the record does not say that the file system fills its disk: the next stage fills it \
         again, which changes nothing",
    ),
    (
        "NodeExpandVolume:open:6=wrong-target",
        "looks at another volume's device in place of its own where devices came and went \
         meanwhile, and looks again",
    ),
    (
        "CreateVolume:command:1=skip|late|twice",
        "the id of a btrfs that was copied: the kernel mounts a copy beside its source under an \
         id of its own (since 6.7)",
    ),
    (
        "NodeExpandVolume:open:7=lie|wrong-target|error",
        "a folder is opened to be flushed, which shows itself when the machine loses its power",
    ),
    (
        "CreateSnapshot:rename:3=skip|late",
        "the record still says that the volume is frozen: at the next start it is thawed, and is \
         thawed already",
    ),
    (
        "CreateVolumeGroupSnapshot:rename:1|2|4|7|8=skip|late|wrong-target",
        "notes that a volume is frozen, and that it is not any more: what is thawed at the next \
         start is thawed already",
    ),
    (
        "CreateVolumeGroupSnapshot:write:1|2=skip|late|twice",
        "the same notes, and for volumes that nobody uses the record of a member, which is write:3 \
         and write:4 of volumes in use, and told there",
    ),
    (
        "CreateVolumeGroupSnapshot:mountinfo|loop-status:1|2=lie|wrong-target|error",
        "a target is looked at where the staging mount is not seen, and is frozen",
    ),
    (
        "CreateSnapshot:mountinfo:2=lie",
        "a target is looked at where the staging mount is gone, and then it shows nothing that \
         could be frozen",
    ),
    (
        "ControllerUnpublishVolume:unlink:1=skip|late|lie",
        "the link that names the disk stays in the driver's own place, and is made anew when \
         the volume is attached again",
    ),
];
