//! Where values come from: the trait that a keyspace's owner implements.

use crate::key::Tag;
use crate::snapshot::{Label, Token};
use futures_util::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What a load must live up to. A loader that reads the primary itself may ignore it; one that
/// asks another service passes it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ask {
    /// How far behind the source the answer may be.
    pub max_staleness: Duration,
    /// Writes that the answer must reflect.
    pub tokens: Vec<Token>,
}

/// How a loaded value may be believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Read on the primary by the very statement, or the one REPEATABLE READ transaction, that
    /// returned the label, begun after the load was asked for.
    Primary(Label),
    /// Told by somebody else: a standby ([`Label::of_standby`]), or another service with the
    /// label of what it served. Kept only if the label passes the test. If not, it is an answer
    /// all the same where the loader [asks the owner](Load::asks_owner), who was told what is
    /// wanted; from a standby it is as if the source were [unavailable](Error::Unavailable).
    Claim(Label),
    /// No label. Kept only if the source has no feed; otherwise answered and forgotten, as is
    /// right for a value read inside a transaction that writes.
    None,
}

/// One loaded value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded<V> {
    /// The value, or its absence.
    pub value: Option<V>,
    /// What it depends on, beside its keyspace and what its key implies.
    pub tags: Vec<Tag>,
    /// How it may be believed.
    pub proof: Proof,
}

/// Why a load failed. Clones share the cause, since one failure answers all who waited.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The source cannot be reached, or is overloaded: a later attempt may succeed, and a
    /// fail-safe keyspace answers its last value.
    #[error("the source cannot be reached")]
    Unavailable(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The source was reached and the load failed.
    #[error("the load failed")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The source cannot be reached, and why.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// The load failed, and why.
    pub fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(Arc::from(cause.into()))
    }
}

/// Makes values for the cache.
///
/// The future may be dropped at any await, when nobody waits any more or the load's deadline
/// passes. A panic in it is caught and answered as an error.
pub trait Load<K, V>: Send + Sync + 'static {
    /// Whether the loader asks another process, which shares this keyspace's place in the remote
    /// tier, arranges itself that one load is made in the cluster, and lives up to what it is told
    /// is wanted.
    ///
    /// 1. A load here would hold the key's advisory lock, and ask the owner.
    /// 2. The owner has to load too, and would wait for whoever holds the lock: for us.
    ///
    /// So such a loader's flights take no lock. Test: `flights.rs`,
    /// `a_loader_that_asks_the_owner_leaves_the_lock_to_it`.
    fn asks_owner(&self) -> bool {
        false
    }

    /// Loads these keys, at least one and all different, and answers for each, in their order.
    fn load<'a>(
        &'a self,
        keys: &'a [K],
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<V>>, Error>>;
}

impl<K, V, F, Fut> Load<K, V> for F
where
    K: Clone + Send + Sync + 'static,
    F: Fn(Vec<K>, Ask) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Loaded<V>>, Error>> + Send + 'static,
{
    fn load<'a>(
        &'a self,
        keys: &'a [K],
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<V>>, Error>> {
        Box::pin(self(keys.to_vec(), ask.clone()))
    }
}
