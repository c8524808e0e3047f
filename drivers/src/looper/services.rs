//! Which service a call is for: the first part of its HTTP/2 path (`/csi.v1.Node/…`).

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use csi_proto::v1::controller_server::{self, ControllerServer};
use csi_proto::v1::identity_server::{self, IdentityServer};
use csi_proto::v1::node_server::{self, NodeServer};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};

use super::controller::Controller;
use super::driver::Driver;
use super::identity::Identity;
use super::node::Node;

/// The three services behind one socket.
#[derive(Clone)]
pub(super) struct Services {
    identity: IdentityServer<Identity>,
    controller: ControllerServer<Controller>,
    node: NodeServer<Node>,
}

impl Services {
    /// All of them, served by one driver.
    pub(super) fn new(driver: &Arc<Driver>) -> Self {
        Self {
            identity: IdentityServer::new(Identity(Arc::clone(driver))),
            controller: ControllerServer::new(Controller(Arc::clone(driver))),
            node: NodeServer::new(Node(Arc::clone(driver))),
        }
    }
}

impl Service<http::Request<Body>> for Services {
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
