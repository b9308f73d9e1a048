//! The remote tier: values with a life, an advisory lock, rate limits, and hints.
//!
//! Nothing that comes from here is believed. A value is a claim with a label; a message only
//! brings the news sooner. An implementation may lose, repeat, reorder or resurrect anything;
//! that costs misses, never truth.
//!
//! # When Redis is full
//!
//! Give it a `maxmemory` and a `maxmemory-policy` that evicts; it may forget anything at any
//! time. `allkeys-lfu` suits best: a key that many processes read stays, and what is read once,
//! by a crawler or a report, leaves soon. `allkeys-lru` comes close and adapts sooner where
//! interest moves quickly. The `volatile-*` policies work as well, since everything that is stored
//! here has a TTL, and are right where others keep data without one in the same server; of them
//! `volatile-ttl` looks at age alone and lets go of what is read most.
//!
//! `noeviction`, which is Redis's own default, costs every new value: stores are refused until
//! TTLs have made room. Reads go on, what is there is answered, and a load whose advisory lock is
//! refused for want of room does not wait for one, so several processes may load the same key.

mod backoff;
pub mod guard;
pub mod hub;
mod outlet;
pub mod rate;
mod redis;
mod trust;

pub use rate::{Rate, Throttled};
pub use trust::Trust;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Why the remote tier did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The address is no remote tier that we know.
    #[error("remote address: {0}")]
    Address(String),
    /// No answer in time.
    #[error("the remote tier did not answer within {0:?}")]
    Timeout(Duration),
    /// Not asked, because it failed a moment ago.
    #[error("the remote tier is left alone after failures")]
    BreakerOpen,
    /// It is there, and has no room for what was to be stored.
    #[error("the remote tier is full")]
    Full(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// It answered with an error, or the link broke.
    #[error("the remote tier failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The word for it in traces.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Timeout(_) => "timeout",
            Self::BreakerOpen => "breaker_open",
            Self::Full(_) => "full",
            Self::Failed(_) => "failed",
        }
    }
}

/// Opens the remote tier at an address; nothing need be there yet. Must be called on a tokio
/// runtime.
///
/// | address | remote tier |
/// |---|---|
/// | `hub:` | a new one, inside this process |
/// | `redis://[user:password@]host[:port][/db]` | one Redis server |
/// | `redis-sentinel://[user:password@]a,b,c/name` | the primary that these sentinels call `name`; options `db`, `sentinel_user`, `sentinel_password` |
/// | `redis-cluster://[user:password@]a,b,c` | the cluster that these nodes are of; `?replica_reads=no` reads from primaries only |
///
/// With `rediss` for `redis`, everything goes over TLS: see [`open_trusting`].
pub fn open(url: &str) -> Result<Arc<dyn Remote>, Error> {
    open_trusting(url, &Trust::default())
}

/// The same, with these certificates; they are for `rediss` alone.
pub fn open_trusting(url: &str, trust: &Trust) -> Result<Arc<dyn Remote>, Error> {
    if !trust.is_default() && !url.starts_with("rediss") {
        let why = "there are certificates for it, and only rediss://, rediss-sentinel:// and \
            rediss-cluster:// speak TLS";
        return Err(Error::Address(why.to_owned()));
    }
    trust.check()?;
    match url.split_once(':') {
        Some(("hub", "")) => Ok(hub::Hub::new()),
        Some((
            "redis" | "rediss" | "redis-sentinel" | "rediss-sentinel" | "redis-cluster"
            | "rediss-cluster",
            _,
        )) => redis::open(url, trust),
        Some((scheme, _))
            if scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
        {
            Err(Error::Address(format!(
                "{scheme}: is not understood; {UNDERSTOOD}"
            )))
        }
        _ => Err(Error::Address(UNDERSTOOD.to_owned())),
    }
}

/// What an address is called in logs, or what is wrong with it: see [`crate::fuzzed`].
pub(crate) fn named(url: &str) -> String {
    redis::named(url)
}

/// Reads what a node of a cluster says of its slots: see [`crate::fuzzed`].
pub(crate) fn slots(bytes: &[u8]) {
    redis::slots(bytes);
}

const UNDERSTOOD: &str = "hub:, redis://host:port, redis-sentinel://host:port,…/name and \
    redis-cluster://host:port,… are, the last three also with rediss for TLS";

/// What a subscription brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Messages published from now on arrive, as far as anybody knows.
    Up,
    /// Messages may have been lost, and more may be.
    Down,
    /// A message.
    Message(Bytes),
}

/// A value on its way to the remote tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its name, whole.
    pub key: String,
    /// Its bytes.
    pub value: Bytes,
    /// How long it may stay.
    pub ttl: Duration,
}

/// The second tier and the carrier of hints. One conformance suite (`tests/remote`) holds for
/// every implementation.
///
/// All of these are safe to cancel: what was asked then happens or does not.
pub trait Remote: Send + Sync + 'static {
    /// The values of these keys, in their order, in one round trip.
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>>;

    /// Stores these, in one round trip.
    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>>;

    /// How long these keys' values may stay still, where that is known. One round trip; for
    /// people who look, not on the way of an answer.
    fn lives<'a>(
        &'a self,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Duration>>, Error>>;

    /// Removes these, in one round trip.
    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>>;

    /// Takes the advisory locks that are free, for `owner`, for at most `ttl`: true at the place
    /// of each that was taken. One round trip.
    fn lock<'a>(
        &'a self,
        keys: &'a [String],
        owner: u64,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>>;

    /// Gives back those of these locks that `owner` still holds. One round trip.
    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>>;

    /// Lets as many of `wanted` pass as this key's limit allows now, which may be none, and counts
    /// those. What passed is known to everybody who asks with this key; asking with another rate
    /// judges the same past by that rate. One round trip.
    ///
    /// The time is that of the remote tier. A call that was cut off may have counted, and be
    /// counted again when it is repeated: that lets less pass, never more. A remote tier that
    /// forgets its keys lets a burst pass again.
    fn throttle<'a>(
        &'a self,
        key: &'a str,
        rate: &'a Rate,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Throttled, Error>>;

    /// Sends a message to whoever listens now.
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>>;

    /// Listens, through every reconnection, until the receiver is dropped. It starts as `Down`.
    /// When the receiver is slow, messages are dropped, and a `Down` and an `Up` say so.
    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event>;

    /// A name for logs, without secrets: `hub`, `redis://host:6379`.
    fn name(&self) -> String;
}
