//! `NodePublishVolume`: access modes, read-only, mount flags.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Marker, Need, Published, Stop, Want};
use csi_harness::client::Code;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::volume_capability::access_mode::Mode;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &ACCESS_MODE,
    &FLAGS,
    &WITHOUT_STAGE,
    &OTHER_ARGUMENTS,
    &READ_ONLY,
    &READ_ONLY_STAYS,
    &READ_ONLY_BESIDE_WRITER,
    &SINGLE_WRITER,
];

check! {
    /// A volume is published as its access mode says: writers write, readers do not.
    ///
    /// The volume can be used as its capability says, or the call fails.
    ACCESS_MODE = "node-publish.access-mode-is-kept",
    clauses: [spec::NODE_PUBLISH_CAPABILITY_HONOURED],
    needs: Need::ANY_VOLUME,
    axes: [Kind, Mode],
    volumes: 1, calls: 12,
    look_at: "what each access mode that CreateVolume accepts becomes in the mount",
    run: access_mode,
}

async fn access_mode(cx: &Cx) -> Checked {
    let mode = cx.mode();
    let reader = matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly);
    let volume = cx.volume(Want::any()).await?;
    let up = async { volume.stage().await?.publish("a").await };
    let target = up.await.map_err(|stop| match reader {
        true => volume.unless_new(stop),
        false => stop,
    })?;
    if !reader {
        return target.write(&Marker::new()?).await;
    }
    match target.try_write(&Marker::new()?).await? {
        Err(_) => Ok(()),
        // The kubelet says readonly besides, where it matters.
        Ok(()) => Err(Stop::Warn(format!(
            "published as {}, the volume takes a write",
            mode.as_str_name()
        ))),
    }
}

check! {
    /// A volume that is published read-only takes no write.
    ///
    /// A bind mount made read-only in one call stays writable: the kernel ignores
    /// the flag there. On a block device a read-only bind mount stops nobody: only
    /// the device itself can be read-only.
    READ_ONLY = "node-publish.read-only-takes-no-write",
    clauses: [spec::NODE_PUBLISH_READONLY, spec::NODE_PUBLISH_READONLY_BLOCK],
    needs: Need::ANY_VOLUME,
    axes: [Kind],
    volumes: 1, calls: 14,
    seen_in: ["dell/csm#503" => "a read-only publish was `rw` in mountinfo",
              "piraeusdatastore/linstor-csi!88" => "a read-only bind of a device node does not stop an open for writing"],
    look_at: "a bind mount takes `ro` only by a second call, MS_REMOUNT|MS_BIND|MS_RDONLY; a block device by BLKROSET or a read-only loop device",
    run: read_only,
}

/// What to say of a read-only target that takes a write.
async fn takes_a_write(target: &Published<'_>) -> Stop {
    if target.is_read_only_to_the_driver().await {
        // Done as everybody does it, and of no effect on the node: the container
        // runtime makes it read-only once more for the pod.
        return Stop::Warn(
            "the target is read-only in the driver's mount namespace, and writable on the node: a remount does not propagate".into(),
        );
    }
    Stop::fail("the volume was published with readonly=true, and a write through the target works")
}

async fn read_only(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish_read_only("a").await?;
    match (
        staged.volume().access(),
        target.try_write(&Marker::new()?).await?,
    ) {
        (_, Err(_)) => Ok(()),
        (Access::Mount, Ok(())) => Err(takes_a_write(&target).await),
        // Many honest drivers leave the device itself writable.
        (Access::Block, Ok(())) => Err(Stop::Warn(
            "the block volume was published with readonly=true, and its device takes a write"
                .into(),
        )),
    }
}

check! {
    /// A volume that is published read-only still takes no write after a while.
    ///
    /// What is mounted writable first, or mended by a retry behind the answer, is looked
    /// at once and never again.
    READ_ONLY_STAYS = "node-publish.read-only-stays",
    clauses: [spec::NODE_PUBLISH_READONLY],
    needs: Need::MOUNT,
    phase: Quiet,
    volumes: 1, calls: 14,
    look_at: "what still runs after the answer, and remounts the target",
    run: read_only_stays,
}

async fn read_only_stays(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish_read_only("a").await?;
    if !target.is_read_only().await? {
        // Where it never was, another check tells of it.
        return Ok(());
    }
    target.quiet_period().await;
    match target.try_write(&Marker::new()?).await? {
        Err(_) => Ok(()),
        Ok(()) => Err(Stop::fail(
            "the target was read-only at OK, and takes a write after the quiet period",
        )),
    }
}

check! {
    /// A read-only target beside a writable one: one refuses, the other writes.
    ///
    /// Read-only belongs to the publication, not to the volume: making the whole
    /// file system read-only takes it from the pod that writes.
    READ_ONLY_BESIDE_WRITER = "node-publish.read-only-leaves-the-writer",
    clauses: [spec::NODE_PUBLISH_READONLY],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 14,
    look_at: "that read-only is set on the bind mount at the target, and not on the superblock",
    run: read_only_beside_writer,
}

async fn read_only_beside_writer(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let writer = staged.publish("writer").await?;
    let (first, second) = (Marker::new()?, Marker::second()?);
    writer.write(&first).await?;
    let reader = staged.publish_second_read_only("reader").await?;
    reader.shows(&first).await?;
    if reader.try_write(&Marker::new()?).await?.is_ok() {
        return Err(takes_a_write(&reader).await);
    }
    match writer.try_write(&second).await? {
        Ok(()) => reader.shows(&second).await,
        Err(why) => Err(Stop::fail(format!(
            "since another target is read-only, the writer cannot write: {why}"
        ))),
    }
}

check! {
    /// The mount flags that were given are in force at the target.
    ///
    /// `nosuid` and `nodev` are how an administrator keeps what a volume holds
    /// from taking over the node: a flag that is dropped in silence is a hole.
    FLAGS = "node-publish.mount-flags-are-in-force",
    clauses: [spec::NODE_PUBLISH_MOUNT_FLAGS_APPLIED],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 16,
    seen_in: ["kubernetes-sigs/azuredisk-csi-driver#2049" => "mount_flags were ignored when publishing",
              "intel/pmem-csi#465" => "the mount options of the request were ignored"],
    look_at: "whether mount_flags reach mount(2), in stage and through the bind mount of publish",
    run: flags,
}

/// The call fails, or the flags are in force: a refusal is fair.
async fn with_flags(cx: &Cx) -> Result<Published<'_>, Stop> {
    let volume = cx.volume(Want::any().flags(&GIVEN)).await?;
    volume.takes_flags()?;
    volume.stage().await?.publish("a").await
}

const GIVEN: [&str; 4] = ["noatime", "nodev", "noexec", "nosuid"];

async fn flags(cx: &Cx) -> Checked {
    let target = with_flags(cx)
        .await
        .map_err(|stop| stop.if_refused("mount flags"))?;
    in_force(&target).await?;
    // To refuse a second one is fair.
    match target.staged().publish_second("b").await {
        Ok(second) => in_force(&second).await,
        Err(_) => Ok(()),
    }
}

async fn in_force(target: &Published<'_>) -> Checked {
    let mounts = target.mounts("now").await?;
    let Some(mount) = mounts.last() else {
        return Err(Stop::Unknown(
            "the mount went away while it was looked at".into(),
        ));
    };
    let missing: Vec<_> = GIVEN
        .into_iter()
        .filter(|flag| !mount.has_option(flag))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Stop::fail(format!(
        "of the mount flags {}, these are not in force at {}: {}",
        GIVEN.join(","),
        target.target().ours.display(),
        missing.join(",")
    )))
}

check! {
    /// A volume that was never staged is not published.
    ///
    /// After a reboot or a lost race the staging path is a bare folder. A driver
    /// that binds it to the target without a look gives the workload the node's
    /// own disk, and answers OK.
    WITHOUT_STAGE = "node-publish.without-stage-is-refused",
    clauses: [spec::NODE_PUBLISH_WITHOUT_STAGE, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::All(&[Need::STAGE, Need::ANY_VOLUME]),
    axes: [Kind],
    volumes: 1, calls: 8,
    seen_in: ["ceph/ceph-csi#4762" => "after a reboot the bare staging folder was bound to the target",
              "ceph/ceph-csi#1798" => "a publish without a stage mounted the node's own disk into the target"],
    look_at: "whether publish makes sure that the staging path is a mount of this volume",
    run: without_stage,
}

async fn without_stage(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.to_stage().await?;
    let (request, target) = staged.publish_request("a")?;
    if !staged.send_publish(request, &target).await?.is_ok() {
        return Ok(());
    }
    match staged.not_there(&target).await? {
        Some(wrong) => {
            // Where it is not there after a stage either, that is the finding.
            cx.volume(Want::any())
                .await?
                .stage()
                .await?
                .publish("b")
                .await?;
            Err(Stop::fail(format!(
                "NodePublishVolume without a stage answered OK, and {wrong}"
            )))
        }
        // It staged by itself, and the volume is there: odd, and no lie.
        None => Ok(()),
    }
}

check! {
    /// The same target with other arguments does no harm.
    ///
    /// ALREADY_EXISTS is due. OK would promise a read-only volume that is not.
    OTHER_ARGUMENTS = "node-publish.other-arguments-are-not-ok",
    clauses: [spec::NODE_PUBLISH_SAME_TARGET_OTHER_ARGS],
    needs: Need::MOUNT,
    volumes: 1, calls: 12,
    look_at: "how the repeat of a publish compares readonly and the capability with the one before",
    run: other_arguments,
}

async fn other_arguments(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let mut request = target.request().clone();
    request.readonly = true;
    let asked = staged.send_publish(request, target.target()).await?;
    target.shows(&marker).await?;
    target.is_mounted_once().await?;
    if asked.is_ok() && !target.is_read_only().await? {
        return Err(Stop::Warn("a writable target was published again with readonly=true: OK, and it stays writable; ALREADY_EXISTS was due".into()));
    }
    Ok(())
}

check! {
    /// A volume of one single writer is published to one target only.
    ///
    /// ReadWriteOncePod rests on it: two pods that write to one database destroy
    /// it.
    SINGLE_WRITER = "node-publish.single-writer-is-single",
    clauses: [spec::NODE_PUBLISH_SECOND_TARGET_SNSW],
    needs: Need::All(&[
        Need::MOUNT,
        Need::OwnVolumes,
        Need::Controller(ControllerRpc::SingleNodeMultiWriter),
        Need::Node(NodeRpc::SingleNodeMultiWriter),
    ]),
    volumes: 1, calls: 12,
    seen_in: ["kubernetes-csi/csi-driver-host-path#380" => "a second target was accepted"],
    look_at: "the targets that a volume is published at already, before one more is mounted",
    run: single_writer,
}

async fn single_writer(cx: &Cx) -> Checked {
    let want = Want::fresh().mode(Mode::SingleNodeSingleWriter);
    let staged = cx.volume(want).await?.stage().await?;
    staged.publish("a").await?;
    let (request, target) = staged.publish_request("b")?;
    staged
        .send_publish(request, &target)
        .await?
        .refused_with(&[Code::FAILED_PRECONDITION])
}
