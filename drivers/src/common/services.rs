//! Which service a call is for: the first part of its HTTP/2 path (`/csi.v1.Node/…`).

use std::convert::Infallible;
use std::task::{Context, Poll};

use csi_proto::v1::controller_server::{self, Controller, ControllerServer};
use csi_proto::v1::identity_server::{self, Identity, IdentityServer};
use csi_proto::v1::node_server::{self, Node, NodeServer};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};

/// The three services behind one socket.
pub(crate) struct Services<I, C, N> {
    identity: IdentityServer<I>,
    controller: ControllerServer<C>,
    node: NodeServer<N>,
}

impl<I: Identity, C: Controller, N: Node> Services<I, C, N> {
    /// All of them.
    pub(crate) fn new(identity: I, controller: C, node: N) -> Self {
        Self {
            identity: IdentityServer::new(identity),
            controller: ControllerServer::new(controller),
            node: NodeServer::new(node),
        }
    }
}

impl<I, C, N> Clone for Services<I, C, N> {
    fn clone(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            controller: self.controller.clone(),
            node: self.node.clone(),
        }
    }
}

impl<I: Identity, C: Controller, N: Node> Service<http::Request<Body>> for Services<I, C, N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        match service {
            identity_server::SERVICE_NAME => self.identity.call(request),
            controller_server::SERVICE_NAME => self.controller.call(request),
            node_server::SERVICE_NAME => self.node.call(request),
            _ => Box::pin(async {
                let status = Status::unimplemented("this driver does not serve that service");
                Ok(status.into_http())
            }),
        }
    }
}
