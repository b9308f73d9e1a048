//! A port that answers gRPC health checks and nothing else, without TLS: for probes that have no
//! certificate and speak none.

use crate::bounds::Bounds;
use crate::incoming::Incoming;
use crate::places::Places;
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
pub(crate) struct Port {
    listener: TcpListener,
    places: Places,
}

impl Port {
    pub fn on(listener: TcpListener) -> Self {
        Self {
            listener,
            places: Places::new("health", &BOUNDS),
        }
    }

    pub fn places(&self) -> Places {
        self.places.clone()
    }

    /// Answers until the tasks are closed: while the process drains, it is known that it does.
    pub fn start(self, health: HealthServer<impl Health>, tasks: &Tasks) {
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
