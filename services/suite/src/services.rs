//! What the suite consists of, and how its replicas run side by side in this process.
//!
//! Each replica has a cache of its own. On an embedded remote tier all of them share one hub, and
//! on Redis each has connections of its own, so that replicas in one process are to each other
//! what processes are.

use crate::front::Front;
use crate::target::Replica;
use anyhow::{Context as _, bail};
use clap::builder::{RangedI64ValueParser, ValueParser};
use larder::remote::{self, Remote, Trust};
use larder::{SealKey, Tiers};
use larder_gateway::settings::Options;
use larder_host::{Host, Parts, Port, Service, database_url};
use larder_reports::Reports;
use larder_runtime::config::{Address, Operators, RedisPem, RedisTls, Sealing, Upkeep};
use larder_runtime::readiness::Readiness;
use larder_runtime::tasks::Tasks;
use larder_runtime::{client, listen, server};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// How long a service may take to end beyond its own drain.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it is looked whether all are ready.
const LOOK: Duration = Duration::from_millis(10);
/// The most replicas of one service: more would run into the ports of the next.
const MOST: i64 = 9;

/// A number of replicas, for the command line.
pub fn replicas() -> ValueParser {
    RangedI64ValueParser::<u8>::new().range(1..=MOST).into()
}

/// What is behind the suite.
#[derive(Clone, Debug)]
pub struct Seams {
    /// The remote tier.
    pub remote: Address,
    /// Whom to believe to be it.
    pub trust: Trust,
    /// What is there is sealed with this.
    pub seal: Option<SealKey>,
    /// The database.
    pub database: Address,
}

impl Seams {
    /// As a command was told; an error where a file cannot be used.
    pub fn new(
        remote: &Address,
        database: Address,
        tls: &RedisTls,
        sealing: &Sealing,
    ) -> anyhow::Result<Self> {
        let RedisPem { ca, own } = tls.read()?;
        Ok(Self {
            remote: remote.clone(),
            trust: Trust { ca, own },
            seal: sealing.key()?.map(SealKey::new),
            database,
        })
    }
}

/// How replicas cache.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Caching {
    /// In which tiers.
    pub tiers: Tiers,
    /// What names in the remote tier begin with, where it is not what it always is.
    pub namespace: Option<String>,
}

/// Which ports replicas take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ports {
    /// gRPC at `7s0r` and the admin port at `9s0r` for replica r of service s, the gateway at 8080 and
    /// its admin port at 9501, all moved by so much.
    Offset(u16),
    /// Whatever is free.
    Free,
}

/// The services, in the order of their ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Who people are.
    Profiles = 1,
    /// What is for sale.
    Products = 2,
    /// What people say about it.
    Comments = 3,
    /// What was sold of it.
    Reports = 4,
}

/// A replica that runs in this process.
#[derive(Clone, Debug)]
pub struct Running {
    /// Of which service.
    pub kind: Kind,
    /// Its number among those, from 1.
    pub replica: u8,
    /// Where gRPC is.
    pub grpc: SocketAddr,
    /// Where the admin port is.
    pub admin: SocketAddr,
    readiness: Readiness,
}

/// Replicas that run in this process.
pub struct Suite {
    running: Vec<Running>,
    front: Option<Front>,
    tasks: Tasks,
    limits: server::Limits,
    caching: Caching,
    /// Who may look into the replicas.
    operators: Operators,
    /// See [`Upkeep`].
    compare_every: Option<Duration>,
    /// See [`Upkeep`].
    warm: Option<Duration>,
    failed: mpsc::Sender<anyhow::Error>,
    failure: mpsc::Receiver<anyhow::Error>,
}

/// Opens the remote tier once for each replica, or once for all where it is a hub.
enum Remotes<'a> {
    Shared(Arc<dyn Remote>),
    Each(&'a Seams),
}

impl<'a> Remotes<'a> {
    fn of(seams: &'a Seams) -> anyhow::Result<Self> {
        match seams.remote.scheme() {
            "hub" => Ok(Self::Shared(open(seams)?)),
            _ => Ok(Self::Each(seams)),
        }
    }

    fn next(&self) -> anyhow::Result<Arc<dyn Remote>> {
        match self {
            Self::Shared(hub) => Ok(hub.clone()),
            Self::Each(seams) => open(seams),
        }
    }
}

fn open(seams: &Seams) -> anyhow::Result<Arc<dyn Remote>> {
    let remote = remote::open_trusting(seams.remote.expose(), &seams.trust);
    remote.context("--remote (REDIS_URL) cannot be used")
}

impl Suite {
    /// Starts all services, so many replicas of each, and a gateway in front of them. That they are
    /// not ready yet is no error.
    pub async fn start(
        seams: &Seams,
        replicas: u8,
        ports: Ports,
        limits: server::Limits,
        upkeep: Upkeep,
        gateway: &Options,
    ) -> anyhow::Result<Self> {
        let mut suite = Self::empty(limits);
        suite.compare_every = upkeep.compare_every();
        suite.warm = upkeep.warm();
        suite.operators = gateway.operators.clone();
        let all = [
            Kind::Profiles,
            Kind::Products,
            Kind::Comments,
            Kind::Reports,
        ];
        let remotes = suite.start_these(&all, seams, replicas, ports).await?;
        let (running, remote) = (&suite.running, remotes.next()?);
        suite.front = Some(Front::start(running, remote, ports, gateway, limits).await?);
        Ok(suite)
    }

    /// Starts replicas of products alone, on free ports.
    pub async fn of_products(seams: &Seams, replicas: u8) -> anyhow::Result<Self> {
        Self::of_products_caching(seams, replicas, Caching::default()).await
    }

    /// The same, caching like this.
    pub async fn of_products_caching(
        seams: &Seams,
        replicas: u8,
        caching: Caching,
    ) -> anyhow::Result<Self> {
        let mut suite = Self::empty(server::Limits::default());
        suite.caching = caching;
        suite
            .start_these(&[Kind::Products], seams, replicas, Ports::Free)
            .await?;
        Ok(suite)
    }

    fn empty(limits: server::Limits) -> Self {
        let (failed, failure) = mpsc::channel(1);
        Self {
            running: Vec::new(),
            front: None,
            tasks: Tasks::new(),
            limits,
            caching: Caching::default(),
            operators: Operators::default(),
            compare_every: None,
            warm: None,
            failed,
            failure,
        }
    }

    /// The replicas.
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// The gateway, if there is one.
    pub fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// The replicas of products, for whoever calls them.
    pub fn products(&self) -> Vec<Replica> {
        let products = self
            .running
            .iter()
            .filter(|running| running.kind == Kind::Products);
        let replica = |running: &Running| Replica {
            grpc: format!("http://{}", running.grpc),
            admin: Some(running.admin),
        };
        products.map(replica).collect()
    }

    /// Waits until all are ready, as long as that takes; an error when one cannot go on.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        loop {
            if self.reasons().is_empty() {
                return Ok(());
            }
            tokio::select! {
                error = self.failure.recv() => bail!(error.context("a service has ended")?),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// The same, at most so long.
    pub async fn ready_within(&mut self, limit: Duration) -> anyhow::Result<()> {
        let by = Instant::now() + limit;
        match tokio::time::timeout_at(by, self.ready()).await {
            Ok(outcome) => outcome,
            Err(_) => bail!("not ready within {limit:?}: {}", self.reasons().join("; ")),
        }
    }

    /// Waits until one cannot go on.
    pub async fn failure(&mut self) -> anyhow::Error {
        let failure = self.failure.recv().await;
        failure.unwrap_or_else(|| anyhow::Error::msg("a service has ended"))
    }

    /// Why not all are ready.
    fn reasons(&self) -> Vec<String> {
        let services = self.running.iter().map(|running| {
            let name = format!("{:?}-{}", running.kind, running.replica).to_lowercase();
            (name, &running.readiness)
        });
        let gateway = self
            .front
            .iter()
            .map(|front| ("gateway".to_owned(), &front.readiness));
        let reasons = services.chain(gateway).flat_map(|(name, readiness)| {
            let reasons = readiness.reasons().into_iter();
            reasons.map(move |why| format!("{name}: {why}"))
        });
        reasons.collect()
    }

    /// Ends all, in order, and waits for it: the gateway first, whose requests need the services.
    pub async fn end(self) {
        if let Some(front) = self.front {
            front.end(self.limits.drain + FAREWELL).await;
        }
        if let Err(error) = self.tasks.close(self.limits.drain + FAREWELL).await {
            tracing::warn!(error = %error, "services were left behind");
        }
    }

    async fn start_these<'a>(
        &mut self,
        kinds: &[Kind],
        seams: &'a Seams,
        replicas: u8,
        ports: Ports,
    ) -> anyhow::Result<Remotes<'a>> {
        // What cannot be used is told before a port is taken.
        let database = seams.database.expose();
        database_url(database, "any").map(drop)?;
        let remotes = Remotes::of(seams)?;
        for &kind in kinds {
            for replica in 1..=replicas {
                let mut parts = Parts::new(remotes.next()?, seams.database.clone());
                parts.limits = self.limits;
                parts.tiers = self.caching.tiers;
                if let Some(namespace) = &self.caching.namespace {
                    parts.namespace.clone_from(namespace);
                }
                parts.seal = seams.seal.clone();
                parts.operators = self.operators.clone();
                parts.timing.compare_every = self.compare_every;
                parts.timing.warm_for(self.warm);
                (parts.grpc, parts.admin) = ports.of(kind, replica).await?;
                match kind {
                    Kind::Profiles => {
                        let service = larder_profiles::Profiles;
                        self.host(kind, replica, service, parts).await?;
                    }
                    Kind::Products => {
                        let service = larder_products::Products;
                        self.host(kind, replica, service, parts).await?;
                    }
                    Kind::Comments => {
                        let service = larder_comments::Comments::new(self.way_to(Kind::Profiles)?);
                        self.host(kind, replica, service, parts).await?;
                    }
                    Kind::Reports => {
                        let products = self.way_to(Kind::Products)?;
                        let service = Reports::new(products, larder_reports::WARM_AT.parse()?);
                        self.host(kind, replica, service, parts).await?;
                    }
                }
            }
        }
        Ok(remotes)
    }

    /// The way to a service of this suite.
    fn way_to(&self, kind: Kind) -> anyhow::Result<client::Client> {
        let replicas = self.running.iter().filter(|running| running.kind == kind);
        let urls: Vec<_> = replicas
            .map(|running| format!("http://{}", running.grpc))
            .collect();
        let limits = client::Limits::default();
        let name = "a service of this suite";
        Ok(client::Client::new(name, &urls.join(","), limits)?)
    }

    async fn host<S: Service>(
        &mut self,
        kind: Kind,
        replica: u8,
        service: S,
        parts: Parts,
    ) -> anyhow::Result<()> {
        let host = Host::bind(service, parts).await?;
        let (grpc, admin) = (host.grpc_address()?, host.admin_address()?);
        let readiness = host.readiness();
        self.running.push(Running {
            kind,
            replica,
            grpc,
            admin,
            readiness,
        });
        let (stop, failed) = (self.tasks.stopping().clone(), self.failed.clone());
        self.tasks.spawn("service", async move {
            if let Err(error) = host.serve(stop.cancelled_owned()).await {
                // The first failure is the one that is told.
                _ = failed.try_send(error.into());
            }
        });
        Ok(())
    }
}

impl Ports {
    /// The address of what has this port without an offset.
    pub fn at(self, port: u16) -> anyhow::Result<SocketAddr> {
        let number = match self {
            Self::Offset(offset) => port.checked_add(offset),
            Self::Free => Some(0),
        };
        let number = number.context("--port-offset leads beyond the last port, 65535")?;
        Ok((Ipv4Addr::LOCALHOST, number).into())
    }

    async fn of(self, kind: Kind, replica: u8) -> anyhow::Result<(Port, Port)> {
        let Self::Offset(_) = self else {
            let any = || Port::At((Ipv4Addr::LOCALHOST, 0).into());
            return Ok((any(), any()));
        };
        let take = async |base: u16| {
            let address = self.at(base + 100 * kind as u16 + u16::from(replica))?;
            let listener = listen::listen("--port-offset (LARDER_PORT_OFFSET)", address).await?;
            anyhow::Ok(Port::Taken(listener))
        };
        Ok((take(7000).await?, take(9000).await?))
    }
}
