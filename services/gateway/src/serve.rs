//! Connections, and how they end.
//!
//! HTTP/1.1 without TLS: browsers and crawlers speak HTTP/2 only through TLS, which ends at the
//! proxy in front. Every part of a connection has a bound: how many there are, how long a head may
//! take and how long it may be.

use crate::layers::Peer;
use crate::metrics::Metrics;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use larder_runtime::drain;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::Limits;
use larder_runtime::tasks::Tasks;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 8192;
/// How long a request's head may take to come, from the connection's begin or the answer before.
const HEAD: Duration = Duration::from_secs(30);
/// How many headers a head may have: all tokens that one may show, and what browsers send.
const HEADERS: usize = 128;
/// How many bytes a head may have before it is given up unread.
const HEAD_BYTES: usize = 64 << 10;
/// How long to wait after a connection could not be accepted, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    readiness: &Readiness,
    tasks: &Tasks,
    metrics: &Metrics,
    stop: impl Future<Output = ()>,
) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(server.address = %address, "serving");
    }
    let graceful = GracefulShutdown::new();
    let ends = Ends::default();
    let begun = {
        let mut accepting = pin!(accept(listener, &routes, &graceful, &ends, tasks));
        tokio::select! {
            () = &mut accepting => {}
            () = stop => {}
        }
        tracing::info!("draining");
        ends.draining.store(true, Ordering::Relaxed);
        readiness.drain();
        let begun = Instant::now();
        _ = tokio::time::timeout(drain::settling(limits), accepting).await;
        begun
    };
    let by = begun + limits.drain / 5 * 4;
    let under_way = || metrics.active();
    tokio::select! {
        ended = tokio::time::timeout_at(by, graceful.shutdown()) => {
            if ended.is_err() {
                tracing::warn!("requests were left behind at the end of the drain");
            }
        }
        () = drain::silence(under_way, limits.silence) => {
            tracing::info!("peers that said nothing were left behind");
        }
    }
    ends.cut.cancel();
    let left = limits.drain.saturating_sub(begun.elapsed());
    if let Err(error) = tasks.close(left).await {
        tracing::warn!(error = %error, "tasks were left behind at the end of the drain");
    }
    tracing::info!("ended");
}

/// How connections hear of the end.
#[derive(Clone, Default)]
struct Ends {
    /// Answers say that their connection ends. A look costs a request nothing.
    draining: Arc<AtomicBool>,
    /// Whatever is open is closed.
    cut: CancellationToken,
}

/// Takes connections, for ever.
async fn accept(
    listener: TcpListener,
    routes: &Router,
    graceful: &GracefulShutdown,
    ends: &Ends,
    tasks: &Tasks,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, routes, ends.draining.clone());
                let connection = graceful.watcher().watch(connection);
                let cut = ends.cut.clone();
                tasks.spawn("connection", async move {
                    if let Some(Err(error)) = cut.run_until_cancelled(connection).await {
                        tracing::debug!(error = %error, "a connection broke");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The answers on one connection.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    routes: &Router,
    draining: Arc<AtomicBool>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send + use<> {
    // Without it answers are late, not wrong.
    _ = stream.set_nodelay(true);
    let routes = routes.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let (answer, draining) = (routes.clone().oneshot(request), draining.clone());
        async move {
            let mut answer = answer.await?;
            if draining.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}
