//! One name is one volume, and names that are much alike are names of two.

use std::collections::HashMap;

use csi_harness::check;
use csi_harness::check::{Check, Checked, Cx, Marker, Need, Stop, Volume, Want};
use csi_proto::rpc;
use csi_proto::v1;

use super::create_from::RESTORE;
use crate::spec;

pub(super) static CHECKS: &[&Check] = &[&CREATE_REPEAT, &VOLUMES, &SNAPSHOTS];

const CREATE: Need = Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME]);

check! {
    /// The same `CreateVolume` again gives the same volume.
    ///
    /// The provisioner repeats the call after every timeout; each repeat that
    /// makes a new volume leaves one behind that nobody knows.
    CREATE_REPEAT = "create-volume.repeat-is-the-same-volume",
    clauses: [spec::CONTROLLER_CREATE_IDEMPOTENT, spec::CONTROLLER_CREATE_FULL_RESPONSE],
    needs: CREATE,
    volumes: 1, calls: 4,
    seen_in: ["kubernetes-sigs/vsphere-csi-driver#2507" => "a repeated CreateVolume made a second disk"],
    run: create_repeat,
}

async fn create_repeat(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let again = cx
        .ask_patiently::<rpc::CreateVolume>(&volume.create_request()?)
        .await?
        .ok()?;
    let again = again.volume.unwrap_or_default();
    let id = again.volume_id.clone();
    if id == volume.id() {
        return tells_the_same(&volume, &again);
    }
    // The second one is ours too.
    let request = v1::DeleteVolumeRequest {
        volume_id: id.clone(),
        secrets: cx.session().secrets("DeleteVolume"),
    };
    let _ = cx.ask::<rpc::DeleteVolume>(&request).await?;
    Err(Stop::fail(format!(
        "first {:?}, then {id:?} for the same name",
        volume.id()
    )))
}

/// What the provisioner writes into the PersistentVolume is what the last answer told.
fn tells_the_same(volume: &Volume<'_>, again: &v1::Volume) -> Checked {
    let first = volume.attach_request().volume_context;
    if again.volume_context != first {
        let keys = |context: &HashMap<String, String>| {
            let mut keys: Vec<_> = context.keys().cloned().collect();
            keys.sort();
            keys.join(", ")
        };
        return Err(Stop::fail(format!(
            "the volume_context is another when CreateVolume is repeated: first with the keys {:?}, then with {:?}",
            keys(&first),
            keys(&again.volume_context)
        )));
    }
    let (told, now) = (volume.capacity(), again.capacity_bytes);
    match told > 0 && now > 0 && told != now {
        true => Err(Stop::Warn(format!(
            "CreateVolume told {told} bytes, and {now} when it was repeated"
        ))),
        false => Ok(()),
    }
}

check! {
    /// Volumes whose names differ only at the end are two, and deleting one leaves the other.
    ///
    /// A name that is cut to what the back end takes, or is looked for by its beginning,
    /// gives a claim the volume of another. To refuse a name is fair.
    VOLUMES = "create-volume.similar-names-are-two-volumes",
    clauses: [spec::CONTROLLER_CREATE_NAMES_APART, spec::CONTROLLER_DELETE_ONLY_THAT_VOLUME],
    needs: CREATE,
    volumes: 4, calls: 24,
    look_at: "what the back end knows the volume by: a name that is too long for it is hashed, and not cut",
    run: volumes,
}

async fn volumes(cx: &Cx) -> Checked {
    let name = cx.new_name()?;
    let names = [
        name.clone(),
        format!("{name}-1"),
        longest(&name, 'a'),
        longest(&name, 'b'),
    ];
    let mut made: Vec<(String, Volume<'_>)> = Vec::new();
    for name in names {
        let Some(volume) = cx.volume_named(&name).await? else {
            continue;
        };
        if let Some((other, _)) = made.iter().find(|(_, other)| other.id() == volume.id()) {
            return Err(Stop::fail(format!(
                "the names {other:?} and {name:?} are both answered with the volume {:?}",
                volume.id()
            )));
        }
        made.push((name, volume));
    }
    let [(_, gone), (_, stays), ..] = made.as_slice() else {
        return Err(Stop::not_offered("volumes by these names"));
    };
    stays.keeps_data()?;
    let staged = stays.stage().await?;
    let target = staged.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    target.unpublish().await?;
    staged.unstage().await?;
    gone.delete().await?;
    let when = "after a volume was deleted whose name is the beginning of this one's";
    let target = stays.comes_up("b").await;
    let target = target.map_err(|stop| stop.is_a_finding(when))?;
    target.shows(&marker).await
}

/// As long as a name may be, in bytes.
const LONGEST: usize = 128;

/// A name of the greatest length that begins with this one.
fn longest(name: &str, last: char) -> String {
    let middle = "x".repeat(LONGEST.saturating_sub(name.len() + 2));
    format!("{name}-{middle}{last}")
}

check! {
    /// Snapshots whose names differ only in the last letter are two snapshots.
    ///
    /// Where the second name is cut to the first, no second snapshot is made, and OK is
    /// answered with one of last week.
    SNAPSHOTS = "create-snapshot.similar-names-are-two-snapshots",
    clauses: [spec::SNAPSHOT_CREATE_NAMES_APART],
    needs: RESTORE,
    volumes: 1, calls: 8,
    look_at: "what the back end knows the snapshot by: a name that is too long for it is hashed, and not cut",
    run: snapshots,
}

async fn snapshots(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let mut request = volume.snapshot_request()?;
    let name = request.name.clone();
    let mut ids = Vec::new();
    for last in ['a', 'b'] {
        request.name = longest(&name, last);
        let Ok(made) = volume.ask_snapshot(&request).await?.ok() else {
            return Err(Stop::not_offered("snapshots by names of 128 bytes"));
        };
        ids.push(made.snapshot.unwrap_or_default().snapshot_id);
    }
    match ids.as_slice() {
        [first, second] if first == second => Err(Stop::fail(format!(
            "two names of 128 bytes that differ in the last are both answered with the snapshot {first:?}"
        ))),
        _ => Ok(()),
    }
}
