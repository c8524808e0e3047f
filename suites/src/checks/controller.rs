//! `CreateVolume`, `DeleteVolume`, `ValidateVolumeCapabilities`, as far as the life
//! of a volume on a node leans on them.

use csi_harness::check;
use csi_harness::check::{Access, Check, Checked, Cx, Marker, Need, Step, Stop, Want};
use csi_harness::client::Code;
use csi_proto::rpc;
use csi_proto::v1;
use csi_proto::v1::controller_service_capability::rpc::Type as ControllerRpc;
use csi_proto::v1::plugin_capability::service::Type as Service;

use crate::spec;

pub(super) static CHECKS: &[&Check] = &[
    &CREATES,
    &CAPABILITIES_REQUIRED,
    &NAME_REQUIRED,
    &ODD_SIZE,
    &OTHER_SIZE,
    &DELETES,
    &DELETE_REPEAT,
    &DELETE_ID_REQUIRED,
    &DELETE_IN_USE,
    &NOT_OFFERED_IS_REFUSED,
    &VALIDATE_UNKNOWN,
    &VALIDATE_CONFIRMS,
];

const CREATE: Need = Need::All(&[Need::OwnVolumes, Need::ANY_VOLUME]);

check! {
    /// `CreateVolume` makes a volume of the size that was asked for.
    CREATES = "create-volume.creates",
    clauses: [spec::CONTROLLER_CREATE_VOLUME_ID_REQUIRED, spec::CONTROLLER_CREATE_CAPACITY_HONOURED],
    needs: CREATE,
    owns: [Step::Create],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 2,
    look_at: "what CreateVolume refuses: parameters, secrets and topology may be missing in the configuration",
    run: creates,
}

async fn creates(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let asked = volume
        .create_request()?
        .capacity_range
        .map_or(0, |range| range.required_bytes);
    match volume.capacity() {
        got if got < 0 => Err(Stop::fail(format!("capacity_bytes is {got}"))),
        // Zero is allowed, and means that the size is not known.
        got if got > 0 && got < asked => Err(Stop::fail(format!(
            "{asked} bytes were required, capacity_bytes is {got}"
        ))),
        _ => Ok(()),
    }
}

check! {
    /// A size that is no round number is not rounded down.
    ///
    /// A restore or a clone needs every byte that was asked for.
    ODD_SIZE = "create-volume.odd-size-is-not-rounded-down",
    clauses: [spec::CONTROLLER_CREATE_CAPACITY_HONOURED],
    needs: CREATE,
    axes: [Kind],
    volumes: 1, calls: 10,
    seen_in: ["kubernetes-sigs/gcp-compute-persistent-disk-csi-driver!684" => "sizes were rounded down"],
    look_at: "the rounding of required_bytes to the unit of the back end: up, as far as limit_bytes lets it",
    run: odd_size,
}

async fn odd_size(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh().odd_size()).await;
    // A driver may have sizes of its own, if it says so.
    let volume = volume.map_err(|stop| stop.if_refused("volumes of odd sizes"))?;
    let asked = volume
        .create_request()?
        .capacity_range
        .map_or(0, |range| range.required_bytes);
    let told = volume.capacity();
    if told > 0 && told < asked {
        return Err(Stop::fail(format!(
            "{asked} bytes were required, capacity_bytes is {told}"
        )));
    }
    if volume.access() == Access::Mount {
        return Ok(());
    }
    let there = volume.stage().await?.publish("a").await?.size().await?;
    let what = format!("{asked} bytes were required, the device has {there}");
    match asked.unsigned_abs().saturating_sub(there) {
        0 => Ok(()),
        // Of the last sector nobody misses a part.
        less if less < SECTOR => Err(Stop::Warn(what)),
        _ => Err(Stop::fail(what)),
    }
}

/// The least that a device grows by, in bytes.
const SECTOR: u64 = 512;

check! {
    /// A name that exists with another size is refused.
    ///
    /// OK would hand out a volume that is smaller than what was asked for.
    OTHER_SIZE = "create-volume.other-size-is-already-exists",
    clauses: [spec::CONTROLLER_CREATE_EXISTS_INCOMPATIBLE_CAPACITY_RANGE],
    needs: CREATE,
    volumes: 1, calls: 4,
    run: other_size,
}

async fn other_size(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    if volume.capacity() == 0 {
        return Err(Stop::not_offered("volumes of a known size"));
    }
    let mut request = volume.create_request()?;
    let twice = volume.capacity() * 2;
    request.capacity_range = Some(v1::CapacityRange {
        required_bytes: twice,
        limit_bytes: 0,
    });
    cx.ask_patiently::<rpc::CreateVolume>(&request)
        .await?
        // A back end that is not twice as large says so first.
        .refused_with(&[Code::ALREADY_EXISTS, Code::OUT_OF_RANGE])
}

check! {
    /// `CreateVolume` without a name is refused.
    NAME_REQUIRED = "create-volume.name-is-required",
    clauses: [spec::CONTROLLER_CREATE_NAME_REQUIRED],
    needs: CREATE,
    volumes: 1, calls: 3,
    run: name_required,
}

async fn name_required(cx: &Cx) -> Checked {
    let mut request = cx.volume(Want::any()).await?.create_request()?;
    request.name.clear();
    cx.ask::<rpc::CreateVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `CreateVolume` without a capability is refused.
    CAPABILITIES_REQUIRED = "create-volume.capabilities-are-required",
    clauses: [spec::CONTROLLER_CREATE_CAPABILITIES_REQUIRED],
    needs: CREATE,
    volumes: 1, calls: 4,
    run: capabilities_required,
}

async fn capabilities_required(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let mut request = volume.create_request()?;
    request.volume_capabilities.clear();
    cx.ask::<rpc::CreateVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// `DeleteVolume` deletes a volume that nobody uses.
    DELETES = "delete-volume.deletes",
    clauses: [spec::CONTROLLER_DELETE_IMPLEMENTED],
    needs: CREATE,
    owns: [Step::Delete],
    phase: First,
    axes: [Kind],
    volumes: 1, calls: 3,
    run: deletes,
}

async fn deletes(cx: &Cx) -> Checked {
    cx.volume(Want::fresh()).await?.delete().await
}

check! {
    /// `DeleteVolume` of a volume that is gone already is OK.
    ///
    /// A provisioner that was restarted repeats the call, and with an error would
    /// do so for ever.
    DELETE_REPEAT = "delete-volume.repeat-is-ok",
    clauses: [spec::CONTROLLER_DELETE_IDEMPOTENT],
    needs: CREATE,
    volumes: 1, calls: 4,
    run: delete_repeat,
}

async fn delete_repeat(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    volume.delete().await?;
    let request = v1::DeleteVolumeRequest {
        volume_id: volume.id(),
        secrets: cx.session().secrets("DeleteVolume"),
    };
    cx.ask_patiently::<rpc::DeleteVolume>(&request)
        .await?
        .ok()
        .map(drop)
}

check! {
    /// `DeleteVolume` without an id is refused.
    DELETE_ID_REQUIRED = "delete-volume.id-is-required",
    clauses: [spec::CONTROLLER_DELETE_ID_REQUIRED],
    needs: CREATE,
    volumes: 0, calls: 1,
    run: delete_id_required,
}

async fn delete_id_required(cx: &Cx) -> Checked {
    let request = v1::DeleteVolumeRequest {
        secrets: cx.session().secrets("DeleteVolume"),
        ..Default::default()
    };
    cx.ask::<rpc::DeleteVolume>(&request)
        .await?
        .refused_with(&[Code::INVALID_ARGUMENT])
}

check! {
    /// A volume that is in use is not deleted.
    ///
    /// A claim that is deleted while its pod runs must not take the disk from
    /// under it.
    DELETE_IN_USE = "delete-volume.in-use-is-refused",
    clauses: [spec::CONTROLLER_DELETE_IN_USE],
    needs: CREATE,
    volumes: 1, calls: 12,
    seen_in: ["home-operations/miroir!250" => "a volume was deleted while it was in use"],
    look_at: "what DeleteVolume knows of the volume's use: its attachment, its device",
    run: delete_in_use,
}

async fn delete_in_use(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    let target = volume.stage().await?.publish("a").await?;
    let marker = Marker::new()?;
    target.write(&marker).await?;
    let request = v1::DeleteVolumeRequest {
        volume_id: volume.id(),
        secrets: cx.session().secrets("DeleteVolume"),
    };
    let asked = cx.ask::<rpc::DeleteVolume>(&request).await?;
    if asked.is_ok()
        && !cx
            .facts()
            .controller_can(ControllerRpc::PublishUnpublishVolume)
    {
        // Nobody tells it who uses the volume.
        return Err(Stop::not_offered(
            "a controller that attaches, and so knows which volumes are in use",
        ));
    }
    target.shows(&marker).await?;
    match asked.refusal().map(|refusal| refusal.code) {
        // The volume is safe; only the word is another.
        Some(code) if code != Code::FAILED_PRECONDITION => Err(Stop::Warn(format!(
            "{code} for a volume in use; FAILED_PRECONDITION was due"
        ))),
        _ => asked.refused_with(&[Code::FAILED_PRECONDITION]),
    }
}

check! {
    /// `ValidateVolumeCapabilities` of a volume that does not exist is NOT_FOUND.
    VALIDATE_UNKNOWN = "validate-volume-capabilities.unknown-volume-is-not-found",
    clauses: [spec::CONTROLLER_VALIDATE_NOT_FOUND],
    needs: CREATE,
    volumes: 1, calls: 4,
    run: validate_unknown,
}

async fn validate_unknown(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::fresh()).await?;
    volume.delete().await?;
    cx.ask_patiently::<rpc::ValidateVolumeCapabilities>(&volume.validate_request()?)
        .await?
        .refused_with(&[Code::NOT_FOUND])
}

check! {
    /// What a volume was created with, `ValidateVolumeCapabilities` confirms.
    VALIDATE_CONFIRMS = "validate-volume-capabilities.confirms-what-was-created",
    clauses: [spec::CONTROLLER_VALIDATE_CONFIRMED_TRUTHFUL],
    needs: CREATE,
    axes: [Kind],
    volumes: 1, calls: 3,
    run: validate_confirms,
}

async fn validate_confirms(cx: &Cx) -> Checked {
    let volume = cx.volume(Want::any()).await?;
    let said = cx
        .ask_patiently::<rpc::ValidateVolumeCapabilities>(&volume.validate_request()?)
        .await?
        .ok()?;
    match said.confirmed {
        Some(confirmed) if !confirmed.volume_capabilities.is_empty() => Ok(()),
        _ => Err(Stop::fail(format!(
            "the capability that the volume was created with is not confirmed: {:?}",
            said.message
        ))),
    }
}

check! {
    /// What the controller does not say it can do is refused, and does not end it.
    NOT_OFFERED_IS_REFUSED = "controller-get-capabilities.not-offered-is-unimplemented",
    clauses: [spec::GENERAL_ERROR_UNIMPLEMENTED],
    needs: Need::Service(Service::ControllerService),
    volumes: 0, calls: 5,
    seen_in: ["ceph/ceph-csi#4769" => "a call that was not announced made the plugin panic"],
    run: not_offered_is_refused,
}

async fn not_offered_is_refused(cx: &Cx) -> Checked {
    let can = |rpc| cx.facts().controller_can(rpc);
    let mut odd = Vec::new();
    macro_rules! ask {
        ($rpc:ident, $capability:ident) => {
            if !can(ControllerRpc::$capability) {
                let asked = cx.ask::<rpc::$rpc>(&Default::default()).await?;
                match asked.refusal().map(|refusal| refusal.code) {
                    // Whether the arguments or the RPC are looked at first, nobody says.
                    Some(Code::UNIMPLEMENTED | Code::INVALID_ARGUMENT) => {}
                    Some(code) => odd.push(format!("{} answers {code}", stringify!($rpc))),
                    None => {
                        return Err(Stop::fail(concat!(
                            stringify!($rpc),
                            " is not announced, and answers OK to an empty request"
                        )));
                    }
                }
            }
        };
    }
    ask!(CreateSnapshot, CreateDeleteSnapshot);
    ask!(DeleteSnapshot, CreateDeleteSnapshot);
    ask!(ControllerExpandVolume, ExpandVolume);
    ask!(ControllerGetVolume, GetVolume);
    ask!(ControllerModifyVolume, ModifyVolume);
    // They did nothing, and said so; only the code is another.
    odd.first().map_or(Ok(()), |first| {
        Err(Stop::Warn(format!(
            "what is not announced is not UNIMPLEMENTED: {first}"
        )))
    })
}
