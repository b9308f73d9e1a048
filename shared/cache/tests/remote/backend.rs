//! The remote tiers that the promises are kept by, and the hands that hurt them.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use larder::clock::Clock;
use larder::remote::hub::{self, Faults, Hub};
use larder::remote::{Event, Item, Remote, open};
use larder_testkit::{cluster, redis as server, sentinel, wait_until};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

pub const LONG: Duration = Duration::from_secs(20);
pub const HOUR: Duration = Duration::from_secs(3600);

/// A remote tier, and the hands that hurt it.
pub struct Backend {
    pub remote: Arc<dyn Remote>,
    pub hand: Hand,
}

pub enum Hand {
    Hub(Arc<Hub>, Clock),
    Redis(server::Redis),
    Sentinel(sentinel::Sentinel),
    Cluster(cluster::Cluster),
}

impl Backend {
    pub fn hub() -> Result<Self> {
        let clock = Clock::manual();
        let hub = Hub::with(clock.clone(), hub::Limits::default());
        Ok(Self {
            remote: hub.clone(),
            hand: Hand::Hub(hub, clock),
        })
    }

    pub fn redis() -> Result<Self> {
        let server = server::start()?;
        Ok(Self {
            remote: open(&server.url())?,
            hand: Hand::Redis(server),
        })
    }

    pub fn sentinel() -> Result<Self> {
        // Nothing here wants a failover, and a busy machine must not bring one about.
        let patient = sentinel::Setup::default().down_after(Duration::from_secs(5));
        let servers = patient.start()?;
        Ok(Self {
            remote: open(&servers.url())?,
            hand: Hand::Sentinel(servers),
        })
    }

    /// With reads from primaries: replicas may lag, as `failover.rs` knows.
    pub fn cluster() -> Result<Self> {
        let servers = cluster::start()?;
        Ok(Self {
            remote: open(&format!("{}?replica_reads=no", servers.url()))?,
            hand: Hand::Cluster(servers),
        })
    }

    pub fn stop(&self) -> Result<()> {
        let down = Faults {
            down: true,
            ..Faults::default()
        };
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(down),
            Hand::Redis(server) => server.stop()?,
            Hand::Sentinel(servers) => servers.stop()?,
            Hand::Cluster(servers) => servers.stop()?,
        }
        Ok(())
    }

    pub fn start(&self) -> Result<()> {
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(Faults::default()),
            Hand::Redis(server) => server.restart()?,
            Hand::Sentinel(servers) => servers.restart()?,
            Hand::Cluster(servers) => servers.restart()?,
        }
        Ok(())
    }

    pub fn pause(&self) -> Result<()> {
        let slow = Faults {
            slow: true,
            ..Faults::default()
        };
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(slow),
            Hand::Redis(server) => server.pause()?,
            Hand::Sentinel(servers) => servers.pause()?,
            Hand::Cluster(servers) => servers.pause()?,
        }
        Ok(())
    }

    pub fn resume(&self) -> Result<()> {
        match &self.hand {
            Hand::Hub(hub, _) => hub.set_faults(Faults::default()),
            Hand::Redis(server) => server.resume()?,
            Hand::Sentinel(servers) => servers.resume()?,
            Hand::Cluster(servers) => servers.resume()?,
        }
        Ok(())
    }

    /// A hub's time stands still until it is told; that of Redis passes by itself.
    pub fn advance(&self, span: Duration) {
        if let Hand::Hub(_, clock) = &self.hand {
            clock.advance(span);
        }
    }

    pub fn server(&self) -> Result<&server::Redis> {
        match &self.hand {
            Hand::Redis(server) => Ok(server),
            _ => anyhow::bail!("only one Redis is one server"),
        }
    }

    pub async fn works(&self) -> Result<()> {
        let keys = keys(["any"]);
        wait_until("a command that works", LONG, async || {
            self.remote.get(&keys).await.is_ok()
        })
        .await
    }

    /// A subscription that has been told `Up`.
    pub async fn subscribe(&self, channel: &str) -> Result<Receiver<Event>> {
        let mut events = self.remote.subscribe(&named(channel));
        ensure!(
            next(&mut events).await? == Event::Up,
            "a subscription begins with Up"
        );
        Ok(events)
    }
}

/// A name in the suite's namespace, which is all that its user may touch.
pub fn named(name: &str) -> String {
    format!("larder:{name}")
}

pub fn keys<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(named).to_vec()
}

pub fn item(key: &str, value: impl Into<Bytes>, ttl: Duration) -> Item {
    Item {
        key: named(key),
        value: value.into(),
        ttl,
    }
}

pub fn message(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub async fn next(events: &mut Receiver<Event>) -> Result<Event> {
    let event = tokio::time::timeout(LONG, events.recv())
        .await
        .context("no event came")?;
    event.context("the subscription ended")
}

pub async fn wait_for(events: &mut Receiver<Event>, wanted: &Event) -> Result<()> {
    while next(events).await? != *wanted {}
    Ok(())
}
