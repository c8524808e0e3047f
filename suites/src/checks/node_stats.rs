//! `NodeGetVolumeStats`.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Need, Published, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::node_service_capability::rpc::Type as NodeRpc;
use csi_proto::v1::volume_usage::Unit;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CONDITION_IS_SET,
    &NOT_OF_THE_NODES_DISK,
    &NUMBERS_ARE_TRUE,
    &PATH_REQUIRED,
    &SHARES_ARE_TRUE,
    &UNITS_ARE_VALID,
    &UNKNOWN_VOLUME,
    &VOLUME_ID_REQUIRED,
];

const STATS: Need = Need::All(&[Need::STATS, Need::ANY_VOLUME]);

fn request(target: &Published<'_>) -> v1::NodeGetVolumeStatsRequest {
    v1::NodeGetVolumeStatsRequest {
        volume_id: target.staged().volume().id(),
        volume_path: target.target().drivers.clone(),
        staging_target_path: target
            .staged()
            .path()
            .map(|path| path.drivers.clone())
            .unwrap_or_default(),
    }
}

async fn stats(cx: &Cx, target: &Published<'_>) -> Result<v1::NodeGetVolumeStatsResponse, Stop> {
    cx.ask_patiently::<rpc::NodeGetVolumeStats>(&request(target))
        .await?
        .ok()
}

check! {
    /// The capacity that is told is that of the volume.
    ///
    /// Pods are evicted and alerts sent by these numbers. For a block volume, a
    /// statfs of the path gives those of devtmpfs.
    NUMBERS_ARE_TRUE = "node-stats.numbers-are-true",
    clauses: [spec::NODE_STATS_TRUE, spec::NODE_STATS_BLOCK_TOTAL],
    needs: STATS,
    axes: [Kind],
    volumes: 1, calls: 12,
    seen_in: ["kubernetes-sigs/gcp-compute-persistent-disk-csi-driver!406" => "a raw block volume was told to have the size of devtmpfs"],
    look_at: "what the numbers are made from: statfs of the mount, the size of the device for block",
    run: numbers_are_true,
}

async fn numbers_are_true(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let answer = stats(cx, &target).await?;
    let told = answer.usage;
    let bytes = told.iter().find(|usage| usage.unit == Unit::Bytes as i32);
    let total = target.size().await?;
    let Some(bytes) = bytes else {
        return Err(match (staged.volume().access(), answer.volume_condition) {
            // A driver of block volumes may have nothing to tell.
            (Access::Block, _) => Stop::not_offered("usage of block volumes"),
            (Access::Mount, None) => Stop::fail("no usage in bytes is told"),
            // `usage` is optional, and there are drivers of which the condition is all
            // that there is to tell; but the kubelet takes this for an error.
            (Access::Mount, Some(_)) => Stop::Warn(
                "a condition is told, and no usage in bytes, without which the kubelet takes no \
                 answer"
                    .into(),
            ),
        });
    };
    // A folder of a larger file system is rightly told to have the size that was
    // asked for; reserved blocks make a small difference.
    let told = u64::try_from(bytes.total).unwrap_or_default();
    let asked_for = u64::try_from(staged.volume().capacity()).unwrap_or_default();
    let near = |size: u64| told.abs_diff(size) <= size / 5;
    // A folder bound from a larger file system: statfs tells of that one.
    let own = staged.volume().access() == Access::Block || !target.is_a_folder().await?;
    if own && !near(total) && !near(asked_for) {
        return Err(Stop::fail(format!(
            "a total of {told} bytes is told, the volume has {total}"
        )));
    }
    Ok(())
}

check! {
    /// What is told to be used and free is what the file system says.
    ///
    /// Asked for the first time, after something was written: numbers of another volume,
    /// of the node, or of the moment of the mount are not these.
    SHARES_ARE_TRUE = "node-stats.used-and-free-are-true",
    clauses: [spec::NODE_STATS_TRUE],
    needs: Need::All(&[Need::STATS, Need::MOUNT]),
    axes: [FileSystem],
    volumes: 1, calls: 12,
    look_at: "whose statfs(2) it is, and when it was asked",
    run: shares_are_true,
}

async fn shares_are_true(cx: &Cx) -> Checked {
    /// More than the slack that numbers have.
    const WRITTEN: u64 = 4 << 20;
    let staged = cx.volume(Want::fresh_if_created(cx)).await?.stage().await?;
    let target = staged.publish("a").await?;
    if target.is_a_folder().await? {
        return Err(Stop::not_offered("volumes with a file system of their own"));
    }
    let room = target.usage().await?.total;
    target.fill(WRITTEN.min(room / 8)).await?;
    let told = stats(cx, &target).await?.usage;
    let says = target.usage().await?;
    let Some(bytes) = told.iter().find(|told| told.unit == Unit::Bytes as i32) else {
        return Ok(());
    };
    // A quota of its own may be told in place of the file system's.
    let is_its_own =
        u64::try_from(bytes.total).is_ok_and(|total| total.abs_diff(says.total) <= says.total / 5);
    // Neither need be told.
    let is_told = bytes.used != 0 || bytes.available != 0;
    match is_its_own
        && is_told
        && !(says.has_used(bytes.used) && says.has_available(bytes.available))
    {
        false => Ok(()),
        true => Err(Stop::Warn(format!(
            "{} bytes are told to be used and {} to be free; {says:?}",
            bytes.used, bytes.available
        ))),
    }
}

check! {
    /// Every usage has a unit, a total, and no negative number.
    UNITS_ARE_VALID = "node-stats.units-are-valid",
    clauses: [spec::NODE_STATS_UNIT_REQUIRED, spec::NODE_STATS_TOTAL_REQUIRED, spec::NODE_STATS_NONNEG],
    needs: STATS,
    axes: [Kind],
    volumes: 1, calls: 12,
    run: units_are_valid,
}

async fn units_are_valid(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let mut units = Vec::new();
    for usage in stats(cx, &target).await?.usage {
        if usage.unit == Unit::Unknown as i32 || units.contains(&usage.unit) {
            return Err(Stop::fail(
                "a usage has no unit, or one that another has too",
            ));
        }
        if usage.total < 0 || usage.used < 0 || usage.available < 0 {
            return Err(Stop::fail(format!("a negative number: {usage:?}")));
        }
        if usage.total > 0 && usage.used > usage.total {
            return Err(Stop::fail(format!(
                "{} of {} are told to be used",
                usage.used, usage.total
            )));
        }
        units.push(usage.unit);
    }
    Ok(())
}

check! {
    /// A path where the volume is not has no statistics.
    ///
    /// After a mount was lost, a statfs of the path gives the numbers of the
    /// node's own disk: a volume that is full, or gone, looks well.
    NOT_OF_THE_NODES_DISK = "node-stats.not-of-the-nodes-disk",
    clauses: [spec::NODE_STATS_PATH_NOT_FOUND],
    needs: STATS,
    volumes: 1, calls: 12,
    seen_in: ["kubernetes-sigs/gcp-compute-persistent-disk-csi-driver!406" => "the numbers were those of the file system that holds the path"],
    look_at: "whether the path is a mount of the volume before statfs is asked of it",
    run: not_of_the_nodes_disk,
}

async fn not_of_the_nodes_disk(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    target.unpublish().await?;
    let mut request = request(&target);
    // The parent of the target is there, on the node's own disk.
    request.volume_path = target.target().drivers_parent();
    let asked = cx
        .ask_patiently::<rpc::NodeGetVolumeStats>(&request)
        .await?;
    if let Some(code) = asked.refusal().map(|refusal| refusal.code) {
        return match code {
            Code::NOT_FOUND => Ok(()),
            code => Err(Stop::Warn(format!(
                "{code} for a path where the volume is not; NOT_FOUND was due"
            ))),
        };
    }
    // Without numbers, nobody takes it for a volume that is well.
    match asked.ok()?.usage.is_empty() {
        true => Err(Stop::Warn(
            "OK, without numbers, for a path where the volume is not; NOT_FOUND was due".into(),
        )),
        false => Err(Stop::fail(
            "OK, with numbers, for a folder of the node's own disk where the volume is not",
        )),
    }
}

check! {
    /// `NodeGetVolumeStats` of a volume that does not exist is NOT_FOUND.
    UNKNOWN_VOLUME = "node-stats.unknown-volume-is-not-found",
    clauses: [spec::NODE_STATS_VOLUME_NOT_FOUND],
    needs: Need::All(&[STATS, Need::OwnVolumes]),
    volumes: 1, calls: 14,
    run: unknown_volume,
}

async fn unknown_volume(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let staged = volume.stage().await?;
    let target = staged.publish("a").await?;
    target.unpublish().await?;
    staged.unstage().await?;
    volume.detach().await?;
    volume.delete().await?;
    cx.ask_patiently::<rpc::NodeGetVolumeStats>(&request(&target))
        .await?
        .refused_with(&[Code::NOT_FOUND])
}

check! {
    /// A driver that tells of a volume's condition does so, with a message.
    CONDITION_IS_SET = "node-stats.condition-is-set",
    clauses: [spec::NODE_STATS_CONDITION_REQUIRED, spec::NODE_STATS_CONDITION_MESSAGE],
    needs: Need::All(&[Need::Node(NodeRpc::VolumeCondition), Need::ANY_VOLUME]),
    volumes: 1, calls: 12,
    look_at: "the message, which a volume that is well has too; where the driver looks for the mount: at volume_path, or below /var/lib/kubelet alone (paths.kubelet_root lets us mount there)",
    run: condition_is_set,
}

async fn condition_is_set(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    match stats(cx, &target).await?.volume_condition {
        None => Err(Stop::fail(
            "VOLUME_CONDITION is announced, and volume_condition is not set",
        )),
        Some(condition) if condition.message.is_empty() => {
            Err(Stop::fail("volume_condition has no message"))
        }
        // Some look for it below the kubelet's own folder alone.
        Some(condition) if condition.abnormal => Err(Stop::Warn(format!(
            "a new volume is told to be abnormal: {}",
            condition.message
        ))),
        Some(_) => Ok(()),
    }
}

check! {
    /// `NodeGetVolumeStats` without a volume id is refused.
    VOLUME_ID_REQUIRED = "node-stats.volume-id-is-required",
    clauses: [spec::NODE_STATS_ID_REQUIRED],
    needs: STATS,
    volumes: 1, calls: 12,
    run: volume_id_required,
}

async fn volume_id_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let mut request = request(&staged.publish("a").await?);
    request.volume_id.clear();
    cx.ask::<rpc::NodeGetVolumeStats>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `NodeGetVolumeStats` without a path is refused.
    PATH_REQUIRED = "node-stats.path-is-required",
    clauses: [spec::NODE_STATS_PATH_REQUIRED],
    needs: STATS,
    volumes: 1, calls: 12,
    run: path_required,
}

async fn path_required(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let mut request = request(&staged.publish("a").await?);
    request.volume_path.clear();
    cx.ask::<rpc::NodeGetVolumeStats>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}
