//! A port that answers gRPC health checks and nothing else, without TLS: for probes that have no
//! certificate and speak none.

use crate::incoming::Incoming;
use crate::readiness::Readiness;
use crate::tasks::Tasks;
use crate::tls::Purpose;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Calls at once on one connection: a probe makes one.
const STREAMS: u32 = 16;
/// Calls at once on one connection that are answered.
const CALLS: usize = 8;
/// How long a check may take. A watch is a stream and has no end of its own.
const CALL: Duration = Duration::from_secs(5);
/// How often a silent peer is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Answers on this port until the tasks are closed, in a process that has no other gRPC port.
pub async fn answer(listener: TcpListener, readiness: &Readiness, tasks: &Tasks) {
    start(listener, told(readiness, Vec::new(), tasks).await, tasks);
}

/// Health that is told how things are until the tasks are closed; these services are as ready as the
/// process.
pub(crate) async fn told(
    readiness: &Readiness,
    services: Vec<&'static str>,
    tasks: &Tasks,
) -> HealthServer<impl Health> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut feed = readiness.feed(reporter, services);
    feed.next().await;
    let stopping = tasks.stopping().clone();
    tasks.spawn("health", async move {
        while stopping.run_until_cancelled(feed.next()).await == Some(true) {}
    });
    health
}

/// Answers until the tasks are closed: while the process drains, it is known that it does.
pub(crate) fn start(listener: TcpListener, health: HealthServer<impl Health>, tasks: &Tasks) {
    let incoming = Incoming::on(listener, Purpose::Calls, None, tasks).stream();
    let stopping = tasks.stopping().clone();
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(CALLS)
        .timeout(CALL)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(health);
    tasks.spawn("health port", async move {
        let served = server.serve_with_incoming(incoming);
        // A watch never ends, so nothing is waited for.
        if let Some(Err(error)) = stopping.run_until_cancelled(served).await {
            tracing::error!(error = %error, "the health port is gone");
        }
    });
}
