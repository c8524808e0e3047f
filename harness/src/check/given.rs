//! Volumes that the user names, for drivers that create none.

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::kind::Kind;
use super::stop::Stop;
use super::volume::Want;
use crate::config::StaticVolume;

/// Takes a volume of the user's that fits and is free. An id that is a
/// template (`${n}`) stands for as many volumes as are needed.
pub(super) fn take(cx: &Cx, want: Want, kind: Kind) -> Result<VolumeClaim, Stop> {
    let volumes = &cx.session.config().volumes;
    let fits = |volume: &StaticVolume| fits(volume, &want, &kind);
    let template = volumes.iter().find(|v| fits(v) && v.is_template());
    let number = cx.session.number();
    if let Some(given) = template {
        let id = given.id_for(&cx.session.run_id, number)
            .map_err(|e| Stop::ours("make a volume's id", e))?;
        return Ok(claim(given, want, kind, number, id, None));
    }
    let fitting = |index: usize| volumes.get(index).is_some_and(fits);
    let Some(index) = cx.session.take_static(fitting) else {
        return Err(Stop::not_given("one more volume of this kind among volumes:"));
    };
    let given = &volumes[index];
    Ok(claim(given, want, kind, number, given.id.clone(), Some(index)))
}

fn fits(volume: &StaticVolume, want: &Want, kind: &Kind) -> bool {
    let access = volume.access_types.is_empty() && matches!(kind, Kind::Mount(_))
        || volume.access_types.contains(&kind.access());
    let mode = want.mode.is_none_or(|mode| {
        volume.access_modes.is_empty() || volume.access_modes.contains(&mode)
    });
    // A volume that others made is never "fresh", unless each use is a new one.
    access && mode && (!want.fresh || volume.is_template())
}

fn claim(given: &StaticVolume, want: Want, kind: Kind, number: u64, id: String, index: Option<usize>) -> VolumeClaim {
    let mut claim = VolumeClaim::new(want, kind, number);
    claim.id = Some(id);
    claim.context = given.context.clone();
    if !given.publish_context.is_empty() {
        claim.attached = Some(given.publish_context.clone());
    }
    if claim.want.mode.is_none() {
        claim.want.mode = given.access_modes.first().copied();
    }
    claim.given_read_only = !given.scratch;
    claim.given = index;
    claim
}
