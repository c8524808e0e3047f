//! A volume that somebody uses when it is taken from the node.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, InUse, Marker, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&DEVICE_IS_FREE, &NOTHING_BENEATH, &OTHER_NAMESPACE];

check! {
    /// When everything was answered with OK, nobody uses the volume's device any more.
    ///
    /// A lazy unmount takes a busy mount out of sight and answers OK. The process that
    /// used it goes on writing, and the device is detached under it, or is written to
    /// from two nodes.
    DEVICE_IS_FREE = "in-use.ok-means-the-device-is-free",
    clauses: [spec::NODE_UNSTAGE_DATA_FLUSHED, spec::NODE_UNSTAGE_UNDOES, spec::NODE_UNPUBLISH_BUSY_IS_ERROR],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 60,
    seen_in: ["util-linux/util-linux#493" => "a lazy unmount left the device in use, and nothing showed it",
              "GoogleCloudPlatform/gcs-fuse-csi-driver!1469" => "a lazy unmount, and the mount was in use still"],
    look_at: "MNT_DETACH (umount -l): without it a busy mount is an error, and the caller comes back",
    run: device_is_free,
}

async fn device_is_free(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    for way in InUse::BUSY {
        let staged = volume.stage().await?;
        staged.comes_down_in_use(way).await?;
    }
    Ok(())
}

check! {
    /// What another mount namespace still holds comes down when that is gone.
    ///
    /// A container that was started in between has a copy of the mount. The driver may
    /// refuse meanwhile or not; afterwards nothing may be left.
    OTHER_NAMESPACE = "in-use.another-namespace-lets-go",
    clauses: [spec::NODE_UNSTAGE_UNDOES],
    needs: Need::MOUNT,
    // A namespace has a copy of all mounts: those of other checks would be busy with it.
    phase: Alone,
    axes: [FileSystem],
    volumes: 1, calls: 20,
    look_at: "what an unstage remembers of a device that was busy: the next one has to find it again",
    run: other_namespace,
}

async fn other_namespace(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    volume.keeps_data()?;
    let staged = volume.stage().await?;
    staged.comes_down_elsewhere().await?;
    match volume.devices_left().await.first() {
        None => Ok(()),
        Some(device) => Err(Stop::fail(format!(
            "the other namespace is gone, NodeUnstageVolume answered OK, and {device} is still there"
        ))),
    }
}

check! {
    /// Beneath a published volume lies an empty folder.
    ///
    /// What was written there before the mount came, or while it was away, is on the
    /// node's own disk: it fills that up, and is not where anybody will look for it.
    NOTHING_BENEATH = "node-publish.nothing-lies-beneath",
    clauses: [spec::NODE_UNDERLAY_EMPTY, spec::NODE_PUBLISH_NOT_ROOT_FS],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 14,
    look_at: "what is written to the path before the volume is mounted there, or by a retry after it went",
    run: nothing_beneath,
}

async fn nothing_beneath(cx: &Cx) -> Checked {
    let staged = cx.volume(Want::any()).await?.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.try_write_if_allowed(&marker).await?;
    target.publish_again().await?.ok()?;
    match target.lies_beneath().await? {
        None => Ok(()),
        Some(names) => Err(Stop::Warn(format!(
            "beneath the mount at target_path, on the node's own disk, lies {names}"
        ))),
    }
}
