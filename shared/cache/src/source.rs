//! A source: a database, or anything else that owns what is cached, as this process knows it.
//! It polls the feed, takes and sends hints, and holds the digest that all its keyspaces share.

use crate::breaker::Breaker;
use crate::clock::Stamp;
use crate::digest::{self, Applied, Digest, Hinted};
use crate::entry::Value;
use crate::feed::{self, Coverage, Feed, Line, Round, Written};
use crate::hint::{Hint, Pushed};
use crate::key::{Key, Tag};
use crate::keyspace::KeyspaceBuilder;
use crate::larder::Core;
use crate::load::Load;
use crate::remote::{Event, Remote as _};
use crate::snapshot::{Epoch, Token};
use crate::stats::{Propagation, SourceCounters, SourceStats};
use crate::tell::AnyKeyspace;
use crate::trace;
use crate::watch::{Mover, What};
use crate::writers::Writers;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;

/// How often a process asks the feed for the round since.
pub const POLL_EVERY: Duration = Duration::from_millis(100);
/// How long a round may take before it is asked for anew and the source is taken to be away.
const ROUND_DEADLINE: Duration = Duration::from_secs(1);
/// How long the whole journal may take.
const WHOLE_DEADLINE: Duration = Duration::from_secs(10);
/// So many rounds in a row that failed at once mean the same: one may have been asked for on a
/// connection that had ended.
const ROUNDS_FAILED: u32 = 2;
/// Loads under way at once, unless the source's maker says otherwise.
const CONCURRENT_LOADS: usize = 64;

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
    keyspaces: Mutex<BTreeMap<String, Weak<dyn AnyKeyspace>>>,
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
            core.spawn(listen(source.clone(), events));
        }
        if let Some(interval) = interval {
            core.spawn(poll(source.clone(), interval));
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

    /// Asks the feed for a round now and applies it: afterwards everything committed before the
    /// call is known. Cancel-safe.
    pub async fn prove(&self) -> Result<(), feed::Error> {
        let result = self.try_prove().await;
        if result.is_err() {
            SourceCounters::add(&self.0.counters.round_errors, 1);
        }
        result
    }

    async fn try_prove(&self) -> Result<(), feed::Error> {
        let inner = &self.0;
        let feed = inner.feed.as_ref().ok_or(feed::Error::Unsupported)?;
        let _one_at_a_time = inner.proving.lock().await;
        // After a gap the whole journal follows at once.
        for _ in 0..2 {
            let since = inner.digest.coverage();
            let asked_at = inner.core.clock.now();
            let limit = match since {
                Some(_) => ROUND_DEADLINE,
                None => WHOLE_DEADLINE,
            };
            let round = tokio::time::timeout(limit, feed.round(since.as_ref())).await;
            let late = round.is_err();
            let round = round.unwrap_or_else(|late| Err(feed::Error::Unavailable(Arc::new(late))));
            if let (Err(feed::Error::Unavailable(_)), Some(_)) = (&round, &since) {
                let failed = inner.rounds_failed.fetch_add(1, Ordering::Relaxed) + 1;
                if late || failed >= ROUNDS_FAILED {
                    inner.is_known_to_be_away();
                }
            }
            let round = round?;
            match inner.digest.apply_round(since.as_ref(), &round, asked_at) {
                Applied::Round { lines, .. } => {
                    inner.rounds_failed.store(0, Ordering::Relaxed);
                    inner.is_there();
                    inner.counters.round(lines);
                    inner.writers.note(&round, asked_at);
                    if lines > 0 {
                        let tags = round.changes.iter().map(|change| change.tag);
                        inner.tell_watchers(|| What::moved(tags, Mover::Round));
                    }
                    return Ok(());
                }
                Applied::Gap => {
                    SourceCounters::add(&inner.counters.gaps, 1);
                    tracing::warn!(source = &*inner.name, "a gap in the feed; taking it whole");
                    inner.tell_watchers(|| What::Gap);
                }
                Applied::WentBack => {
                    let problem = "its snapshot lacks what was visible before";
                    return Err(feed::Error::Unusable(problem.into()));
                }
            }
        }
        Err(feed::Error::Unusable(
            "a gap in what should have been the whole journal".into(),
        ))
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

    /// To be told of every committed write of this process: moves what it touched here, tells
    /// the other processes, and returns the receipt.
    ///
    /// Run it, like the commit before it, as a task that a caller who hangs up does not stop.
    pub async fn wrote(&self, written: Written) -> Token {
        self.announce(written, Vec::new()).await
    }

    pub(crate) async fn announce(&self, written: Written, pushed: Vec<Pushed>) -> Token {
        let token = written.token(self.0.hash);
        self.apply_own(&written);
        self.publish(written, true, pushed).await;
        token
    }

    pub(crate) fn apply_own(&self, written: &Written) {
        let hinted = self.0.digest.apply_hint(written);
        SourceCounters::add(&self.0.counters.moved_own, written.tags.len());
        if matches!(hinted, Hinted::Applied | Hinted::Overflowed) {
            self.0.tell_moved(&written.tags, Mover::Own);
        }
    }

    /// Moves what these lines name, everywhere: through the feed where there is one, so that no
    /// process misses it, otherwise by hint alone.
    pub async fn invalidate(&self, lines: &[Line]) -> Result<Option<Token>, feed::Error> {
        if let Some(feed) = &self.0.feed {
            let written = feed.touch(lines).await?;
            return Ok(Some(self.wrote(written).await));
        }
        let tags: Vec<Tag> = lines.iter().map(Line::tag).collect();
        self.0.digest.touch(&tags);
        SourceCounters::add(&self.0.counters.moved_own, tags.len());
        self.0.tell_moved(&tags, Mover::Own);
        let epoch = Epoch {
            system: 0,
            timeline: 0,
        };
        self.publish(
            Written {
                epoch,
                xid: 0,
                tags,
            },
            false,
            Vec::new(),
        )
        .await;
        Ok(None)
    }

    /// Sends values into every process's memory; each judges them by their labels.
    pub(crate) async fn spread(&self, pushed: Vec<Pushed>) {
        let epoch = Epoch {
            system: 0,
            timeline: 0,
        };
        let tags = Vec::new();
        let nothing = Written {
            epoch,
            xid: 0,
            tags,
        };
        self.publish(nothing, false, pushed).await;
    }

    pub(crate) async fn publish(&self, written: Written, journalled: bool, pushed: Vec<Pushed>) {
        if !self.0.core.tiers.remote() {
            return;
        }
        let span = trace::sent(&self.0.name, written.tags.len());
        let sending = self.send(written, journalled, pushed);
        sending.instrument(span).await;
    }

    async fn send(&self, written: Written, journalled: bool, pushed: Vec<Pushed>) {
        let inner = &self.0;
        let hint = Hint {
            source: inner.hash,
            sender: inner.core.id,
            sent_micros: inner.core.wall_micros(),
            written,
            journalled,
            pushed,
            place: (inner.core.tracing.current)(),
        };
        let message = hint.encode(&inner.channel, inner.core.seal.as_ref());
        if inner
            .core
            .remote
            .publish(&inner.channel, message)
            .await
            .is_err()
        {
            // The other processes learn of it by their next poll.
            SourceCounters::add(&inner.counters.hints_lost, 1);
        }
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

    /// Asks the feed for a round on another process's behalf, and applies nothing here.
    pub async fn round(&self, since: Option<&Coverage>) -> Result<Round, feed::Error> {
        self.0
            .feed
            .as_ref()
            .ok_or(feed::Error::Unsupported)?
            .round(since)
            .await
    }

    /// The open keyspaces.
    pub fn keyspaces(&self) -> Vec<Arc<dyn AnyKeyspace>> {
        let keyspaces = self
            .0
            .keyspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keyspaces.values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn enlist(&self, name: &str, keyspace: Weak<dyn AnyKeyspace>) {
        let mut keyspaces = self
            .0
            .keyspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keyspaces.insert(name.to_owned(), keyspace);
    }

    /// The keyspace of this name, without its types.
    pub fn find(&self, name: &str) -> Option<Arc<dyn AnyKeyspace>> {
        let keyspaces = self
            .0
            .keyspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keyspaces.get(name)?.upgrade()
    }

    fn heed(&self, message: bytes::Bytes) {
        let inner = &self.0;
        let counters = &inner.counters;
        let hint = Hint::decode(message, &inner.channel, inner.core.seal.as_ref());
        let Some(hint) = hint.filter(|hint| hint.source == inner.hash) else {
            SourceCounters::add(&counters.hints_malformed, 1);
            return;
        };
        if hint.sender == inner.core.id {
            return;
        }
        let span = trace::heard(&inner.core.tracing, &inner.name, &hint);
        let _within = span.enter();
        if hint.journalled {
            self.heed_written(&hint);
        } else if inner.feed.is_none() {
            // Believed only where there is nothing better.
            inner.digest.touch(&hint.written.tags);
            SourceCounters::add(&counters.hints_applied, 1);
            SourceCounters::add(&counters.moved_hint, hint.written.tags.len());
            inner.tell_moved(&hint.written.tags, Mover::Hint);
        }
        for pushed in hint.pushed {
            if let Some(keyspace) = self.find(&pushed.keyspace) {
                keyspace.admit(&pushed.key, pushed.parcel);
            }
        }
    }

    fn heed_written(&self, hint: &Hint) {
        let (inner, counters) = (&self.0, &self.0.counters);
        let hinted = inner.digest.apply_hint(&hint.written);
        trace::heeded(hinted.word());
        match hinted {
            Hinted::Applied | Hinted::Overflowed => {
                SourceCounters::add(&counters.hints_applied, 1);
                SourceCounters::add(&counters.moved_hint, hint.written.tags.len());
                let took = inner.core.wall_micros().saturating_sub(hint.sent_micros);
                inner.propagation.note(Duration::from_micros(took));
                inner.tell_moved(&hint.written.tags, Mover::Hint);
            }
            Hinted::Known => SourceCounters::add(&counters.hints_known, 1),
            Hinted::Foreign => SourceCounters::add(&counters.hints_foreign, 1),
        }
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

    fn is_known_to_be_away(&self) {
        if self.breaker.trip(self.core.clock.now()) {
            self.tell_watchers(|| What::Breaker { open: true });
        }
    }

    fn tell_moved(&self, tags: &[Tag], by: Mover) {
        self.tell_watchers(|| What::moved(tags.iter().copied(), by));
    }

    fn tell_watchers(&self, what: impl FnOnce() -> What) {
        self.core.tell_watchers(&self.name, None, what);
    }
}

async fn poll(source: Source, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut healthy = true;
    loop {
        ticks.tick().await;
        let result = source.prove().await;
        let name = source.name();
        match (&result, healthy) {
            (Err(error), true) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::warn!(source = name, %error, cause, "nothing is proven for now");
            }
            (Ok(()), false) => tracing::info!(source = name, "proofs go on"),
            _ => {}
        }
        let goes_on = result.is_ok();
        if goes_on != healthy {
            source.0.tell_watchers(|| What::Proof { goes_on });
        }
        healthy = goes_on;
    }
}

async fn listen(source: Source, mut events: mpsc::Receiver<Event>) {
    let inner = &source.0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(message) => source.heed(message),
            Event::Up => tracing::debug!(source = &*inner.name, "hints arrive"),
            Event::Down => tracing::debug!(source = &*inner.name, "hints may be lost"),
        }
    }
}
