//! What the processes share beside the database: one Redis server, or a fleet of them.

use anyhow::{Context as _, Result};
use larder_testkit::{cluster, redis, sentinel};
use std::net::SocketAddr;
use std::time::Duration;

/// Sentinels and nodes of a cluster take a server for dead after this.
const DOWN_AFTER: Duration = Duration::from_secs(1);

/// Which Redis servers there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fleet {
    /// One.
    Single,
    /// A primary and two replicas, and three sentinels that watch them.
    Sentinel,
    /// A cluster of three primaries with a replica each.
    Cluster,
}

impl Fleet {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Single, Self::Sentinel, Self::Cluster];
}

/// The servers.
pub(crate) enum Bus {
    Single(redis::Redis),
    Sentinel(sentinel::Sentinel),
    Cluster(cluster::Cluster),
}

/// How a process gets there.
#[derive(Clone)]
pub(crate) enum Way {
    /// Through a network of its own.
    Through(SocketAddr),
    /// Straight: what it is told are the servers' own addresses.
    Straight(String),
}

impl Bus {
    pub(crate) fn start(fleet: Fleet) -> Result<Self> {
        Ok(match fleet {
            Fleet::Single => Self::Single(redis::start()?),
            Fleet::Sentinel => {
                let setup = sentinel::Setup::default().replicas(2);
                Self::Sentinel(setup.down_after(DOWN_AFTER).start()?)
            }
            Fleet::Cluster => {
                let setup = cluster::Setup::default();
                Self::Cluster(setup.node_timeout(DOWN_AFTER).start()?)
            }
        })
    }

    pub(crate) fn fleet(&self) -> Fleet {
        match self {
            Self::Single(_) => Fleet::Single,
            Self::Sentinel(_) => Fleet::Sentinel,
            Self::Cluster(_) => Fleet::Cluster,
        }
    }

    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Single(redis) => Way::Through(redis.address()),
            Self::Sentinel(fleet) => Way::Straight(fleet.url()),
            Self::Cluster(fleet) => Way::Straight(fleet.url()),
        }
    }

    pub(crate) fn single(&self) -> Result<&redis::Redis> {
        match self {
            Self::Single(redis) => Some(redis),
            Self::Sentinel(_) | Self::Cluster(_) => None,
        }
        .context("there is more than one Redis server")
    }

    pub(crate) fn sentinel(&self) -> Result<&sentinel::Sentinel> {
        match self {
            Self::Sentinel(fleet) => Some(fleet),
            Self::Single(_) | Self::Cluster(_) => None,
        }
        .context("there are no sentinels")
    }

    pub(crate) fn cluster(&self) -> Result<&cluster::Cluster> {
        match self {
            Self::Cluster(fleet) => Some(fleet),
            Self::Single(_) | Self::Sentinel(_) => None,
        }
        .context("there is no cluster")
    }
}
