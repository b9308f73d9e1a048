//! A service's process: how it starts, and how it ends.

use crate::base::{Base, Opening};
use crate::error::Error;
use crate::heat::Heat;
use crate::late::Late;
use crate::open::until_open;
use crate::parts::{Parts, Timing};
use crate::service::Service;
use crate::upkeep;
use larder::Source;
use larder::remote::Remote as _;
use larder_limit::Limits;
use larder_limit::grpc::Grpc;
use larder_proto::FILE_DESCRIPTOR_SET;
use larder_proto::cache::v1::cache_service_server::CacheServiceServer;
use larder_proto::cache::v1::feed_service_server::FeedServiceServer;
use larder_proto::callers;
use larder_runtime::access::{self, Access};
use larder_runtime::admin::Admin;
use larder_runtime::callers::Callers;
use larder_runtime::config::Common;
use larder_runtime::exposition::Metric;
use larder_runtime::policy::Policy;
use larder_runtime::readiness::{Gate, Readiness};
use larder_runtime::server::Server;
use larder_runtime::shortcut::Place;
use larder_runtime::shutdown;
use larder_runtime::telemetry;
use larder_runtime::tls::Tls;
use larder_wire::{Feeds, Operator};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::server::NamedService;

/// How long the cache's tasks and the database's connections may take to end, each.
const FAREWELL: Duration = Duration::from_secs(2);

const AHEAD: Metric = Metric::gauge(
    "larder_schema_ahead",
    "The newest migration of the tables that this release does not know, or 0.",
);
const FLAWS: Metric = Metric::gauge(
    "larder_trigger_flaws",
    "Triggers that are missing, off or different; while there are any, nothing cached is served.",
);

/// Who may call what, of a service and of its admin port.
const POLICY: Policy = Policy {
    known: callers::KNOWN,
    others: callers::OTHERS,
    changes: callers::CHANGES,
};

/// A service whose ports are taken, and which does not answer yet.
pub struct Host<S: Service> {
    service: Arc<S>,
    opening: Opening,
    timing: Timing,
    readiness: Readiness,
    gate: Gate,
    /// Shut until the start is warm, where it is to be.
    warming: Option<Gate>,
    namespace: String,
    server: Server,
    admin: Admin,
    limits: Option<Limits>,
    tls: Option<Tls>,
    health: Option<SocketAddr>,
    rpc: Late<S::Server>,
    feeds: Late<FeedServiceServer<Feeds>>,
    operator: Late<CacheServiceServer<Operator>>,
    opened: Arc<OnceLock<Opened>>,
}

/// What there is once the database is.
struct Opened {
    base: Base,
    /// The service's own, and those of others that it holds copies of.
    sources: Vec<Source>,
}

/// Runs a service as this process was told to, until it is asked to end; the ports are the defaults
/// of this service. `tls` is of the same settings, and may be that of clients too.
pub async fn run<S: Service>(
    service: S,
    common: &Common,
    tls: Option<Tls>,
    grpc_port: u16,
    admin_port: u16,
) -> Result<(), Error> {
    let name = format!("larder-{}", service.name());
    let telemetry = telemetry::init(&name, &common.logging)?;
    let parts = Parts::of(common, tls, grpc_port, admin_port)?;
    let ended = match Host::bind(service, parts).await {
        Ok(host) => host.serve(shutdown::asked_to_end()).await,
        Err(error) => Err(error),
    };
    telemetry.end().await;
    ended
}

impl<S: Service> Host<S> {
    /// Takes the ports.
    pub async fn bind(service: S, parts: Parts) -> Result<Self, Error> {
        let opening = Opening::of(&parts);
        let limits = limits(service.name(), &parts)?;
        let tls = parts.tls;
        access::check_known("--callers (LARDER_CALLERS)", &parts.callers, tls.as_ref())?;
        let access = Access::open(&parts.operators, tls.as_ref(), POLICY)?;
        let readiness = Readiness::new();
        let gate = readiness.gate("database", "not opened yet");
        let warming = parts.timing.warm;
        let warming = warming.map(|_| readiness.gate("warming", "not begun yet"));
        let admin = Admin::on(parts.admin.take("--admin-addr").await?, &readiness);
        let admin = admin.guarded(tls.clone(), access);
        let admin = admin.within(parts.limits.bounds);
        let health = match parts.health {
            Some(port) => Some(port.take("--health-addr (LARDER_HEALTH_ADDR)").await?),
            None => None,
        };
        let health_address = health.as_ref().and_then(|health| health.local_addr().ok());
        let grpc = parts.grpc.take("--grpc-addr").await?;
        let server = Server::on(grpc, parts.limits, &readiness, FILE_DESCRIPTOR_SET)?
            .guarded(tls.clone(), Callers::new(&parts.callers, POLICY))
            .health_on(health);
        let server = match limits.clone() {
            // The feed is how other services of ours stay fresh: it has a pace of its own.
            Some(limits) => {
                let feed = <FeedServiceServer<Feeds> as NamedService>::NAME;
                server.warden(Arc::new(Grpc::new(limits).free(feed)))
            }
            None => server,
        };
        let (rpc, feeds) = (Late::new(), Late::refusing(&opening.doubt));
        let server = server.add_service(rpc.clone()).add_service(feeds.clone());
        let operator = Late::new();
        let admin = admin.grpc(operator.clone(), FILE_DESCRIPTOR_SET)?;
        Ok(Self {
            service: Arc::new(service),
            timing: parts.timing,
            readiness,
            gate,
            warming,
            namespace: parts.namespace,
            server,
            admin,
            limits,
            tls,
            health: health_address,
            rpc,
            feeds,
            operator,
            opened: Arc::default(),
            opening,
        })
    }

    /// Where gRPC is.
    pub fn grpc_address(&self) -> io::Result<SocketAddr> {
        self.server.address()
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin.address()
    }

    /// Where health checks without TLS are, if they are anywhere.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health
    }

    /// Whether it should get calls, and if not, why; for whoever runs several in one process.
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Runs until `stop`, or until the start fails for good, and ends in order.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (tasks, larder) = (self.opening.tasks.clone(), self.opening.larder.clone());
        let (calls, opened, doubt) = (
            self.server.metrics(),
            self.opened.clone(),
            self.opening.doubt.clone(),
        );
        let (name, limits, tls) = (self.service.name(), self.limits, self.tls);
        if let Some(tls) = &tls {
            tls.watch(&tasks);
        }
        self.admin
            .count(self.server.places())
            .collect(move |page| calls.measure(page))
            .collect({
                let (larder, opened, limits) = (larder.clone(), opened.clone(), limits.clone());
                move |page| {
                    let sources = opened.get().map(|opened| &opened.sources[..]);
                    larder_wire::measure(page, &larder, sources.unwrap_or_default());
                    let limiting = limits.iter().flat_map(Limits::guards);
                    larder_wire::measure_remote(page, limiting.chain([larder.remote()]));
                }
            })
            .collect(move |page| page.count(FLAWS, &[("source", name)], doubt.flaws() as u64))
            .collect({
                let opened = opened.clone();
                move |page| {
                    if let Some(Opened { base, .. }) = opened.get() {
                        let version = base.schema().newer.unwrap_or_default();
                        page.add(AHEAD, &[("source", name)], version as f64);
                    }
                }
            })
            .collect(move |page| limits.iter().for_each(|limits| limits.measure(page)))
            .collect(move |page| tls.iter().for_each(|tls| tls.measure(page)))
            .collect({
                let service = self.service.clone();
                move |page| service.measure(page)
            })
            .start(&tasks);
        tasks.spawn("try the remote tier", try_remote(larder.clone()));
        let (failed, failure) = oneshot::channel();
        let start = Start {
            service: self.service,
            opening: self.opening,
            timing: self.timing,
            gate: self.gate,
            warming: self.warming,
            namespace: self.namespace,
            rpc: self.rpc,
            shortcut: self.server.shortcut(),
            feeds: self.feeds,
            operator: self.operator,
            opened: self.opened,
        };
        let stopping = tasks.stopping().clone();
        tasks.spawn("start", async move {
            if let Some(Err(error)) = stopping.run_until_cancelled(start.run()).await {
                let _ = failed.send(error);
            }
        });
        let mut fatal = None;
        let end = async {
            tokio::select! {
                () = stop => {}
                // Nothing comes from a start that went well; then only `stop` is waited for.
                Ok(error) = failure => fatal = Some(error),
            }
        };
        let served = self.server.serve(&tasks, end).await;
        tracing::debug!("calls and tasks have ended");
        larder.close(FAREWELL).await;
        tracing::debug!("the cache has ended");
        if let Some(Opened { base, .. }) = opened.get() {
            let closed = tokio::time::timeout(FAREWELL, base.journal().database().close());
            if closed.await.is_err() {
                tracing::warn!("connections to the database were left behind");
            }
        }
        tracing::info!("ended");
        match fatal {
            Some(error) => Err(error),
            None => Ok(served?),
        }
    }
}

/// The part of the start that waits for the database.
struct Start<S: Service> {
    service: Arc<S>,
    opening: Opening,
    timing: Timing,
    gate: Gate,
    warming: Option<Gate>,
    namespace: String,
    rpc: Late<S::Server>,
    shortcut: Place,
    feeds: Late<FeedServiceServer<Feeds>>,
    operator: Late<CacheServiceServer<Operator>>,
    opened: Arc<OnceLock<Opened>>,
}

impl<S: Service> Start<S> {
    async fn run(self) -> Result<(), Error> {
        let base = until_open(&*self.service, &self.opening, &self.gate, &self.timing).await?;
        let service = self.service.name();
        let rpc = self
            .service
            .open(&base)
            .map_err(|source| Error::Service { service, source })?;
        upkeep::look_at_triggers_first(&base).await;
        // The first round: without it, nothing is taken from the remote tier. The poller says
        // why, if there is none.
        let _ = base.source().prove().await;
        let own = base.source().clone();
        self.feeds.set(Feeds::of([own.clone()]));
        let sources: Vec<_> = std::iter::once(own).chain(self.service.others()).collect();
        let ending = base.tasks().stopping().clone();
        let operator = Operator::of(base.larder().clone(), sources.clone(), ending);
        self.operator.set(operator);
        self.rpc.set(rpc.server);
        if let Some(shortcut) = rpc.shortcut {
            self.shortcut.set(shortcut);
        }
        upkeep::start(&base, &sources, self.gate, &self.timing);
        let heat = Heat::of(&base, &self.namespace);
        let _ = self.opened.set(Opened { base, sources });
        tracing::info!(service.name = service, "the database is open");
        if let (Some(limit), Some(gate)) = (self.timing.warm, &self.warming) {
            heat.warm(limit, gate).await;
        }
        if let Some(interval) = self.timing.share {
            heat.share_every(interval);
        }
        Ok(())
    }
}

/// What limits calls of a service, if anything does. Each service counts by itself.
fn limits(service: &str, parts: &Parts) -> Result<Option<Limits>, larder_limit::Error> {
    let namespace = format!("{}:{service}", parts.namespace);
    Limits::of(&parts.limiting, &parts.remote, &namespace)
}

/// Says once, at the start, that the remote tier is away; from then on its breaker says what
/// changes. Nothing waits for it.
async fn try_remote(larder: larder::Larder) {
    if !larder.tiers().remote() {
        return;
    }
    if let Err(error) = larder.remote().get(&["larder:hello".to_owned()]).await {
        let name = larder.remote().name();
        tracing::warn!(remote = name, error = %error, "starting without the remote tier");
    }
}
