//! The Identity service.

use std::collections::HashMap;
use std::sync::Arc;

use csi_proto::v1 as csi;
use csi_proto::v1::identity_server;
use csi_proto::v1::plugin_capability::service::Type as Service;
use csi_proto::v1::plugin_capability::volume_expansion::Type as Expansion;
use csi_proto::v1::plugin_capability::{self, Type};
use tonic::{Request, Response, Status, async_trait};

use super::driver::Driver;

/// The driver's name, which the volumes of Kubernetes carry.
const NAME: &str = "loop.csi-conformance.dev";

/// The Identity service of the loop driver.
pub(super) struct Identity(pub(super) Arc<Driver>);

#[async_trait]
impl identity_server::Identity for Identity {
    async fn get_plugin_info(
        &self,
        request: Request<csi::GetPluginInfoRequest>,
    ) -> Result<Response<csi::GetPluginInfoResponse>, Status> {
        self.0.call("GetPluginInfo", request, |_| None, info).await
    }

    async fn get_plugin_capabilities(
        &self,
        request: Request<csi::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<csi::GetPluginCapabilitiesResponse>, Status> {
        self.0
            .call("GetPluginCapabilities", request, |_| None, capabilities)
            .await
    }

    async fn probe(
        &self,
        request: Request<csi::ProbeRequest>,
    ) -> Result<Response<csi::ProbeResponse>, Status> {
        self.0.call("Probe", request, |_| None, probe).await
    }
}

fn info(_: &Driver, _: &csi::GetPluginInfoRequest) -> Result<csi::GetPluginInfoResponse, Status> {
    let url = env!("CARGO_PKG_REPOSITORY").to_owned();
    Ok(csi::GetPluginInfoResponse {
        name: NAME.to_owned(),
        vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
        manifest: HashMap::from([("url".to_owned(), url)]),
    })
}

fn capabilities(
    _: &Driver,
    _: &csi::GetPluginCapabilitiesRequest,
) -> Result<csi::GetPluginCapabilitiesResponse, Status> {
    let services = [
        Service::ControllerService,
        Service::VolumeAccessibilityConstraints,
        Service::GroupControllerService,
    ]
    .map(|service| {
        Type::Service(plugin_capability::Service {
            r#type: service.into(),
        })
    });
    let expansion = Type::VolumeExpansion(plugin_capability::VolumeExpansion {
        r#type: Expansion::Online.into(),
    });
    Ok(csi::GetPluginCapabilitiesResponse {
        capabilities: services
            .into_iter()
            .chain([expansion])
            .map(|capability| csi::PluginCapability {
                r#type: Some(capability),
            })
            .collect(),
    })
}

/// The driver serves, so it is ready; what it cannot do without must be there.
fn probe(_: &Driver, _: &csi::ProbeRequest) -> Result<csi::ProbeResponse, Status> {
    if !std::path::Path::new("/dev/loop-control").exists() {
        let message = "this machine has no /dev/loop-control";
        return Err(Status::failed_precondition(message));
    }
    Ok(csi::ProbeResponse { ready: Some(true) })
}
