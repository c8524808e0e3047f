//! `NodePublishVolume`: how large the volume is that comes.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&SIZE];

check! {
    /// A published volume is as large as `CreateVolume` told.
    ///
    /// Who asked for a size has its word for it, pays for it, and finds the disk full at
    /// half of it.
    SIZE = "node-publish.size-is-as-told",
    clauses: [spec::CONTROLLER_CREATE_CAPACITY_REAL],
    needs: Need::All(&[Need::ANY_VOLUME, Need::OwnVolumes]),
    axes: [Kind],
    volumes: 1, calls: 12,
    look_at: "units (MB and MiB, sectors of 512 and of 4096 bytes), and which size is answered: what was asked for, or what was made",
    run: size,
}

async fn size(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let told = volume.capacity();
    if told == 0 {
        return Err(Stop::not_offered("a capacity_bytes of its volumes"));
    }
    let target = volume.stage().await?.publish("a").await?;
    target.is_as_large_as(told).await
}
