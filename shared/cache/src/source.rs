//! A source: a database, or anything else that owns what is cached, as this process knows it.
//! It holds the digest that all its keyspaces share. Two things feed that: the rounds of the feed
//! (`source/rounds.rs`), and hints (`source/hints.rs`).

mod hints;
mod rounds;

use crate::breaker::Breaker;
use crate::clock::Stamp;
use crate::digest::{self, Digest};
use crate::entry::Value;
use crate::feed::Feed;
use crate::key::{Key, Tag};
use crate::keyspace::KeyspaceBuilder;
use crate::larder::Core;
use crate::load::Load;
use crate::remote::Remote as _;
use crate::snapshot::Epoch;
use crate::stats::{Propagation, SourceCounters, SourceStats};
use crate::tell::AnyKeyspace;
use crate::watch::What;
use crate::writers::Writers;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How often a process asks the feed for the round since.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
/// Loads under way at once, unless the source's maker says otherwise.
const CONCURRENT_LOADS: usize = 64;

type Registry = BTreeMap<String, Weak<dyn AnyKeyspace>>;

/// See the module's documentation. Clones are handles to the same source.
#[derive(Clone)]
pub struct Source(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    pub(crate) digest: Digest,
    pub(crate) feed: Option<Arc<dyn Feed>>,
    pub(crate) counters: SourceCounters,
    pub(crate) loads: Semaphore,
    pub(crate) breaker: Breaker,
    /// The poller says when the source is away and when it is back.
    pub(crate) polled: bool,
    rounds_failed: AtomicU32,
    propagation: Propagation,
    writers: Writers,
    keyspaces: Mutex<Registry>,
    /// One round at a time.
    proving: tokio::sync::Mutex<()>,
    channel: String,
}

/// Makes a [`Source`].
pub struct SourceBuilder {
    pub(crate) core: Arc<Core>,
    pub(crate) name: String,
    feed: Option<Arc<dyn Feed>>,
    poll_every: Option<Duration>,
    cells: usize,
    concurrent_loads: usize,
}

impl SourceBuilder {
    pub(crate) fn new(core: Arc<Core>, name: String) -> Self {
        Self {
            core,
            name,
            feed: None,
            poll_every: Some(POLL_EVERY),
            cells: digest::CELLS,
            concurrent_loads: CONCURRENT_LOADS,
        }
    }

    /// Where rounds come from. Without a feed, values live for Δ and hints shorten that.
    pub fn feed(mut self, feed: Arc<dyn Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// How often the feed is asked; [`POLL_EVERY`] by default. Must be well below Δ.
    pub fn poll_every(mut self, interval: Duration) -> Self {
        self.poll_every = Some(interval);
        self
    }

    /// The feed is asked when [`Source::prove`] is called, and only then.
    pub fn poll_by_hand(mut self) -> Self {
        self.poll_every = None;
        self
    }

    /// How many cells the digest has; 2¹⁸ of 16 bytes by default. Fewer cost misses.
    pub fn cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }

    /// How many loads may be under way at once, 64 by default: what the source's pool bears.
    pub fn concurrent_loads(mut self, loads: usize) -> Self {
        self.concurrent_loads = loads.max(1);
        self
    }

    /// Opens the source; its poller and its subscription run until the larder is closed.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn open(self) -> Source {
        let hash = Tag::of("source", &self.name).0;
        let core = self.core;
        let interval = self.poll_every.filter(|_| self.feed.is_some());
        let source = Source(Arc::new(Inner {
            hash,
            polled: interval.is_some(),
            rounds_failed: AtomicU32::new(0),
            digest: Digest::new(hash, self.cells),
            feed: self.feed,
            counters: SourceCounters::default(),
            loads: Semaphore::new(self.concurrent_loads),
            breaker: Breaker::default(),
            propagation: Propagation::default(),
            writers: Writers::default(),
            keyspaces: Mutex::default(),
            proving: tokio::sync::Mutex::default(),
            channel: core.name(&["hints", &self.name]),
            name: self.name.into(),
            core: core.clone(),
        }));
        // From now on, not from when the task first runs.
        if core.tiers.remote() {
            let events = core.remote.subscribe(&source.0.channel);
            core.spawn(hints::listen(source.clone(), events));
        }
        if let Some(interval) = interval {
            core.spawn(rounds::poll(source.clone(), interval));
        }
        source
    }
}

impl Source {
    /// The source's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Begins a keyspace of this source; names are unique within a larder.
    pub fn keyspace<K: Key, V: Value>(
        &self,
        name: &str,
        loader: impl Load<K, V>,
    ) -> KeyspaceBuilder<K, V> {
        KeyspaceBuilder::new(self.clone(), name, Box::new(loader))
    }

    /// Whether the digest knows everything up to some moment, so that the remote tier's values
    /// can be judged.
    pub fn is_proven(&self) -> bool {
        self.0.digest.coverage().is_some()
    }

    /// The epoch of the database, once known.
    pub fn epoch(&self) -> Option<Epoch> {
        self.0.digest.epoch()
    }

    /// The counters.
    pub fn stats(&self) -> SourceStats {
        let proven_at = self.0.digest.proven_at();
        let age = || self.0.core.clock.now().since(proven_at);
        let mut stats = self
            .0
            .counters
            .snapshot((proven_at != Stamp::NEVER).then(age));
        self.0.propagation.read(&mut stats);
        stats.oldest_writer = self.0.writers.oldest(self.0.core.clock.now());
        stats
    }

    /// The open keyspaces.
    pub fn keyspaces(&self) -> Vec<Arc<dyn AnyKeyspace>> {
        self.registry().values().filter_map(Weak::upgrade).collect()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        let registry = self.0.keyspaces.lock();
        registry.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enlist(&self, name: &str, keyspace: Weak<dyn AnyKeyspace>) {
        self.registry().insert(name.to_owned(), keyspace);
    }

    /// The keyspace of this name, without its types.
    pub fn find(&self, name: &str) -> Option<Arc<dyn AnyKeyspace>> {
        self.registry().get(name)?.upgrade()
    }
}

impl Inner {
    /// It answered a load or a round.
    pub(crate) fn is_there(&self) {
        if self.breaker.succeeded() {
            self.tell_watchers(|| What::Breaker { open: false });
        }
    }

    /// It did not answer a load.
    pub(crate) fn is_away(&self) {
        if self.breaker.failed(self.core.clock.now()) {
            self.tell_watchers(|| What::Breaker { open: true });
        }
    }

    fn tell_watchers(&self, what: impl FnOnce() -> What) {
        self.core.tell_watchers(&self.name, None, what);
    }
}
