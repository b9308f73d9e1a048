//! One process, behind networks of its own.

use super::bus::Way;
use crate::suite::READY;
use crate::{Kind, Setup, Suite};
use anyhow::{Context as _, Result};
use larder_proto::comments::v1::comment_service_client::CommentServiceClient;
use larder_proto::products::v1::product_service_client::ProductServiceClient;
use larder_proto::profiles::v1::profile_service_client::ProfileServiceClient;
use larder_testkit::proxy::Proxy;
use larder_testkit::wait_until;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::transport::Channel;

/// A process, and its ways to Redis and PostgreSQL.
pub struct Node {
    pub(crate) number: u16,
    redis: Option<Proxy>,
    pub(crate) database: Proxy,
    setup: Setup,
    running: Mutex<Option<Arc<Running>>>,
}

/// A process that runs, and how to call it.
pub struct Running {
    pub(crate) suite: Suite,
    pub(crate) profiles: ProfileServiceClient<Channel>,
    pub(crate) products: ProductServiceClient<Channel>,
    pub(crate) comments: CommentServiceClient<Channel>,
}

impl Node {
    pub(crate) fn new(
        number: u16,
        binary: &Path,
        redis: Way,
        database: SocketAddr,
    ) -> Result<Self> {
        let (redis, remote) = match redis {
            Way::Through(server) => {
                let proxy = Proxy::start(server)?;
                let remote = larder_testkit::redis::url_at(proxy.address());
                (Some(proxy), remote)
            }
            Way::Straight(url) => (None, url),
        };
        let database = Proxy::start(database)?;
        let setup = Setup::new(binary)
            .replicas(1)
            .remote(remote)
            .database(format!("postgres://postgres@{}/", database.address()))
            .args(["--drain-seconds", "1", "--settle-seconds", "0"]);
        Ok(Self {
            number,
            redis,
            database,
            setup,
            running: Mutex::default(),
        })
    }

    /// The network between it and the only Redis server.
    pub(crate) fn redis(&self) -> Result<&Proxy> {
        let proxy = self.redis.as_ref();
        proxy.context("there is no network before a fleet of Redis servers")
    }

    /// Starts the process.
    pub(crate) fn launch(&self) -> Result<()> {
        let suite = self.setup.clone().launch()?;
        let running = Running {
            profiles: suite.profiles(1),
            products: suite.products(1),
            comments: suite.comments(1),
            suite,
        };
        *self.slot() = Some(Arc::new(running));
        Ok(())
    }

    /// What runs, if something does.
    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        self.slot().clone()
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<()> {
        let running = self.slot().take();
        let running = running.context("the process does not run")?;
        running.suite.process().kill().map(drop)
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let running = self.running().context("the process does not run")?;
        running.suite.ready().await
    }

    /// Waits until it has proven something, so that it can serve from its cache.
    pub(crate) async fn proving(&self) -> Result<()> {
        wait_until("a proof", READY, async || {
            let age = self.proven_age().await;
            age.is_some_and(|age| age < Duration::from_millis(500))
        })
        .await
    }

    /// The age of its oldest proof.
    pub(crate) async fn proven_age(&self) -> Option<Duration> {
        let running = self.running()?;
        let mut oldest = Duration::ZERO;
        for kind in [Kind::Profiles, Kind::Products, Kind::Comments] {
            let admin = running.suite.replica(kind, 1).admin;
            let (_, page) = crate::metrics::get(admin, "/metrics").await.ok()?;
            let ages = page.lines().filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                series.strip_prefix("larder_proven_age_seconds{")?;
                value.parse::<f64>().ok()
            });
            let ages: Vec<f64> = ages.collect();
            let age = ages.iter().copied().reduce(f64::max)?;
            oldest = oldest.max(Duration::from_secs_f64(age));
        }
        Some(oldest)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
