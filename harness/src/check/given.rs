//! Volumes that the user names, for drivers that create none.

use csi_proto::v1::volume_capability::access_mode::Mode;

use super::claims::VolumeClaim;
use super::cx::Cx;
use super::facts::is_of;
use super::kind::Kind;
use super::stop::Stop;
use super::values::Values;
use super::volume::Want;
use super::wait::Patience;
use crate::config::StaticVolume;

/// Takes a volume of the user's that fits and is free. An id that is a
/// template (`${n}`) stands for as many volumes as are needed.
pub(super) async fn take(cx: &Cx, want: Want, kind: Kind) -> Result<VolumeClaim, Stop> {
    let volumes = &cx.session.config().volumes;
    if want.fresh && !volumes.iter().any(StaticVolume::is_template) {
        return Err(Stop::not_given(
            "a volume that was never used (an id with ${n} among volumes:)",
        ));
    }
    let fits = |volume: &StaticVolume| fits(volume, &want, &kind);
    let (index, given) = match volumes
        .iter()
        .find(|volume| fits(volume) && volume.is_template())
    {
        Some(template) => (None, template),
        None if !volumes.iter().any(fits) => {
            return Err(Stop::not_given("a volume of this kind among volumes:"));
        }
        None => {
            let (index, given) = wait_for(cx, volumes, fits).await?;
            (Some(index), given)
        }
    };
    let number = cx.session.number();
    let values = values(cx, number, &want, index)?;
    let given = given
        .instance(&values.pairs())
        .map_err(|error| Stop::ours("fill in a volume's id", error))?;
    Ok(claim(given, want, kind, number, index))
}

/// What its id and contexts are filled in with. On a server of the lab's, each
/// volume has a folder of its own; one with a fixed id keeps it.
fn values(cx: &Cx, number: u64, want: &Want, index: Option<usize>) -> Result<Values, Stop> {
    let values = Values::of(cx, number, want)?;
    let (Some(servers), None) = (&cx.session.servers, &want.share) else {
        return Ok(values);
    };
    let name = index.map_or_else(|| format!("v{number}"), |index| format!("s{index}"));
    let share = servers.folder(want.server.unwrap_or_default(), &name)?;
    Ok(values.with_share(share))
}

/// One that fits, as soon as a check gives it back.
async fn wait_for<'a>(
    cx: &Cx,
    volumes: &'a [StaticVolume],
    fits: impl Fn(&StaticVolume) -> bool,
) -> Result<(usize, &'a StaticVolume), Stop> {
    let mut patience = Patience::brisk(cx.session.client.longest_deadline() * 4);
    loop {
        let free = cx
            .session
            .take_static(|index| volumes.get(index).is_some_and(&fits));
        if let Some((index, given)) = free.and_then(|index| Some((index, volumes.get(index)?))) {
            return Ok((index, given));
        }
        if !patience.wait().await {
            return Err(Stop::not_given(
                "one more volume of this kind among volumes:",
            ));
        }
    }
}

fn fits(volume: &StaticVolume, want: &Want, kind: &Kind) -> bool {
    let modes = || volume.access_modes.iter().map(|mode| Mode::from(*mode));
    let mode = want
        .mode
        .is_none_or(|mode| volume.access_modes.is_empty() || modes().any(|m| m == mode));
    // A volume that others made is never fresh, unless each use is a new one.
    let file_system = match kind {
        Kind::Mount(fs_type) => volume.fs_type == *fs_type,
        Kind::Block => true,
    };
    is_of(volume, kind.access()) && file_system && mode && (!want.fresh || volume.is_template())
}

fn claim(
    given: StaticVolume,
    mut want: Want,
    kind: Kind,
    number: u64,
    index: Option<usize>,
) -> VolumeClaim {
    want.mode = want
        .mode
        .or_else(|| given.access_modes.first().map(|mode| Mode::from(*mode)));
    let kind = match kind {
        Kind::Mount(_) => Kind::Mount(given.fs_type),
        Kind::Block => Kind::Block,
    };
    let mut claim = VolumeClaim::new(want, kind, number);
    claim.id = Some(given.id);
    claim.context = given.context;
    // One that the user says nothing of is made by attaching, where the driver
    // does that.
    claim.attached = (!given.publish_context.is_empty()).then_some(given.publish_context);
    claim.readonly = given.read_only;
    claim.given_read_only = given.read_only || !given.scratch;
    claim.given = index;
    claim
}
