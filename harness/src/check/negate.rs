//! What follows a body, however it ended: negation through the driver, the
//! ledger, and forced removal of what stayed.

use csi_proto::rpc::{self, Rpc};
use csi_proto::v1;

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::made::TakenBack;
use super::outcome::LedgerEntry;
use super::see;
use super::session::SETTLE;
use super::step::Step;
use super::stop::Stop;
use super::wait::Patience;
use crate::lab::{self, OurPath};
use crate::node;

/// Something that stayed, and whose finding that is.
#[derive(Debug, Clone)]
pub struct Residue {
    /// For the report; the owner is filled in by the runner.
    pub entry: LedgerEntry,
    /// The step whose owner tells of it.
    pub step: Step,
    /// The driver was not asked to take it back, as it had not answered that to others:
    /// theirs is the finding.
    pub unasked: bool,
}

/// How far a negation came.
#[derive(Debug, Clone, Default)]
pub struct Negated {
    /// What stayed on the node or with the driver.
    pub stayed: Vec<Residue>,
    /// The driver died on the way: what is still claimed has to be taken back
    /// when it is there again.
    pub interrupted: bool,
}

/// The driver died under a negation.
struct Interrupted;

/// Takes back all that a check made, sees what stayed, and removes it.
/// `passed`: its volumes are as good as new and may serve the next check.
/// `last`: the driver does not come back; what can be removed without it is.
pub async fn negate(cx: &Cx, passed: bool, last: bool) -> Negated {
    let mut negated = Negated::default();
    super::servers::heal(cx).await;
    super::disks::heal(cx).await;
    let volumes = std::mem::take(&mut cx.claims().volumes);
    let is_copy = |volume: &VolumeClaim| volume.want.source.is_some();
    let (copies, others): (Vec<_>, Vec<_>) = volumes.into_iter().partition(is_copy);
    take_back(cx, copies, passed, last, &mut negated).await;
    // A snapshot may be held by what was made from it, and holds its own source.
    while !negated.interrupted {
        let taken = match super::group::delete_last(cx, last).await {
            None => super::content::delete_last(cx, last).await,
            taken => taken,
        };
        match taken {
            None => break,
            Some(taken) if taken.is_interrupted() && !last => negated.interrupted = true,
            Some(TakenBack::Stays(step, entry)) => negated.stayed.push(Residue {
                entry,
                step,
                unasked: false,
            }),
            Some(TakenBack::Gone) => {}
        }
    }
    take_back(cx, others, passed, last, &mut negated).await;
    cx.session.kernel.ends(&cx.id);
    negated
}

/// Takes back these volumes, the last one made first.
async fn take_back(
    cx: &Cx,
    volumes: Vec<VolumeClaim>,
    passed: bool,
    last: bool,
    negated: &mut Negated,
) {
    for mut volume in volumes.into_iter().rev() {
        if negated.interrupted || (off_the_node(cx, &mut volume).await.is_err() && !last) {
            negated.interrupted = true;
            cx.claims().volumes.insert(0, volume);
            continue;
        }
        let mut stayed = settle(cx, &mut volume, passed).await;
        let unasked = !may_be_taken_off(cx);
        stayed
            .iter_mut()
            .for_each(|residue| residue.unasked = unasked);
        negated.stayed.extend(stayed);
    }
}

async fn settle(cx: &Cx, volume: &mut VolumeClaim, passed: bool) -> Vec<Residue> {
    let mut stayed = Vec::new();
    look(cx, volume, &mut stayed).await;
    let clean = stayed.is_empty();
    if !clean {
        force(cx, volume, &mut stayed).await;
    }
    let spoiled = super::disks::lift(volume).await;
    for path in volume.targets.drain(..).chain(volume.staged.drain(..)) {
        // A folder that is not empty is told of by the ledger of the run.
        let _ = path.remove();
    }
    volume.not_owed.clear();
    finish(cx, volume, clean && passed && !spoiled, &mut stayed).await;
    stayed
}

/// Asks to take something back. A refusal is no finding here: what counts is
/// what stays. What must not be asked any more is not asked.
async fn undo<R: Rpc>(cx: &Cx, request: &R::Request) -> Result<(), Interrupted> {
    if cx.session.may_ask(R::NAME, cx.kind.as_ref()).is_err() {
        return Ok(());
    }
    match cx.ask_insisting::<R>(request).await {
        Err(Stop::Blocked {
            step: Step::Alive, ..
        }) => Err(Interrupted),
        _ => Ok(()),
    }
}

/// Whether a driver that is asked for a negation has answered it to others.
fn may_be_taken_off(cx: &Cx) -> bool {
    let may = |rpc| cx.session.may_ask(rpc, cx.kind.as_ref()).is_ok();
    may(rpc::NodeUnpublishVolume::NAME)
        && may(rpc::NodeUnstageVolume::NAME)
        && may(rpc::ControllerUnpublishVolume::NAME)
}

/// Unpublish, unstage, detach, each as far as it was asked for.
async fn off_the_node(cx: &Cx, volume: &mut VolumeClaim) -> Result<(), Interrupted> {
    if volume.id.is_none() && volume.is_ours() {
        // A creation whose answer was lost: asked again, it tells the id.
        if let Ok(request) = super::create::request(cx, volume)
            && let Ok(asked) = cx.ask_patiently::<rpc::CreateVolume>(&request).await
            && let Ok(v1::CreateVolumeResponse { volume: Some(made) }) = asked.ok()
        {
            volume.id = Some(made.volume_id);
        }
    }
    let Some(volume_id) = volume.id.clone() else {
        return Ok(());
    };
    while let Some(target) = volume.published.last() {
        let target_path = target.drivers.clone();
        let request = v1::NodeUnpublishVolumeRequest {
            volume_id: volume_id.clone(),
            target_path,
        };
        undo::<rpc::NodeUnpublishVolume>(cx, &request).await?;
        volume.published.pop();
    }
    for staging in volume.staged.iter().rev() {
        let staging_target_path = staging.drivers.clone();
        let request = v1::NodeUnstageVolumeRequest {
            volume_id: volume_id.clone(),
            staging_target_path,
        };
        undo::<rpc::NodeUnstageVolume>(cx, &request).await?;
    }
    if volume.may_be_attached {
        let node = cx
            .facts()
            .node_info
            .as_ref()
            .map(|info| info.node_id.clone());
        let request = v1::ControllerUnpublishVolumeRequest {
            volume_id,
            node_id: node.unwrap_or_default(),
            secrets: cx.secrets("ControllerUnpublishVolume"),
        };
        undo::<rpc::ControllerUnpublishVolume>(cx, &request).await?;
        volume.was_detached();
    }
    Ok(())
}

/// The ledger: what is still there?
async fn look(cx: &Cx, volume: &mut VolumeClaim, stayed: &mut Vec<Residue>) {
    let access = volume.kind.access();
    for (path, step) in volume
        .targets
        .iter()
        .map(|p| (p, Step::Unpublish(access)))
        .chain(volume.staged.iter().map(|p| (p, Step::Unstage(access))))
    {
        if let Ok(Some(what)) = see::mount_left(cx, path, "after the negation").await {
            stayed.push(residue(cx, step, "mount", path, what));
        } else if step == Step::Unpublish(access)
            && !volume.not_owed.contains(path)
            && let Ok(Some(what)) = see::path_left(cx, path).await
        {
            stayed.push(residue(
                cx,
                Step::TargetGone(access),
                "target path",
                path,
                what,
            ));
        }
    }
    still_there(&mut volume.devices).await;
    for device in &volume.devices {
        stayed.push(Residue {
            step: Step::DeviceGone,
            unasked: false,
            entry: LedgerEntry {
                check: cx.id.clone(),
                what: "loop device".into(),
                object: device_words(device),
                owner: None,
                then: "left: the device is the driver's".into(),
            },
        });
    }
}

/// Keeps those of these loop devices that are still bound, after a moment in
/// which the kernel may finish what it was asked for.
pub(super) async fn still_there(devices: &mut Vec<node::LoopDevice>) {
    let mut patience = Patience::brisk(SETTLE);
    loop {
        let there = node::loops().unwrap_or_default();
        devices.retain(|device| there.iter().any(|other| other.id == device.id));
        if devices.is_empty() || !patience.wait().await {
            return;
        }
    }
}

fn residue(cx: &Cx, step: Step, what: &str, path: &OurPath, seen: String) -> Residue {
    cx.fact(
        "left behind",
        format!("{what} {}: {seen}", path.ours.display()),
    );
    Residue {
        step,
        unasked: false,
        entry: LedgerEntry {
            check: cx.id.clone(),
            what: what.to_owned(),
            object: path.ours.display().to_string(),
            owner: None,
            then: "left".into(),
        },
    }
}

/// Removes what stayed, of ours only: mounts in our folders, empty folders.
async fn force(cx: &Cx, volume: &mut VolumeClaim, stayed: &mut [Residue]) {
    for path in volume.targets.iter().chain(&volume.staged) {
        let told = lab::take_down(cx.session.touches(&path.ours)).await;
        for residue in stayed
            .iter_mut()
            .filter(|r| r.entry.object == path.ours.display().to_string())
        {
            residue.entry.then.clone_from(&told);
        }
    }
    for device in volume.devices.drain(..) {
        let told = cx.session.release(&device).await;
        let object = device_words(&device);
        for residue in stayed.iter_mut().filter(|r| r.entry.object == object) {
            residue.entry.then.clone_from(&told);
        }
    }
}

/// Back to the pool, or away.
async fn finish(cx: &Cx, volume: &mut VolumeClaim, clean: bool, stayed: &mut Vec<Residue>) {
    if let Some(index) = volume.given {
        cx.session.give_static(index);
    }
    if !volume.is_ours() {
        return;
    }
    // A copy serves one check, so that its source can go.
    if clean && volume.id.is_some() && volume.want.source.is_none() {
        volume.want.fresh = false;
        volume.loops_before = None;
        cx.session.give_back(volume.clone());
        return;
    }
    if let Err(why) = cx.session.delete(volume, &cx.id).await {
        stayed.push(Residue {
            step: Step::Delete,
            unasked: false,
            entry: LedgerEntry {
                check: cx.id.clone(),
                what: "volume".into(),
                object: volume
                    .id
                    .clone()
                    .or(volume.name.clone())
                    .unwrap_or_default(),
                owner: None,
                then: format!("left: {why}"),
            },
        });
    }
}

pub(super) fn device_words(device: &node::LoopDevice) -> String {
    format!("/dev/loop{} of {}", device.number, device.backing.display())
}
