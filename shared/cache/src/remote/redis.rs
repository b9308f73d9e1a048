//! Redis, or what speaks its language: one server, the primary that sentinels name, or a cluster.
//!
//! In reading order: `address` (what a URL asks for), `server` (how one server is met), `link` and
//! `subscription` (a connection for commands and one for messages, each with a supervisor of its
//! own, since they fail apart and are asked different things: a command must be answered at once
//! or not at all, while a subscription must come back however long the outage was), `whereabouts`
//! (which server that is, where it may change), and what is made of them: `single`, `sentinel`,
//! `cluster`.
//!
//! The supervisors of the `redis` crate would do neither: the one for a single server gives up
//! after some attempts and keeps a connection whose peer is silent, none follows sentinels, and
//! the one for a cluster holds up all calls while it looks for one lost node.

mod address;
mod cluster;
mod link;
mod sentinel;
mod server;
mod single;
mod subscription;
mod tasks;
mod throttle;
mod whereabouts;
mod words;

use super::{Error, Remote, Trust};
use address::Address;
use std::sync::Arc;
use std::time::Duration;

/// How long opening a connection may take, greetings included.
const CONNECT: Duration = Duration::from_millis(200);
/// How long an answer may take when nobody is less patient.
const RESPONSE: Duration = Duration::from_millis(500);
/// Each connection is asked for a sign of life this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A sign of life that takes longer is a miss. Two in a row, and the connection is given up.
const SIGN_OF_LIFE: Duration = Duration::from_millis(750);
const MISSES: u32 = 2;
/// The first and the longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// Begins to connect and returns at once: a server that is away costs the remote tier, not the
/// start. Must be called on a tokio runtime.
pub(super) fn open(url: &str, trust: &Trust) -> Result<Arc<dyn Remote>, Error> {
    let address = Address::parse(url)?.trusting(trust)?;
    let name = address.name();
    Ok(match address {
        Address::Single(info) => {
            let server = server::Server::new(info, server::Manners::Plain)?;
            Arc::new(single::Single::open(server, name)?)
        }
        Address::Sentinel {
            sentinels,
            master,
            primary: info,
        } => {
            let wanted = sentinel::Wanted { master, info };
            let sentinels = sentinel::Sentinels::ask(sentinels, wanted, &name)?;
            Arc::new(single::Single::follow(sentinels, name)?)
        }
        Address::Cluster {
            seeds,
            replica_reads,
        } => Arc::new(cluster::Cluster::open(seeds, replica_reads, name)?),
    })
}

/// See [`crate::fuzzed`].
pub(super) fn named(url: &str) -> String {
    match Address::parse(url) {
        Ok(address) => address.name(),
        Err(error) => error.to_string(),
    }
}

/// See [`crate::fuzzed`].
pub(super) fn slots(bytes: &[u8]) {
    if let Ok(answer) = redis::parse_redis_value(bytes) {
        cluster::read(&answer);
    }
}
