//! `ValidateVolumeCapabilities`.

use csi_proto::v1 as csi;
use csi_proto::v1::validate_volume_capabilities_response::Confirmed;
use tonic::{Code, Status};

use super::create::are_those_of;
use crate::common::args as fields;
use crate::common::capability::Capability;
use crate::common::patience::Patience;
use crate::nfs::driver::Driver;
use crate::nfs::flags::Flags;
use crate::nfs::source::Source;
use crate::nfs::store::Made;
use crate::nfs::{args, capability, workplace};

/// Confirms what publish and stage would accept.
pub(super) fn validate(
    driver: &Driver,
    request: &csi::ValidateVolumeCapabilitiesRequest,
    patience: &Patience,
) -> Result<csi::ValidateVolumeCapabilitiesResponse, Status> {
    let id = fields::required("volume_id", &request.volume_id)?;
    let capabilities = Capability::parse_all(&request.volume_capabilities)?;
    let records = driver.store.records();
    let made = records.volume(id).map(|(_, made)| made);
    let source = args::source(driver, id, &request.volume_context)
        .map_err(|error| Status::not_found(error.message()))?;
    if made.is_none() {
        exists(driver, &source, capabilities.first(), patience)?;
    }
    let why_not = why_not(driver, request, made, &source, &capabilities).err();
    let confirmed = Confirmed {
        volume_context: request.volume_context.clone(),
        volume_capabilities: request.volume_capabilities.clone(),
        parameters: request.parameters.clone(),
        mutable_parameters: request.mutable_parameters.clone(),
    };
    Ok(csi::ValidateVolumeCapabilitiesResponse {
        confirmed: why_not.is_none().then_some(confirmed),
        message: why_not.unwrap_or_default(),
    })
}

/// Asks the server for a volume that was not made here.
fn exists(
    driver: &Driver,
    source: &Source,
    capability: Option<&Capability>,
    patience: &Patience,
) -> Result<(), Status> {
    let flags =
        capability.and_then(|capability| Flags::of(capability, driver.lets_background()).ok());
    workplace::is_there(driver, source, &flags.unwrap_or_default(), patience).map_err(|error| {
        match error.code() {
            Code::NotFound => Status::not_found("there is no such folder on the server"),
            _ => error,
        }
    })
}

fn why_not(
    driver: &Driver,
    request: &csi::ValidateVolumeCapabilitiesRequest,
    made: Option<&Made>,
    source: &Source,
    capabilities: &[Capability],
) -> Result<(), String> {
    for asked in capabilities {
        capability::check(asked)?;
        Flags::of(asked, driver.lets_background()).map_err(|error| error.message().to_owned())?;
    }
    if !request.mutable_parameters.is_empty() {
        return Err("mutable_parameters are not supported".to_owned());
    }
    if let Some(made) = made {
        if !are_those_of(made, &request.parameters) {
            return Err("the volume was made with other parameters".to_owned());
        }
        if made.source != *source {
            return Err("volume_context is not that of the volume".to_owned());
        }
    }
    Ok(())
}
