//! A port that answers gRPC health checks and nothing else, without TLS: for probes that have no
//! certificate and speak none.

use crate::incoming::Incoming;
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
