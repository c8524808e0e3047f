//! `ListSnapshots`, page by page.

use std::time::Duration;

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Need, Patience, Stop, Want};
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;

use super::create_from::RESTORE;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&PAGES];

/// How long a storage may take to list what it has just cut.
const SETTLES: Duration = Duration::from_secs(10);

check! {
    /// The pages of `ListSnapshots` together show each snapshot of a volume once.
    ///
    /// What falls between two pages is never pruned, and what is shown on two is counted
    /// twice.
    PAGES = "list-snapshots.pages-show-all",
    clauses: [spec::LIST_SNAPSHOTS_ALL],
    needs: Need::All(&[RESTORE, Need::Controller(ControllerRpc::ListSnapshots)]),
    phase: Alone,
    volumes: 1, calls: 60,
    look_at: "where a page begins: after the last entry of the one before, and with the same filter",
    run: pages,
}

async fn pages(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(volume.snapshot().await?.id());
    }
    made.sort();
    let mut patience = Patience::new(SETTLES);
    loop {
        let mut shown = cx.snapshots_page_by_page(&volume).await?;
        shown.sort();
        if shown == made {
            return Ok(());
        }
        if !patience.wait().await {
            return Err(Stop::fail(format!(
                "the snapshots of the volume are {made:?}; page by page, ListSnapshots shows {shown:?}"
            )));
        }
    }
}
