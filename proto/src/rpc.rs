//! The calls of CSI as types, so that one generic client can make any of them.

use prost::Message;

use crate::v1;

/// A unary call: what is sent, what comes back, and how it is named on the wire.
pub trait Rpc: Send + Sync + 'static {
    /// The service that it belongs to, without the package: `Node`.
    const SERVICE: &'static str;
    /// Its name in the service: `NodeStageVolume`.
    const NAME: &'static str;
    /// The path of the HTTP/2 request: `/csi.v1.Node/NodeStageVolume`.
    const PATH: &'static str;
    /// The full name of the message sent: `csi.v1.NodeStageVolumeRequest`.
    const REQUEST: &'static str;
    /// The full name of the message answered: `csi.v1.NodeStageVolumeResponse`.
    const RESPONSE: &'static str;

    /// The message sent.
    type Request: Message + Default + Clone + Send + Sync + 'static;
    /// The message answered.
    type Response: Message + Default + Clone + Send + Sync + 'static;
}

/// Service, name and path of one call.
pub type Entry = (&'static str, &'static str, &'static str);

macro_rules! path {
    ($service:ident, $name:ident) => {
        concat!("/csi.v1.", stringify!($service), "/", stringify!($name))
    };
}

/// One unit struct for each unary call, and the list of them all.
macro_rules! unary {
    ($($service:ident { $($name:ident($request:ident) -> $response:ident;)* })*) => {
        $($(
            #[doc = concat!("The call `", stringify!($service), ".", stringify!($name), "`.")]
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name;

            impl Rpc for $name {
                const SERVICE: &'static str = stringify!($service);
                const NAME: &'static str = stringify!($name);
                const PATH: &'static str = path!($service, $name);
                const REQUEST: &'static str = concat!("csi.v1.", stringify!($request));
                const RESPONSE: &'static str = concat!("csi.v1.", stringify!($response));

                type Request = v1::$request;
                type Response = v1::$response;
            }
        )*)*

        /// Every unary call, in the order of `csi.proto`.
        #[must_use]
        pub fn unary() -> &'static [Entry] {
            &[$($((stringify!($service), stringify!($name), path!($service, $name)),)*)*]
        }

        /// What the types say of themselves, for comparison with the descriptor.
        #[cfg(test)]
        fn typed() -> Vec<[&'static str; 7]> {
            vec![$($(tests::typed::<$name>(),)*)*]
        }
    };
}

unary! {
    Identity {
        GetPluginInfo(GetPluginInfoRequest) -> GetPluginInfoResponse;
        GetPluginCapabilities(GetPluginCapabilitiesRequest) -> GetPluginCapabilitiesResponse;
        Probe(ProbeRequest) -> ProbeResponse;
    }
    Controller {
        CreateVolume(CreateVolumeRequest) -> CreateVolumeResponse;
        DeleteVolume(DeleteVolumeRequest) -> DeleteVolumeResponse;
        ControllerPublishVolume(ControllerPublishVolumeRequest) -> ControllerPublishVolumeResponse;
        ControllerUnpublishVolume(ControllerUnpublishVolumeRequest) -> ControllerUnpublishVolumeResponse;
        ValidateVolumeCapabilities(ValidateVolumeCapabilitiesRequest) -> ValidateVolumeCapabilitiesResponse;
        ListVolumes(ListVolumesRequest) -> ListVolumesResponse;
        ControllerListVolumeHealth(ControllerListVolumeHealthRequest) -> ControllerListVolumeHealthResponse;
        ControllerGetVolumeHealth(ControllerGetVolumeHealthRequest) -> ControllerGetVolumeHealthResponse;
        GetCapacity(GetCapacityRequest) -> GetCapacityResponse;
        ControllerGetCapabilities(ControllerGetCapabilitiesRequest) -> ControllerGetCapabilitiesResponse;
        CreateSnapshot(CreateSnapshotRequest) -> CreateSnapshotResponse;
        DeleteSnapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse;
        ListSnapshots(ListSnapshotsRequest) -> ListSnapshotsResponse;
        GetSnapshot(GetSnapshotRequest) -> GetSnapshotResponse;
        ControllerExpandVolume(ControllerExpandVolumeRequest) -> ControllerExpandVolumeResponse;
        ControllerGetVolume(ControllerGetVolumeRequest) -> ControllerGetVolumeResponse;
        ControllerModifyVolume(ControllerModifyVolumeRequest) -> ControllerModifyVolumeResponse;
    }
    GroupController {
        GroupControllerGetCapabilities(GroupControllerGetCapabilitiesRequest) -> GroupControllerGetCapabilitiesResponse;
        CreateVolumeGroupSnapshot(CreateVolumeGroupSnapshotRequest) -> CreateVolumeGroupSnapshotResponse;
        DeleteVolumeGroupSnapshot(DeleteVolumeGroupSnapshotRequest) -> DeleteVolumeGroupSnapshotResponse;
        GetVolumeGroupSnapshot(GetVolumeGroupSnapshotRequest) -> GetVolumeGroupSnapshotResponse;
    }
    Node {
        NodeStageVolume(NodeStageVolumeRequest) -> NodeStageVolumeResponse;
        NodeUnstageVolume(NodeUnstageVolumeRequest) -> NodeUnstageVolumeResponse;
        NodePublishVolume(NodePublishVolumeRequest) -> NodePublishVolumeResponse;
        NodeUnpublishVolume(NodeUnpublishVolumeRequest) -> NodeUnpublishVolumeResponse;
        NodeGetVolumeStats(NodeGetVolumeStatsRequest) -> NodeGetVolumeStatsResponse;
        NodeGetVolumeHealth(NodeGetVolumeHealthRequest) -> NodeGetVolumeHealthResponse;
        NodeGetStorageHealth(NodeGetStorageHealthRequest) -> NodeGetStorageHealthResponse;
        NodeExpandVolume(NodeExpandVolumeRequest) -> NodeExpandVolumeResponse;
        NodeGetCapabilities(NodeGetCapabilitiesRequest) -> NodeGetCapabilitiesResponse;
        NodeGetInfo(NodeGetInfoRequest) -> NodeGetInfoResponse;
    }
}

/// The calls that answer with a stream of messages: no [`Rpc`], since that
/// names one answer. [`v1::snapshot_metadata_client`] has them.
#[must_use]
pub fn server_streaming() -> &'static [Entry] {
    &[
        (
            "SnapshotMetadata",
            "GetMetadataAllocated",
            path!(SnapshotMetadata, GetMetadataAllocated),
        ),
        (
            "SnapshotMetadata",
            "GetMetadataDelta",
            path!(SnapshotMetadata, GetMetadataDelta),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::any::type_name;

    use prost_reflect::{DescriptorPool, MethodDescriptor};

    use super::*;

    /// Service, name, path, the names of both messages, and both Rust types.
    pub(super) fn typed<R: Rpc>() -> [&'static str; 7] {
        [
            R::SERVICE,
            R::NAME,
            R::PATH,
            R::REQUEST,
            R::RESPONSE,
            type_name::<R::Request>(),
            type_name::<R::Response>(),
        ]
    }

    fn methods(streaming: bool) -> Vec<MethodDescriptor> {
        DescriptorPool::decode(crate::DESCRIPTOR_SET)
            .expect("our own descriptor set")
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| method.is_server_streaming() == streaming)
            .inspect(|method| assert!(!method.is_client_streaming(), "{}", method.full_name()))
            .collect()
    }

    fn entry(method: &MethodDescriptor) -> (String, String, String) {
        let service = method.parent_service();
        (
            service.name().to_owned(),
            method.name().to_owned(),
            format!("/{}/{}", service.full_name(), method.name()),
        )
    }

    fn owned(entries: &[Entry]) -> Vec<(String, String, String)> {
        entries
            .iter()
            .map(|(service, name, path)| {
                (
                    (*service).to_owned(),
                    (*name).to_owned(),
                    (*path).to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn the_tables_are_the_descriptor() {
        let unary: Vec<_> = methods(false).iter().map(entry).collect();
        assert_eq!(owned(super::unary()), unary);
        assert_eq!(unary.len(), 34);

        let streaming: Vec<_> = methods(true).iter().map(entry).collect();
        assert_eq!(owned(server_streaming()), streaming);
    }

    #[test]
    fn every_call_has_the_types_of_the_descriptor() {
        let of_types: Vec<[String; 7]> = super::typed()
            .into_iter()
            .map(|words| words.map(str::to_owned))
            .collect();
        let of_descriptor: Vec<[String; 7]> = methods(false)
            .iter()
            .map(|method| {
                let (service, name, path) = entry(method);
                let (input, output) = (method.input(), method.output());
                [
                    service,
                    name,
                    path,
                    input.full_name().to_owned(),
                    output.full_name().to_owned(),
                    format!("csi_proto::v1::{}", input.name()),
                    format!("csi_proto::v1::{}", output.name()),
                ]
            })
            .collect();
        assert_eq!(of_types, of_descriptor);
    }
}
