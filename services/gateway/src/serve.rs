//! Connections, and how they end.
//!
//! HTTP/1.1 without TLS: browsers and crawlers speak HTTP/2 only through TLS, which ends at the
//! proxy in front. What a connection may take is bounded as at every port: see
//! [`larder_runtime::bounds`].

use crate::metrics::Metrics;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming as Received;
use larder_runtime::drain;
use larder_runtime::incoming::Incoming;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::Limits;
use larder_runtime::tasks::Tasks;
use larder_runtime::transport::{Spoken, Transport};
use tokio::time::Instant;
use tower::ServiceBuilder;

/// Serves until `stop`, and then ends in order:
///
/// 1. readiness says no, and requests are taken for as long as it takes to be heard; every answer
///    says that its connection ends with it, so that the next request goes elsewhere and none is on
///    its way to a connection that is just being closed;
/// 2. no new connections; requests that run may finish, and peers that say nothing are soon waited for
///    no more: see [`drain`];
/// 3. the tasks are closed, for which a fifth of the time is kept.
///
/// What is not over at the end of the drain is left behind.
pub(crate) async fn serve(
    mut incoming: Incoming,
    routes: Router,
    limits: Limits,
    readiness: &Readiness,
    tasks: &Tasks,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) {
    let service = ServiceBuilder::new()
        .map_request(|request: Request<Received>| request.map(Body::new))
        .service(routes);
    let transport = Transport::new(Spoken::Http1, &limits.bounds, service);
    tokio::select! {
        never = transport.accept(&mut incoming) => match never {},
        () = stop => {}
    }
    tracing::info!("draining");
    transport.end_with_answers();
    readiness.drain();
    let begun = Instant::now();
    let settling = transport.accept(&mut incoming);
    _ = tokio::time::timeout(drain::settling(limits), settling).await;
    drop(incoming);
    let by = begun + limits.drain / 5 * 4;
    let under_way = || metrics.active();
    tokio::select! {
        ended = tokio::time::timeout_at(by, transport.close()) => {
            if ended.is_err() {
                tracing::warn!("requests were left behind at the end of the drain");
            }
        }
        () = drain::silence(under_way, limits.silence) => {
            tracing::info!("peers that said nothing were left behind");
        }
    }
    // With it go the connections that are left.
    drop(transport);
    let left = limits.drain.saturating_sub(begun.elapsed());
    if let Err(error) = tasks.close(left).await {
        tracing::warn!(error = %error, "tasks were left behind at the end of the drain");
    }
    tracing::info!("ended");
}
