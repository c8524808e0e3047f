//! `NodePublishVolume`: the volume is there, and it is the right one.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Kind, Marker, Need, Step, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &DATA_STAYS,
    &FRESH_IS_EMPTY,
    &TYPE_IS_AS_ASKED,
    &RAW_IS_RAW,
    &REACHES_THE_NODE,
    &REPEAT,
    &STAYS_AS_IT_WAS,
    &TARGET_IS_A_DEVICE,
    &TARGET_IS_MOUNTED,
    &TWICE_AT_ONCE,
    &TWO_TARGETS,
    &VOLUMES_ARE_APART,
    &WRITER_CAN_WRITE,
];

check! {
    /// After `NodePublishVolume` answers OK, the volume is mounted at `target_path`.
    ///
    /// A driver that answers before the mount exists, or without one, lets the
    /// workload start on the bare directory, and its data goes to the node's own
    /// disk.
    TARGET_IS_MOUNTED = "node-publish.target-is-mounted",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_CREATES_TARGET, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::MOUNT,
    owns: [Step::Publish(Access::Mount)],
    phase: First,
    axes: [FileSystem],
    volumes: 1, calls: 10,
    seen_in: ["kubernetes-csi/csi-driver-nfs#762" => "the logs show success, and writes go to the node's own file system",
              "ceph/ceph-csi#4762" => "the bare staging folder was bound to the target"],
    look_at: "what your driver does after mount(8) exits 0 or mount(2) returns: read mountinfo again before answering",
    run: target_is_mounted,
}

async fn target_is_mounted(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.publish("a").await?.is_mounted_once().await
}

check! {
    /// After `NodePublishVolume` answers OK, `target_path` is the volume's block device.
    ///
    /// A folder or an empty file in its place takes the workload's writes to the
    /// node's own disk.
    TARGET_IS_A_DEVICE = "node-publish.target-is-a-block-device",
    clauses: [spec::NODE_PUBLISH_BLOCK_AT_TARGET],
    needs: Need::BLOCK,
    owns: [Step::Publish(Access::Block)],
    phase: First,
    volumes: 1, calls: 10,
    seen_in: ["vultr/vultr-csi#406" => "block volumes were formatted and mounted as folders"],
    look_at: "whether the block access type is handled apart from mount, in stage and in publish",
    run: target_is_a_device,
}

async fn target_is_a_device(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::of(Kind::Block)).await?.stage().await?;
    staged.publish("a").await?.size().await.map(drop)
}

check! {
    /// A new block volume holds no file system.
    ///
    /// Who asks for a raw device writes to it from its first byte: a driver that
    /// formats it anyway does so again when what it finds is not to its liking.
    RAW_IS_RAW = "node-publish.new-block-volume-is-raw",
    clauses: [spec::NODE_PUBLISH_BLOCK_AT_TARGET, spec::NODE_PUBLISH_CAPABILITY_HONOURED],
    needs: Need::All(&[Need::BLOCK, Need::OwnVolumes]),
    volumes: 1, calls: 10,
    seen_in: ["vultr/vultr-csi#406" => "block volumes were formatted"],
    look_at: "whether the access type of the capability is looked at before mkfs is run",
    run: raw_is_raw,
}

async fn raw_is_raw(cx: &Cx) -> Checked {
    let want = Want {
        fresh: true,
        ..Want::of(Kind::Block)
    };
    let target = cx.volume(want).await?.stage().await?.publish("a").await?;
    match target.file_system_on_device().await? {
        Some(found) => Err(Stop::fail(format!(
            "the new block volume holds a file system: {found}"
        ))),
        None => Ok(()),
    }
}

check! {
    /// What the driver mounts is seen on the node, not in its own namespace alone.
    ///
    /// The driver's container needs its kubelet folder with Bidirectional mount
    /// propagation; without it every call answers OK and no pod sees its volume.
    REACHES_THE_NODE = "node-publish.mount-reaches-the-node",
    clauses: [spec::NODE_PUBLISH_VISIBLE_IN_HOST_NAMESPACE],
    needs: Need::ANY_VOLUME,
    owns: [Step::Propagates],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["ceph/ceph-csi#58" => "mounts were seen in the plugin's container, and not on the host",
              "k0sproject/k0s#1842" => "the kubelet's folder was another than the one shared with the plugin"],
    look_at: "mountPropagation: Bidirectional on the kubelet's folder in the driver's pod, and a shared mount above it on the node",
    run: reaches_the_node,
}

async fn reaches_the_node(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.publish("a").await.map(drop)
}

check! {
    /// A volume that is published to a writer takes what is written.
    ///
    /// The volume can be used as its capability says, or the call fails.
    WRITER_CAN_WRITE = "node-publish.writer-can-write",
    clauses: [spec::NODE_PUBLISH_CAPABILITY_HONOURED],
    needs: Need::ANY_VOLUME,
    owns: [Step::Write(Access::Mount), Step::Write(Access::Block)],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 10,
    look_at: "how readonly and the access mode become mount options; a driver that is read-only by nature should refuse writer modes",
    run: writer_can_write,
}

async fn writer_can_write(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    target.is_for_writing()?;
    let marker = Marker::new()?;
    if let Err(why) = target.try_write(&marker).await? {
        let reader = target.is_read_only().await?;
        let told = format!("a writer published the volume, and cannot write: {why}");
        // Some drivers are read-only by nature: it should be refused, and is
        // seen at once by whoever tries.
        return Err(if reader {
            Stop::Warn(told)
        } else {
            Stop::fail(told)
        });
    }
    target.shows(&marker).await
}

check! {
    /// What is mounted when OK is answered is still there, and alone, after a while.
    ///
    /// Work that goes on behind an answer ends when nobody looks: a mount that
    /// fails late, a second one that a retry stacks on the first.
    STAYS_AS_IT_WAS = "node-publish.stays-as-it-was",
    clauses: [spec::NODE_PUBLISH_MOUNT_AT_TARGET, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::ANY_VOLUME,
    phase: Quiet,
    axes: [Kind],
    volumes: 1, calls: 12,
    look_at: "what still runs after the answer: a helper, a retry, a time-out that gave up waiting",
    run: stays_as_it_was,
}

async fn stays_as_it_was(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let at_ok = target.standing("at OK").await?;
    target.quiet_period().await;
    target
        .is_as_it_was(&at_ok, "after the quiet period")
        .await?;
    target.is_still_there("after the quiet period").await
}

check! {
    /// The same `NodePublishVolume` again is OK, and mounts nothing twice.
    ///
    /// The kubelet repeats it after every restart and every timeout. One unpublish
    /// takes one layer of a stack away, and the rest stays for ever.
    REPEAT = "node-publish.repeat-mounts-once",
    clauses: [spec::NODE_PUBLISH_IDEMPOTENT, spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 12,
    seen_in: ["topolvm/topolvm#1225" => "each repeat of a block publish left one more mount on the node",
              "kubernetes-csi/csi-driver-smb!423" => "a test for mounts that does not see bind mounts"],
    look_at: "whether the path is looked up in mountinfo before mounting (st_dev does not tell bind mounts)",
    run: repeat,
}

async fn repeat(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let once = target.mounts("after the first publish").await?.len();
    let marker = Marker::new()?;
    let wrote = target.try_write_if_allowed(&marker).await?;
    for _ in 0..2 {
        target.publish_again().await?.ok()?;
    }
    let mounts = target.mounts("after the third publish").await?.len();
    if mounts > once {
        return Err(Stop::fail(format!(
            "{once} mount after one NodePublishVolume, {mounts} after three"
        )));
    }
    if wrote {
        target.shows(&marker).await?;
    }
    target.unpublish().await
}

check! {
    /// Two equal `NodePublishVolume` at once leave one mount.
    TWICE_AT_ONCE = "node-publish.twice-at-once-mounts-once",
    clauses: [spec::NODE_PUBLISH_NO_MOUNT_STACK],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 12,
    look_at: "a lock for each volume, or ABORTED while a call for it is at work",
    run: twice_at_once,
}

async fn twice_at_once(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let (request, target) = staged.publish_request("a")?;
    let publish = || staged.send_publish(request.clone(), &target);
    let (a, b) = tokio::join!(publish(), publish());
    if !a?.is_ok() || !b?.is_ok() {
        staged.publish("a").await?;
    }
    match staged.mounts_at(&target, "after both").await?.len() {
        n if n > 1 => Err(Stop::fail(format!(
            "{n} mounts are at the target path after two calls at once"
        ))),
        _ => Ok(()),
    }
}

check! {
    /// What was written through one target is there in the next.
    ///
    /// The pod comes back on the same node: unpublish, then publish to a new
    /// target, with no stage between.
    DATA_STAYS = "node-publish.data-stays",
    clauses: [spec::NODE_PUBLISH_PERSISTENCE],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 12,
    look_at: "what is mounted: the volume itself, or a folder made anew for each target",
    run: data_stays,
}

async fn data_stays(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    let first = staged.publish("a").await?;
    let marker = Marker::new()?;
    first.write(&marker).await?;
    first.unpublish().await?;
    staged.publish("b").await?.shows(&marker).await
}

check! {
    /// Two volumes never show one another's data.
    ///
    /// A device found by a name that was given again, or a mount taken for another
    /// volume's, gives one tenant the data of the next.
    VOLUMES_ARE_APART = "node-publish.volumes-are-apart",
    clauses: [spec::NODE_PUBLISH_ISOLATION, spec::NODE_UNSTAGE_ONLY_THAT_VOLUME],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 2, calls: 22,
    seen_in: ["kubernetes-csi/csi-driver-smb#675" => "a container was shown another PV's data",
              "sergelogvinov/proxmox-csi-plugin#601" => "pods started on other applications' volumes"],
    look_at: "how the device or the share of a volume is found, and whether its identity is checked",
    run: volumes_are_apart,
}

async fn volumes_are_apart(cx: &Cx) -> Checked {
    let (one, other) = (cx.volume(Want::any()).await?, cx.volume(Want::any()).await?);
    let (one, other) = (one.stage().await?, other.stage().await?);
    let (a, b) = (one.publish("a").await?, other.publish("a").await?);
    let (red, blue) = (Marker::new()?, Marker::second()?);
    a.write(&red).await?;
    b.write(&blue).await?;
    a.lacks(&blue).await?;
    b.lacks(&red).await?;
    // Taking one of them away leaves the other as it was.
    a.unpublish().await?;
    one.unstage().await?;
    b.is_still_there("after the other volume was unstaged")
        .await?;
    b.shows(&blue).await?;
    if other.volume().keeps_data().is_err() {
        return Ok(());
    }
    // Its staging mount too: the next pod comes without a stage.
    b.unpublish().await?;
    other.publish("c").await?.shows(&blue).await
}

check! {
    /// A new volume shows no data of one that was deleted.
    FRESH_IS_EMPTY = "node-publish.new-volume-is-empty",
    clauses: [spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes]),
    axes: [Kind],
    volumes: 2, calls: 22,
    look_at: "what a new volume is made of: storage that was used before has to be wiped",
    run: fresh_is_empty,
}

async fn fresh_is_empty(cx: &Cx) -> Checked {
    let old = cx.volume(Want::fresh()).await?;
    let staged = old.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    target.unpublish().await?;
    staged.unstage().await?;
    old.detach().await?;
    old.delete().await?;
    let new = cx.volume(Want::fresh()).await?.stage().await?;
    new.publish("a").await?.lacks(&marker).await
}

check! {
    /// Two targets of one volume show the same, and go one by one.
    ///
    /// Two pods of a node share a volume: when one ends, the other works on.
    TWO_TARGETS = "node-publish.two-targets-show-the-same",
    clauses: [spec::NODE_UNPUBLISH_OTHER_TARGETS_KEPT],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 14,
    look_at: "what unpublish takes away: the mount at its own target path, and nothing beside it",
    run: two_targets,
}

async fn two_targets(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let first = staged.publish("a").await?;
    // The text of the specification allows a refusal for a single writer.
    let second = staged.publish_second("b").await?;
    let marker = Marker::new()?;
    first.write(&marker).await?;
    second.shows(&marker).await?;
    first.unpublish().await?;
    second
        .is_still_there("after the first target was unpublished")
        .await?;
    second.shows(&marker).await
}

check! {
    /// The file system is of the type that was asked for.
    TYPE_IS_AS_ASKED = "node-publish.file-system-is-as-asked",
    clauses: [spec::NODE_PUBLISH_FS_TYPE_APPLIED],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 10,
    look_at: "whether fs_type of the capability reaches mkfs and mount",
    run: type_is_as_asked,
}

async fn type_is_as_asked(cx: &Cx) -> Checked {
    let asked = match cx.kind()? {
        Kind::Mount(fs_type) if !fs_type.is_empty() => fs_type,
        _ => return Err(Stop::not_given("volume.file_systems")),
    };
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    match target.mounts("now").await?.last() {
        Some(mount) if mount.fs_type == asked => Ok(()),
        Some(mount) => Err(Stop::fail(format!(
            "{asked} was asked for, {} is mounted",
            mount.fs_type
        ))),
        None => Err(Stop::Unknown(
            "the mount went away while it was looked at".into(),
        )),
    }
}
