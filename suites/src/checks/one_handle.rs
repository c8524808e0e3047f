//! The story of two PersistentVolumes with one volumeHandle. To the kubelet they are
//! one volume; the driver sees one id, with the context of the one or of the other.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&SECOND_CONTEXT, &TWINS];

check! {
    /// While a volume is in use, its id with another volume_context never shows the first one's data.
    ///
    /// The second PersistentVolume's pod would read and write what belongs to the
    /// first, and nothing in any log tells of it. To refuse is as good as to show what
    /// the second context says.
    SECOND_CONTEXT = "one-handle.second-context-is-not-ignored",
    clauses: [spec::STORY_ONE_HANDLE, spec::NODE_PUBLISH_ISOLATION],
    needs: Need::All(&[Need::MOUNT, Need::ContextDecides]),
    volumes: 2, calls: 30,
    seen_in: ["kubernetes-csi/csi-driver-smb#675" => "a container was shown another PV's data",
              "kubernetes-sigs/blob-csi-driver#762" => "two PVs had one volumeHandle"],
    look_at: "what is remembered by volume_id: compare the source of what is mounted with what volume_context says",
    run: second_context,
}

async fn second_context(cx: &Cx) -> Checked {
    let (one, other) = (cx.volume(Want::any()).await?, cx.volume(Want::any()).await?);
    if !one.differs_in_context(&other) {
        return Err(Stop::not_offered("volumes that differ in their context"));
    }
    let red = Marker::new()?;
    let first = one.stage().await?.publish("a").await?;
    first.write(&red).await?;
    let own = one.takes_context_of(&other);
    let second = one.published_or_refused("b").await?;
    if let Some(second) = &second {
        second.lacks(&red).await?;
        second.unpublish().await?;
    }
    one.has_context(own);
    // The first is as it was, whatever was said to the second.
    first.shows(&red).await
}

check! {
    /// Two staged volumes have mounts that differ in their device or root.
    ///
    /// The kubelet looks for other mounts of the same device and root before it
    /// unstages, and takes another volume's for one more user: neither is ever
    /// unstaged while both are there.
    TWINS = "one-handle.two-volumes-are-no-twins",
    clauses: [spec::STORY_TWINS],
    needs: Need::All(&[Need::STAGE, Need::MOUNT]),
    axes: [FileSystem],
    volumes: 2, calls: 20,
    look_at: "one file system that is mounted whole for several volumes: a share's superblock (nosharecache), a pool that is bound",
    run: twins,
}

async fn twins(cx: &Cx) -> Checked {
    let (one, other) = (cx.volume(Want::any()).await?, cx.volume(Want::any()).await?);
    let (one, other) = (one.stage().await?, other.stage().await?);
    let at = |mounts: Vec<csi_harness::node::Mount>| {
        mounts.last().map(|mount| (mount.dev(), mount.root.clone()))
    };
    match (
        at(one.mounts("staged").await?),
        at(other.mounts("staged").await?),
    ) {
        (Some(one), Some(other)) if one == other => Err(Stop::Warn(format!(
            "both staging mounts show device {}:{} from {}",
            one.0.0,
            one.0.1,
            one.1.display()
        ))),
        _ => Ok(()),
    }
}
