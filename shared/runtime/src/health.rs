//! A port that answers gRPC health checks and nothing else, without TLS: for probes that have no
//! certificate and speak none.

use crate::bounds::Bounds;
use crate::incoming::Incoming;
use crate::places::Places;
use crate::readiness::Readiness;
use crate::tasks::Tasks;
use crate::transport::{Spoken, Transport};
use hyper::body::Incoming as Received;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::ServiceBuilder;

/// Few connections are wanted here, and few calls: a probe makes one. A watch is a stream and ends
/// with its connection.
const BOUNDS: Bounds = Bounds {
    connections: 256,
    connections_per_peer: 64,
    streams: 16,
    head: Duration::from_secs(5),
    ..Bounds::DEFAULT
};

/// The port.
pub struct Port {
    listener: TcpListener,
    places: Places,
}

impl Port {
    /// On a port that was taken before.
    pub fn on(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Places::new("health", &BOUNDS),
        }
    }

    /// Its connections, for the admin port.
    pub fn places(&self) -> Places {
        self.places.clone()
    }

    /// Answers until the tasks are closed, in a process that has no other gRPC port.
    pub async fn answer(self, readiness: &Readiness, tasks: &Tasks) {
        self.start(told(readiness, Vec::new(), tasks).await, tasks);
    }

    /// Answers until the tasks are closed: while the process drains, it is known that it does.
    pub(crate) fn start(self, health: HealthServer<impl Health>, tasks: &Tasks) {
        let service = ServiceBuilder::new()
            .map_request(|request: http::Request<Received>| request.map(Body::new))
            .service(Routes::new(health).prepare());
        let transport = Transport::new(Spoken::Http2, &BOUNDS, service);
        let mut incoming = Incoming::plain(self.listener, &self.places, &BOUNDS);
        let stopping = tasks.stopping().clone();
        tasks.spawn("health port", async move {
            // A watch never ends, so nothing is waited for.
            _ = stopping
                .run_until_cancelled(transport.accept(&mut incoming))
                .await;
        });
    }
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
