//! Which service a call is for: the first part of its HTTP/2 path (`/csi.v1.Node/…`).

use std::convert::Infallible;
use std::task::{Context, Poll};

use csi_proto::v1::controller_server::{self, Controller, ControllerServer};
use csi_proto::v1::group_controller_server::{self, GroupController, GroupControllerServer};
use csi_proto::v1::identity_server::{self, Identity, IdentityServer};
use csi_proto::v1::node_server::{self, Node, NodeServer};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::{Request, Response, Status, async_trait};

/// The services behind one socket.
pub(crate) struct Services<I, C, N, G = NoGroups> {
    identity: IdentityServer<I>,
    controller: ControllerServer<C>,
    node: NodeServer<N>,
    groups: Option<GroupControllerServer<G>>,
}

impl<I: Identity, C: Controller, N: Node> Services<I, C, N> {
    /// The three that every driver has.
    pub(crate) fn new(identity: I, controller: C, node: N) -> Self {
        Self {
            identity: IdentityServer::new(identity),
            controller: ControllerServer::new(controller),
            node: NodeServer::new(node),
            groups: None,
        }
    }

    /// These, and the one for groups of snapshots.
    pub(crate) fn with_groups<G: GroupController>(self, groups: G) -> Services<I, C, N, G> {
        Services {
            identity: self.identity,
            controller: self.controller,
            node: self.node,
            groups: Some(GroupControllerServer::new(groups)),
        }
    }
}

impl<I, C, N, G> Clone for Services<I, C, N, G> {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            controller: self.controller.clone(),
            node: self.node.clone(),
            groups: self.groups.clone(),
        }
    }
}

impl<I: Identity, C: Controller, N: Node, G: GroupController> Service<http::Request<Body>>
    for Services<I, C, N, G>
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        match (service, &mut self.groups) {
            (identity_server::SERVICE_NAME, _) => self.identity.call(request),
            (controller_server::SERVICE_NAME, _) => self.controller.call(request),
            (node_server::SERVICE_NAME, _) => self.node.call(request),
            (group_controller_server::SERVICE_NAME, Some(groups)) => groups.call(request),
            _ => Box::pin(async { Ok(unserved().into_http()) }),
        }
    }
}

fn unserved() -> Status {
    Status::unimplemented("this driver does not serve that service")
}

/// The service of a driver that has no groups of snapshots; it is never asked.
pub(crate) enum NoGroups {}

#[async_trait]
impl GroupController for NoGroups {
    async fn group_controller_get_capabilities(
        &self,
        _: Request<csi_proto::v1::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<csi_proto::v1::GroupControllerGetCapabilitiesResponse>, Status> {
        match *self {}
    }

    async fn create_volume_group_snapshot(
        &self,
        _: Request<csi_proto::v1::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi_proto::v1::CreateVolumeGroupSnapshotResponse>, Status> {
        match *self {}
    }

    async fn delete_volume_group_snapshot(
        &self,
        _: Request<csi_proto::v1::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi_proto::v1::DeleteVolumeGroupSnapshotResponse>, Status> {
        match *self {}
    }

    async fn get_volume_group_snapshot(
        &self,
        _: Request<csi_proto::v1::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<csi_proto::v1::GetVolumeGroupSnapshotResponse>, Status> {
        match *self {}
    }
}
