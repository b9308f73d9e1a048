//! Limits of a gRPC port: RESOURCE_EXHAUSTED, with a RetryInfo.

use crate::limits::Limits;
use futures_util::future::BoxFuture;
use http::request::Parts;
use larder_runtime::connection::Peer;
use larder_runtime::warden::Warden;
use tonic::Status;

/// Limits as the warden of a gRPC server.
pub struct Grpc {
    limits: Limits,
    free: Vec<String>,
}

impl Grpc {
    /// Limits every call.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            free: Vec::new(),
        }
    }

    /// Calls of this service (`package.Service`) are not limited.
    #[must_use]
    pub fn free(mut self, service: &str) -> Self {
        self.free.push(format!("/{service}/"));
        self
    }
}

impl Warden for Grpc {
    fn admit<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async {
            let path = call.uri.path();
            if self.free.iter().any(|service| path.starts_with(service)) {
                return Ok(());
            }
            let peer = call.extensions.get::<Peer>();
            let peer = peer.and_then(|peer| peer.address);
            let admitted = self.limits.admit(peer.map(|peer| peer.ip()), &call.headers);
            admitted
                .await
                .map(drop)
                .map_err(|refusal| Status::from(&refusal))
        })
    }
}
