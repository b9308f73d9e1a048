//! The gateway: the suite over HTTP, for people, browsers and crawlers.
//!
//! Owns no tables and keeps no truth: every answer is made of what the services say, and carries
//! their word on how fresh it is. Never touches a database. Reading order: [`routes`] (JSON),
//! [`pages`] (HTML), [`hooks`] (what systems outside have dropped), [`problem`] (what is said when
//! something is wrong), [`layers`] (what every request passes through on its way there),
//! [`backends`] (the way to the services), [`document`] (an answer that may be kept, and what says
//! whether a copy of it is still good), [`console`] (what all caches do, for those who run the suite) and
//! `serve.rs` (connections, and how they end).

pub mod backends;
pub mod coding;
pub mod conditional;
pub mod console;
pub mod contracts;
pub mod document;
#[doc(hidden)]
pub mod fuzzed;
pub mod headers;
pub mod hooks;
pub mod layers;
pub mod metrics;
pub mod pages;
pub mod problem;
pub mod process;
mod room;
pub mod routes;
mod serve;
pub mod settings;
pub mod traces;

use axum::Router;
use backends::Backends;
use console::Console;
use hooks::Hooks;
use larder::Larder;
use larder::remote::Remote;
use larder_proto::callers;
use larder_runtime::access::{self, Access};
use larder_runtime::admin::Admin;
use larder_runtime::config::{Operators, Secret};
use larder_runtime::health;
use larder_runtime::incoming::Incoming;
use larder_runtime::places::Places;
use larder_runtime::policy::Policy;
use larder_runtime::readiness::Readiness;
use larder_runtime::server::Limits;
use larder_runtime::tasks::Tasks;
use larder_runtime::tls::Tls;
use metrics::Metrics;
use pages::Pages;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// The port of HTTP, unless something else is said.
pub const HTTP_PORT: u16 = 8080;
/// The admin port, unless something else is said.
pub const ADMIN_PORT: u16 = 9501;

/// Who may look into a gateway and change what is cached, over its admin port.
pub fn access(operators: &Operators, tls: Option<&Tls>) -> Result<Access, access::Error> {
    let policy = Policy {
        known: callers::KNOWN,
        others: callers::OTHERS,
        changes: callers::CHANGES,
    };
    Access::open(operators, tls, policy)
}

/// What the gateway is made of, beside its ports.
pub struct Parts {
    /// The way to the services.
    pub backends: Backends,
    /// The remote tier, which all gateways share. It need not be there.
    pub remote: Arc<dyn Remote>,
    /// What hooks are signed with; without it there are none.
    pub hook_secret: Option<Secret>,
    /// The bounds of requests, and how it ends.
    pub limits: Limits,
    /// How often somebody may ask, if that is limited. All gateways count together.
    pub rates: Option<larder_limit::Limits>,
    /// How pages name themselves, and how long others may keep them.
    pub pages: pages::Settings,
    /// By what it is known to the services, and at its admin port.
    pub tls: Option<Tls>,
    /// Who may do what at its admin port: see [`access`](crate::access()).
    pub access: Access,
}

/// What handlers reach: `axum::extract::State` of every route. Clones share everything.
#[derive(Clone)]
pub struct State {
    /// The way to the services.
    pub backends: Backends,
    /// The remote tier.
    pub remote: Arc<dyn Remote>,
    /// What hooks are judged by.
    pub hooks: Hooks,
}

/// A gateway whose ports are taken, and which does not answer yet.
pub struct Gateway {
    http: TcpListener,
    places: Places,
    admin: Admin,
    backends: Backends,
    health: Option<health::Port>,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    pages: Arc<Pages>,
    routes: Router,
    limits: Limits,
    rates: Option<larder_limit::Limits>,
    hooks: Hooks,
    tls: Option<Tls>,
    tasks: Tasks,
}

impl Gateway {
    /// On these ports.
    pub fn on(http: TcpListener, admin: TcpListener, parts: Parts) -> Self {
        let readiness = Readiness::new();
        let metrics = Arc::new(Metrics::default());
        let tasks = Tasks::new();
        let state = State {
            backends: parts.backends.clone(),
            hooks: Hooks::new(parts.hook_secret, &parts.remote, &tasks),
            remote: parts.remote.clone(),
        };
        // It has no source: nothing is cached here but what is rendered.
        let larder = Larder::builder(parts.remote).build();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
        let site = parts.pages.site(http.local_addr().unwrap_or(loopback));
        let pages = Arc::new(Pages::new(parts.backends, parts.pages, site, &larder));
        let (routes, rates) = (all(&pages), parts.rates.clone());
        let routes = layers::stack(routes, &state, &metrics, parts.limits, rates);
        let places = Places::new("http", &parts.limits.bounds);
        let admin = Admin::on(admin, &readiness)
            .guarded(parts.tls.clone(), parts.access)
            .within(parts.limits.bounds)
            .count([places.clone()]);
        Self {
            http,
            places,
            admin,
            backends: state.backends.clone(),
            hooks: state.hooks.clone(),
            health: None,
            readiness,
            routes: routes.with_state(state),
            metrics,
            pages,
            limits: parts.limits,
            rates: parts.rates,
            tls: parts.tls,
            tasks,
        }
    }

    /// Answers gRPC health checks on this port, without TLS, to whoever asks.
    #[must_use]
    pub fn health_on(mut self, listener: Option<TcpListener>) -> Self {
        self.health = listener.map(health::Port::on);
        self
    }

    /// Where HTTP is.
    pub fn http_address(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.address()
    }

    /// Whether it should get requests, and if not, why; for whoever runs it beside others.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Runs until `stop`, and then ends in order, as a gRPC server does: see
    /// [`larder_runtime::server::Server::serve`].
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (tasks, metrics, pages) = (self.tasks, self.metrics, self.pages);
        let counted = metrics.clone();
        let (rates, hooks, tls) = (self.rates, self.hooks, self.tls);
        if let Some(tls) = &tls {
            tls.watch(&tasks);
        }
        let console = Console::new(self.backends, self.admin.access(), tasks.stopping().clone());
        let health = self.health.iter().map(health::Port::places);
        self.admin
            .count(health)
            .merge(console.routes())
            .collect(move |page| metrics.measure(page))
            .collect(move |page| pages.press().measure(page))
            .collect(move |page| {
                rates.iter().for_each(|rates| rates.measure(page));
                let limiting = rates.iter().flat_map(larder_limit::Limits::guards);
                larder_wire::measure_remote(page, limiting.chain(hooks.guard()));
            })
            .collect(move |page| tls.iter().for_each(|tls| tls.measure(page)))
            .start(&tasks);
        if let Some(port) = self.health {
            port.answer(&self.readiness, &tasks).await;
        }
        if let Ok(address) = self.http.local_addr() {
            tracing::info!(server.address = %address, "serving");
        }
        serve::serve(
            Incoming::plain(self.http, &self.places, &self.limits.bounds),
            self.routes,
            self.limits,
            &self.readiness,
            &tasks,
            &counted,
            stop,
        )
        .await;
    }
}

/// Everything that is answered, before any layer.
fn all(pages: &Arc<Pages>) -> Router<State> {
    let missing = pages.clone();
    Router::new()
        .merge(routes::routes())
        .merge(hooks::routes())
        .merge(pages::routes(pages.clone()))
        .fallback(move |uri, headers| async move { missing.nothing_at(uri, &headers).await })
        .method_not_allowed_fallback(problem::method_not_allowed)
}
