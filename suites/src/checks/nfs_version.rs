//! The version of NFS that is spoken.

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Stop, Want};

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&AS_ASKED];

check! {
    /// The NFS version among the mount flags is the one that is spoken.
    ///
    /// Versions differ in locking, caching and what a firewall has to let through;
    /// who names one has a reason.
    AS_ASKED = "nfs-version.is-as-asked",
    clauses: [spec::NODE_PUBLISH_MOUNT_FLAGS_APPLIED],
    needs: Need::All(&[Need::MOUNT, Need::NfsLab]),
    volumes: 3, calls: 30,
    seen_in: ["kubernetes-csi/csi-driver-nfs#113" => "the driver's own mount was made without the mount flags"],
    look_at: "whether mount_flags reach mount(8) as they are",
    run: as_asked,
}

async fn as_asked(cx: &Cx) -> Checked {
    let mut spoken = 0;
    // Without a lock manager on the node, version 3 has to do without locks.
    for (version, flags) in [
        ("3", &["nfsvers=3", "nolock"][..]),
        ("4.1", &["nfsvers=4.1"]),
        ("4.2", &["nfsvers=4.2"]),
    ] {
        let volume = cx.volume(Want::any().more_flags(flags)).await?;
        let Some(published) = volume.published_or_refused("a").await? else {
            continue;
        };
        let said = published.super_option("vers").await?;
        if said.as_deref() != Some(version) {
            return Err(Stop::fail(format!(
                "nfsvers={version} was asked for, and mountinfo says vers={}",
                said.as_deref().unwrap_or("(nothing)")
            )));
        }
        spoken += 1;
    }
    match spoken {
        0 => Err(Stop::not_offered("nfsvers among the mount flags")),
        _ => Ok(()),
    }
}
