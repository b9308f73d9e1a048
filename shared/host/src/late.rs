//! A gRPC server that is there before what it needs is.

use crate::doubt::Doubt;
use crate::service::GrpcService;
use futures_util::future::{Either, Ready, ready};
use larder_runtime::status;
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;

/// When to try again at a service that starts.
const COME_BACK: Duration = Duration::from_millis(500);

/// Answers UNAVAILABLE until the server is [set](Late::set), and then what that answers.
#[derive(Debug)]
pub struct Late<S> {
    server: Arc<OnceLock<S>>,
    /// Refuses every call while it is doubtful.
    refuses: Option<Doubt>,
}

impl<S> Default for Late<S> {
    fn default() -> Self {
        Self {
            server: Arc::default(),
            refuses: None,
        }
    }
}

impl<S> Clone for Late<S> {
    fn clone(&self) -> Self {
        Self {
            server: self.server.clone(),
            refuses: self.refuses.clone(),
        }
    }
}

impl<S> Late<S> {
    /// Not there yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn refusing(doubt: &Doubt) -> Self {
        Self {
            refuses: Some(doubt.clone()),
            ..Self::default()
        }
    }

    /// There, from now on.
    pub fn set(&self, server: S) {
        let _ = self.server.set(server);
    }
}

impl<S: NamedService> NamedService for Late<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: GrpcService> tower::Service<http::Request<Body>> for Late<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<http::Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let refused = |status: Status| Either::Left(ready(Ok(status.into_http())));
        match self.server.get() {
            None => refused(status::unavailable(
                status::STARTING,
                "the service is starting: its database is not open yet",
                COME_BACK,
            )),
            Some(_) if self.refuses.as_ref().is_some_and(Doubt::is_raised) => {
                refused(status::unavailable(
                    "CHANGES_UNKNOWN",
                    "the database does not journal its changes now",
                    COME_BACK,
                ))
            }
            // Always ready, as generated servers are.
            Some(server) => Either::Right(server.clone().call(request)),
        }
    }
}
