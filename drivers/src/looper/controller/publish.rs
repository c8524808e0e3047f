//! `ControllerPublishVolume` and `ControllerUnpublishVolume`: who may use a volume.

use std::collections::HashMap;

use csi_proto::v1 as csi;
use tonic::Status;

use crate::common::capability::Capability;
use crate::defect::Defect;
use crate::looper::args;
use crate::looper::driver::Driver;
use crate::looper::node::MOST_VOLUMES;
use crate::looper::volume::{Attachment, internal};
use crate::sys::file;

/// The key in `publish_context` that the node asks for.
pub(in crate::looper) const ATTACHMENT: &str = "attachment";

/// The key in `publish_context` that tells by which name the disk is found.
pub(in crate::looper) const DEVICE: &str = "device";

/// Records that the node may use the volume, and gives what it must show for it.
pub(super) fn publish(
    driver: &Driver,
    request: &csi::ControllerPublishVolumeRequest,
) -> Result<csi::ControllerPublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let node = args::required("node_id", &request.node_id)?;
    let capability = Capability::parse(request.volume_capability.as_ref())?;
    let volume = driver.store.get(id)?;
    if node != driver.node_id {
        return Err(Status::not_found("there is no node of this node_id"));
    }
    capability
        .check(&driver.filesystems)
        .and_then(|()| volume.check(&capability))
        .map_err(Status::invalid_argument)?;
    args::context(&request.volume_context, &volume)?;
    let readonly = request.readonly && !driver.defects.has(Defect::ATTACH_READONLY_IGNORED);
    let attachment = match volume.attachment {
        Some(attachment) => {
            if attachment.node != node {
                let message = format!("the volume is published to node {}", attachment.node);
                return Err(Status::failed_precondition(message));
            }
            if attachment.readonly != readonly || !attachment.capability.is_same_use(&capability) {
                let message = "the volume is published to this node in another way";
                return Err(Status::already_exists(message));
            }
            attachment
        }
        None => {
            let attached = driver
                .store
                .all()
                .iter()
                .filter(|volume| volume.attachment.is_some())
                .count();
            if attached >= MOST_VOLUMES {
                let message = "the node has as many volumes as it takes";
                return Err(Status::resource_exhausted(message));
            }
            let attachment = Attachment {
                id: file::random_hex(8).map_err(internal)?,
                node: node.to_owned(),
                capability,
                readonly,
            };
            let record = attachment.clone();
            driver
                .store
                .update(id, |volume| volume.attachment = Some(record))?;
            attachment
        }
    };
    let alias = driver.store.name(id)?;
    Ok(csi::ControllerPublishVolumeResponse {
        publish_context: HashMap::from([
            (ATTACHMENT.to_owned(), attachment.id),
            (DEVICE.to_owned(), alias.display().to_string()),
        ]),
    })
}

/// Forgets that the node may use the volume. A volume that is not there is used by nobody.
pub(super) fn unpublish(
    driver: &Driver,
    request: &csi::ControllerUnpublishVolumeRequest,
) -> Result<csi::ControllerUnpublishVolumeResponse, Status> {
    let id = args::required("volume_id", &request.volume_id)?;
    let attachment = driver.store.find(id).and_then(|volume| volume.attachment);
    // No node_id means every node.
    let from_any = request.node_id.is_empty() || driver.defects.has(Defect::DETACH_FROM_ANY_NODE);
    let meant = |node: &str| from_any || request.node_id == node;
    if attachment.is_some_and(|attachment| meant(&attachment.node)) {
        driver.store.unname(id)?;
        driver.store.update(id, |volume| volume.attachment = None)?;
    }
    Ok(csi::ControllerUnpublishVolumeResponse {})
}
