//! A gRPC server: its port, its layers, health and reflection, and how it ends.

use crate::admission::AdmissionLayer;
use crate::bounds::Bounds;
use crate::callers::{self, Callers};
use crate::incoming::Incoming;
use crate::metrics::{self, Metrics};
use crate::places::Places;
use crate::readiness::Readiness;
use crate::tasks::Tasks;
use crate::tls::{Purpose, Tls};
use crate::transport::{Spoken, Transport};
use crate::warden::{self, Warden};
use crate::{
    admission, arrival, deadline, drain, health, listen, refusal, shortcut, streams, trace,
};
use axum::response::IntoResponse;
use hyper::body::Incoming as Received;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};

/// Why there is no server, or no more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] listen::Error),
    /// The contracts' descriptors cannot be read.
    #[error("the descriptors of the contracts cannot be read")]
    Descriptors(#[source] prost::DecodeError),
    /// Reflection cannot be made from the descriptors.
    #[error("reflection cannot be set up")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// The bounds of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the wish to end until the end.
    pub drain: Duration,
    /// At the beginning of the drain, calls are taken for so long still.
    pub settle: Duration,
    /// After that, peers that take no answer and say nothing are waited for so long, once no call is
    /// under way.
    pub silence: Duration,
    /// Calls at once.
    pub calls: usize,
    /// How long a call takes at most.
    pub call: Duration,
    /// What each port keeps and waits for.
    pub bounds: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(25),
            settle: Duration::ZERO,
            silence: Duration::from_secs(3),
            calls: 2048,
            call: Duration::from_secs(30),
            bounds: Bounds::DEFAULT,
        }
    }
}

/// A gRPC server that does not answer yet.
pub struct Server {
    listener: TcpListener,
    places: Places,
    limits: Limits,
    readiness: Readiness,
    descriptors: &'static [u8],
    routes: Routes,
    services: Vec<&'static str>,
    metrics: Arc<Metrics>,
    shortcut: shortcut::Place,
    warden: Option<Arc<dyn Warden>>,
    tls: Option<Tls>,
    callers: Option<Arc<Callers>>,
    health: Option<health::Port>,
    admission: AdmissionLayer,
    draining: CancellationToken,
}

impl Server {
    /// Takes the port. `descriptors` are the contracts of the services to be added.
    pub async fn bind(
        address: SocketAddr,
        limits: Limits,
        readiness: &Readiness,
        descriptors: &'static [u8],
    ) -> Result<Self, Error> {
        let listener = listen::listen("--grpc-addr", address).await?;
        Self::on(listener, limits, readiness, descriptors)
    }

    /// On a port that was taken before.
    pub fn on(
        listener: TcpListener,
        limits: Limits,
        readiness: &Readiness,
        descriptors: &'static [u8],
    ) -> Result<Self, Error> {
        let known = [descriptors, tonic_health::pb::FILE_DESCRIPTOR_SET];
        Ok(Self {
            listener,
            places: Places::new("grpc", &limits.bounds),
            limits,
            readiness: readiness.clone(),
            descriptors,
            routes: Routes::default(),
            services: Vec::new(),
            metrics: Arc::new(Metrics::new(&known).map_err(Error::Descriptors)?),
            shortcut: shortcut::Place::default(),
            warden: None,
            tls: None,
            callers: None,
            health: None,
            admission: admission::layer(limits.calls),
            draining: CancellationToken::new(),
        })
    }

    /// Adds a service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible, Response: IntoResponse, Future: Send>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: 'static,
    {
        self.routes = self.routes.add_service(service);
        self.services.push(S::NAME);
        self
    }

    /// Has every call admitted first, cached answers included.
    #[must_use]
    pub fn warden(mut self, warden: Arc<dyn Warden>) -> Self {
        self.warden = Some(warden);
        self
    }

    /// Speaks TLS, if there is a certificate for it; and where callers can be known by theirs, only
    /// these may call.
    #[must_use]
    pub fn guarded(mut self, tls: Option<Tls>, callers: Callers) -> Self {
        let known = tls.as_ref().is_some_and(Tls::knows_callers);
        self.callers = known.then(|| Arc::new(callers));
        self.tls = tls;
        self
    }

    /// Answers health checks on this port too, without TLS, to whoever asks.
    #[must_use]
    pub fn health_on(mut self, listener: Option<TcpListener>) -> Self {
        self.health = listener.map(health::Port::on);
        self
    }

    /// The address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Its calls, for the admin port.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The connections of its ports, for the admin port.
    pub fn places(&self) -> Vec<Places> {
        let health = self.health.iter().map(health::Port::places);
        std::iter::once(self.places.clone()).chain(health).collect()
    }

    /// Where a shortcut for its calls is put.
    pub fn shortcut(&self) -> shortcut::Place {
        self.shortcut.clone()
    }

    /// Cancelled when no new calls are taken and streams should end; those that wait for their
    /// next message are ended anyway.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Serves until `stop`, and then ends in order:
    ///
    /// 1. readiness says no, and calls are taken for as long as it takes to be heard;
    /// 2. no new connections and calls; streams end; calls that run may finish, and peers that take
    ///    no answer are soon waited for no more: see [`drain`];
    /// 3. the tasks are closed, for which a fifth of the time is kept.
    ///
    /// What is not over at the end of the drain is left behind.
    pub async fn serve(self, tasks: &Tasks, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (limits, readiness, draining) =
            (self.limits, self.readiness.clone(), self.draining.clone());
        let admission = self.admission.clone();
        if let Ok(address) = self.address() {
            tracing::info!(server.address = %address, "serving");
        }
        let mut server = Box::pin(self.run(tasks).await?);
        tokio::select! {
            () = &mut server => return Ok(()),
            () = stop => {}
        }
        tracing::info!("draining");
        readiness.drain();
        let begun = Instant::now();
        _ = tokio::time::timeout(drain::settling(limits), &mut server).await;
        draining.cancel();
        let by = begun + limits.drain / 5 * 4;
        tokio::select! {
            ended = tokio::time::timeout_at(by, &mut server) => {
                if ended.is_err() {
                    tracing::warn!("calls were left behind at the end of the drain");
                }
            }
            () = drain::silence(|| admission.under_way(), limits.silence) => {
                tracing::info!("peers that took no answer were left behind");
            }
        }
        // With it go the connections that are left.
        drop(server);
        let left = limits.drain.saturating_sub(begun.elapsed());
        if let Err(error) = tasks.close(left).await {
            tracing::warn!(error = %error, "tasks were left behind at the end of the drain");
        }
        Ok(())
    }

    /// The transport with all its layers, and health told how things are.
    async fn run(mut self, tasks: &Tasks) -> Result<impl Future<Output = ()> + use<>, Error> {
        self.describe()?;
        let health = health::told(&self.readiness, self.services, tasks).await;
        if let Some(listener) = self.health {
            listener.start(health.clone(), tasks);
        }
        let layers = ServiceBuilder::new()
            .layer(callers::layer(self.callers, self.metrics.clone()))
            .layer(warden::layer(self.warden, self.metrics.clone()))
            .layer(trace::layer(self.metrics.clone()))
            .layer(shortcut::layer(self.shortcut, self.metrics.clone()))
            .layer(metrics::layer(self.metrics))
            .layer(streams::layer(self.draining.clone()))
            .layer(refusal::layer())
            .layer(arrival::layer(self.limits.bounds.body))
            .layer(self.admission)
            .layer(deadline::layer(self.limits.call));
        let routes = self.routes.add_service(health).prepare();
        let service = ServiceBuilder::new()
            .map_request(|request: http::Request<Received>| request.map(Body::new))
            .layer(layers)
            .service(routes);
        let bounds = self.limits.bounds;
        let mut incoming = Incoming::plain(self.listener, &self.places, &bounds).guarded(
            Purpose::Calls,
            self.tls.as_ref(),
            tasks,
        );
        let transport = Transport::new(Spoken::Http2, &bounds, service);
        let draining = self.draining;
        Ok(async move {
            _ = draining
                .run_until_cancelled(transport.accept(&mut incoming))
                .await;
            // Who comes now is told at once that nobody is here.
            drop(incoming);
            transport.close().await;
        })
    }

    /// Reflection of the services that were added.
    fn describe(&mut self) -> Result<(), Error> {
        let services: Vec<_> = ["grpc.health.v1.Health"]
            .into_iter()
            .chain(self.services.iter().copied())
            .collect();
        self.routes = described(
            std::mem::take(&mut self.routes),
            self.descriptors,
            &services,
        )?;
        Ok(())
    }
}

/// Adds reflection, in both versions, of these services.
pub(crate) fn described(
    routes: Routes,
    descriptors: &'static [u8],
    services: &[&str],
) -> Result<Routes, Error> {
    let builder = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let names = services.iter().copied();
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    let v1 = builder()
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .build_v1()
        .map_err(Error::Reflection)?;
    let v1alpha = builder()
        .with_service_name("grpc.reflection.v1alpha.ServerReflection")
        .build_v1alpha()
        .map_err(Error::Reflection)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}
