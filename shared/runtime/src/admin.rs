//! The port for those who run the process: `/live`, `/ready`, `/metrics`, and gRPC services.

use crate::access::Access;
use crate::bounds::Bounds;
use crate::drain;
use crate::exposition::Page;
use crate::incoming::Incoming;
use crate::listen;
use crate::metrics::MADE;
use crate::places::{self, Places};
use crate::process;
use crate::readiness::Readiness;
use crate::server;
use crate::tasks::Tasks;
use crate::telemetry::{self, Reporter};
use crate::tls::{Purpose, Tls};
use crate::transport::{Spoken, Transport};
use axum::Router;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::body::Incoming as Received;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};

/// How long the last report may take.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// At the end, peers that say nothing are waited for so long, once no request is under way.
const SILENCE: Duration = Duration::from_secs(1);

/// What asks for exemplars.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// What `/metrics` is made of: each adds what it counts.
type Collector = Box<dyn Fn(&mut Page) + Send + Sync>;

/// The admin port.
pub struct Admin {
    listener: TcpListener,
    bounds: Bounds,
    /// The connections of other ports, which are counted here together with its own.
    places: Vec<Places>,
    readiness: Readiness,
    collectors: Vec<Collector>,
    more: Router,
    grpc: Router,
    tls: Option<Tls>,
    access: Option<Access>,
}

impl Admin {
    /// Takes the port; nothing is answered before [`start`](Self::start).
    pub async fn bind(address: SocketAddr, readiness: &Readiness) -> Result<Self, listen::Error> {
        let listener = listen::listen("--admin-addr", address).await?;
        Ok(Self::on(listener, readiness))
    }

    /// On a port that was taken before.
    pub fn on(listener: TcpListener, readiness: &Readiness) -> Self {
        Self {
            listener,
            bounds: Bounds::DEFAULT,
            places: Vec::new(),
            readiness: readiness.clone(),
            collectors: vec![
                Box::new({
                    let readiness = readiness.clone();
                    move |page| readiness.measure(page)
                }),
                Box::new(process::measure),
                Box::new(|page| MADE.measure(page)),
            ],
            more: Router::new(),
            grpc: Router::new(),
            tls: None,
            access: None,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether only this machine can reach it.
    fn is_local(&self) -> bool {
        let address = self.address();
        address.is_ok_and(|address| address.ip().is_loopback())
    }

    /// Speaks TLS, if there is a certificate for it, and takes gRPC calls of those only who have
    /// access. Whoever adds routes that change something asks the same [`Access`].
    #[must_use]
    pub fn guarded(mut self, tls: Option<Tls>, access: Access) -> Self {
        self.tls = tls;
        self.access = Some(access.of_port(self.is_local()));
        self
    }

    /// Within these bounds.
    #[must_use]
    pub fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Counts the connections of these ports in `/metrics`, beside its own.
    #[must_use]
    pub fn count(mut self, ports: impl IntoIterator<Item = Places>) -> Self {
        self.places.extend(ports);
        self
    }

    /// Who has access, for routes that are added: asked in the same way as for gRPC.
    pub fn access(&self) -> Option<Access> {
        self.access.clone()
    }

    /// Adds to `/metrics`.
    #[must_use]
    pub fn collect(mut self, collector: impl Fn(&mut Page) + Send + Sync + 'static) -> Self {
        self.collectors.push(Box::new(collector));
        self
    }

    /// Adds routes, also those of gRPC services: HTTP/2 without TLS is understood here too.
    #[must_use]
    pub fn merge(mut self, routes: Router) -> Self {
        self.more = self.more.merge(routes);
        self
    }

    /// Adds a gRPC service, with reflection of it; `descriptors` are the contracts.
    pub fn grpc<S>(mut self, service: S, descriptors: &'static [u8]) -> Result<Self, server::Error>
    where
        S: Service<http::Request<Body>, Error = Infallible, Response: IntoResponse, Future: Send>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: 'static,
    {
        let routes = Routes::new(service);
        let routes = server::described(routes, descriptors, &[S::NAME])?;
        self.grpc = self.grpc.merge(routes.into_axum_router());
        Ok(self)
    }

    /// Answers until the tasks are closed.
    pub fn start(self, tasks: &Tasks) {
        let own = Places::new("admin", &self.bounds);
        let mut ports = self.places;
        ports.push(own.clone());
        let mut collectors = self.collectors;
        collectors.push(Box::new(move |page| places::measure(page, &ports)));
        let collectors: Arc<[Collector]> = collectors.into();
        let readiness = self.readiness;
        let grpc = match self.access {
            None => self.grpc,
            Some(access) => {
                access.watch(tasks);
                let guard = move |request, next: Next| access.clone().guard(request, next);
                match self.grpc.has_routes() {
                    true => self.grpc.route_layer(from_fn(guard)),
                    // A layer of no routes is a panic.
                    false => self.grpc,
                }
            }
        };
        let routes = Router::new()
            .route("/live", get(async || "live\n"))
            .route("/ready", get(async move || ready(&readiness)))
            .route(
                "/metrics",
                get({
                    let collectors = collectors.clone();
                    async move |headers: HeaderMap| metrics(&collectors, &headers)
                }),
            )
            .merge(self.more)
            .merge(grpc);
        let under_way = TaskTracker::new();
        let routes = routes.layer(from_fn({
            let under_way = under_way.clone();
            move |request, next: Next| under_way.track_future(next.run(request))
        }));
        let service = ServiceBuilder::new()
            .map_request(|request: axum::http::Request<Received>| {
                request.map(axum::body::Body::new)
            })
            .service(routes);
        if let (Some(reporter), Ok(address)) = (telemetry::reporter(), self.listener.local_addr()) {
            let (collectors, stopping) = (collectors.clone(), tasks.stopping().clone());
            tasks.spawn(
                "send metrics",
                report(reporter, collectors, address, stopping),
            );
        }
        let stopping = tasks.stopping().clone();
        let mut incoming = Incoming::plain(self.listener, &own, &self.bounds).guarded(
            Purpose::Admin,
            self.tls.as_ref(),
            tasks,
        );
        let transport = Transport::new(Spoken::Both, &self.bounds, service);
        tasks.spawn("admin", async move {
            _ = stopping
                .run_until_cancelled(transport.accept(&mut incoming))
                .await;
            drop(incoming);
            tokio::select! {
                () = transport.close() => {}
                () = drain::silence(|| under_way.len(), SILENCE) => {}
            }
        });
    }
}

fn ready(readiness: &Readiness) -> impl IntoResponse + use<> {
    let reasons = readiness.reasons();
    match reasons.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}

/// Sends what `/metrics` tells, again and again, and once more at the end.
async fn report(
    reporter: &'static Reporter,
    collectors: Arc<[Collector]>,
    address: SocketAddr,
    stopping: CancellationToken,
) {
    let instance = address.to_string();
    loop {
        let pause = tokio::time::sleep(reporter.interval());
        let goes_on = stopping.run_until_cancelled(pause).await.is_some();
        let sent = reporter.send(page(&collectors), &instance);
        if !goes_on {
            _ = tokio::time::timeout(LAST_REPORT, sent).await;
            return;
        }
        stopping.run_until_cancelled(sent).await;
    }
}

fn page(collectors: &[Collector]) -> Page {
    Page::of(|page| collectors.iter().for_each(|collect| collect(page)))
}

/// Exemplars are told to those only who ask for the format that has them.
fn metrics(collectors: &[Collector], headers: &HeaderMap) -> impl IntoResponse + use<> {
    let accepted = headers
        .get(ACCEPT)
        .and_then(|accepted| accepted.to_str().ok());
    let (kind, text) = match accepted.is_some_and(|accepted| accepted.contains(OPEN_METRICS)) {
        true => (
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            page(collectors).open_metrics(),
        ),
        false => (
            "text/plain; version=0.0.4; charset=utf-8",
            page(collectors).text(),
        ),
    };
    ([(CONTENT_TYPE, kind)], text)
}
