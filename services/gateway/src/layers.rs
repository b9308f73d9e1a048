//! What every request passes through: the one place where layers are stacked.
//!
//! From the outside:
//!
//! 1. it is counted and timed, whatever becomes of it ([`metrics`](crate::metrics));
//! 2. a request too many is turned away ([`admission`]);
//! 3. and none takes longer than its deadline ([`deadline`]).
//!
//! Who asks is the [`Peer`] of the connection.

use crate::State;
use crate::metrics::{self, Metrics};
use crate::problem::Problem;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use larder_runtime::deadline::Deadline;
use larder_runtime::server::Limits;
use larder_runtime::status;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tonic::Code;

/// When those who are turned away should come back.
const COME_BACK: Duration = Duration::from_millis(100);

/// The other end of the connection, in every request's extensions. Whoever stands there may be a
/// proxy that speaks for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub SocketAddr);

/// Puts all layers around the routes. The last that is added is the first that a request meets.
pub fn stack(
    routes: Router<State>,
    _state: &State,
    metrics: &Arc<Metrics>,
    limits: Limits,
) -> Router<State> {
    let places = Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS)));
    routes
        // Compression and conditional requests belong here, next to the routes.
        .layer(from_fn(move |request, next| {
            deadline(limits.call, request, next)
        }))
        .layer(from_fn_with_state(places, admission))
        // Rate limits belong here: a request that is refused costs no place and no deadline.
        .layer(from_fn_with_state(metrics.clone(), metrics::measure))
}

/// Ends a request after `longest`; handlers find the [`Deadline`] in its extensions.
async fn deadline(longest: Duration, mut request: Request, next: Next) -> Response {
    let deadline = Deadline::after(longest);
    request.extensions_mut().insert(deadline);
    match deadline.bound(next.run(request)).await {
        Ok(response) => response,
        Err(status) => Problem::from(status).into_response(),
    }
}

/// Lets so many requests in at once; the others are told to come back.
async fn admission(
    axum::extract::State(places): axum::extract::State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.try_acquire() else {
        let told = "too many requests are under way";
        let told = status::unavailable("TOO_MANY_REQUESTS", told, COME_BACK);
        return Problem::from(told).into_response();
    };
    next.run(request).await
}

/// 413: the request is larger than it may be.
pub fn too_large(most: usize) -> Problem {
    let detail = format!("the body is longer than {most} bytes");
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Problem::new(status, Code::InvalidArgument, "BODY_TOO_LARGE", detail)
}
