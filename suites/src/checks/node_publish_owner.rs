//! `NodePublishVolume`: what belongs to the volume and to its users stays theirs.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&CONTEXT_DECIDES, &MODE_IS_KEPT];

check! {
    /// The mode of a volume's root folder stays as a workload left it.
    ///
    /// A mode that is forced at every publish opens what was closed, and drops the
    /// setgid bit that a group relies on.
    MODE_IS_KEPT = "node-publish.mode-is-kept",
    clauses: [spec::NODE_PUBLISH_MODE_KEPT],
    needs: Need::MOUNT,
    axes: [FileSystem],
    volumes: 1, calls: 12,
    seen_in: ["kubernetes-csi/csi-driver-nfs!388" => "the mounted folder was chmod-ed at every publish",
              "kubernetes-sigs/azurefile-csi-driver#2607" => "chmod dropped the setgid bit"],
    look_at: "whether chmod is called at every publish: once, when the volume is made, is enough",
    run: mode_is_kept,
}

async fn mode_is_kept(cx: &Cx) -> Checked {
    const MODE: u32 = 0o2750;
    let staged = cx.volume(Want::any()).await?.stage().await?;
    staged.volume().keeps_data()?;
    let published = staged.publish("a").await?;
    let usual = published.root_mode().await?;
    published.set_root_mode(MODE).await?;
    published.unpublish().await?;
    let again = staged.publish("b").await?;
    let mode = again.root_mode().await?;
    if mode != MODE {
        return Err(Stop::fail(format!(
            "the root folder's mode was {MODE:04o} when the volume was unpublished, and is {mode:04o} since it was published again"
        )));
    }
    again.set_root_mode(usual).await
}

check! {
    /// Of two PersistentVolumes with one volumeHandle, each shows what its own volume_context says.
    ///
    /// Where the context names the share, it decides. A driver that remembers a volume
    /// by its id alone gives the second user the data of the first.
    CONTEXT_DECIDES = "node-publish.context-decides",
    clauses: [spec::NODE_PUBLISH_CONTEXT_DECIDES, spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[Need::MOUNT, Need::ContextDecides]),
    volumes: 2, calls: 30,
    seen_in: ["kubernetes-csi/csi-driver-smb#675" => "a container was shown another PV's data",
              "kubernetes-csi/csi-driver-smb#353" => "a mount was used again for a later PV of the same share",
              "kubernetes-sigs/blob-csi-driver#762" => "two PVs had one volumeHandle"],
    look_at: "what is remembered by volume_id: compare the source of the mount with what volume_context says",
    run: context_decides,
}

async fn context_decides(cx: &Cx) -> Checked {
    let (one, other) = (cx.volume(Want::any()).await?, cx.volume(Want::any()).await?);
    if !one.differs_in_context(&other) {
        return Err(Stop::not_offered("volumes that differ in their context"));
    }
    let (red, blue) = (Marker::new()?, Marker::new()?);
    for (volume, marker) in [(one, &red), (other, &blue)] {
        let staged = volume.stage().await?;
        let published = staged.publish("a").await?;
        published.write(marker).await?;
        published.unpublish().await?;
        staged.unstage().await?;
    }
    let own = one.takes_context_of(&other);
    // To refuse is as good.
    if let Some(published) = one.published_or_refused("b").await? {
        published.lacks(&red).await?;
        published.shows(&blue).await?;
    }
    one.has_context(own);
    Ok(())
}
