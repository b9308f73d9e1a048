//! What a flight does: the remote tier, then one load in the cluster, for all of its keys at once.
//!
//! A load that is overtaken by a write:
//!
//! 1. A reader notes `captured`, then loads v1.
//! 2. A writer commits v2; its hint or its round moves the key's cell.
//! 3. The reader's entry comes late, into memory and into the remote tier.
//!
//! Nothing stops step 3, and nothing needs to. In memory the entry's `captured` lies before the
//! cell's move, so it is never served; in the remote tier its label does not show the write, so
//! it is never taken. `tests/races.rs` replays both.

mod settle;

use crate::behind::Behind;
use crate::clock::Stamp;
use crate::entry::{Entry, Value};
use crate::flight::{Landing, Terms};
use crate::held::Held;
use crate::judge::Seq;
use crate::key::Key;
use crate::keyspace::Inner;
use crate::load::{self, Ask, Loaded};
use crate::read::{Error, Origin};
use crate::remote::{self, Item, Remote as _};
use crate::stats::Miss;
use crate::trace;
use crate::watch::What;
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::Instrument as _;

/// How long a flight waits before it looks again whether another process has stored its keys.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// While locks cannot be asked for, a flight goes on asking for this part of the time that it would
/// wait for somebody else's load: a second load costs more than that only where loads are long.
const PERSISTENCE: u32 = 50;

/// Entries up to here are put into memory before the answer.
const FEW: usize = 8;

type Landed<V> = Result<Landing<V>, Error>;

/// One flight's work.
pub(crate) struct Fill<K: Key, V: Value> {
    keyspace: Arc<Inner<K, V>>,
    terms: Terms,
    keys: Arc<[K]>,
    /// Their names in the remote tier.
    names: Vec<String>,
    landed: Vec<Option<Landed<V>>>,
}

impl<K: Key, V: Value> Fill<K, V> {
    pub(crate) fn new(keyspace: Arc<Inner<K, V>>, keys: Arc<[K]>, terms: Terms) -> Self {
        let names = keys.iter().map(|key| keyspace.remote_name(key)).collect();
        let landed = keys.iter().map(|_| None).collect();
        Self {
            keyspace,
            terms,
            keys,
            names,
            landed,
        }
    }

    pub(crate) async fn run(mut self) -> Vec<Landed<V>> {
        let source = self.keyspace.source();
        let away = source.polled && source.breaker.is_open();
        // Without the source nothing is proven, and past Δ nothing from elsewhere can be taken.
        let proven_at = source.digest.proven_at();
        let unproven = self.keyspace.now().since(proven_at) > self.terms.max_staleness;
        if self.remote_can_answer() && !(away && unproven) {
            let all: Vec<usize> = (0..self.keys.len()).collect();
            let values = self.keyspace.source().core.remote.get(&self.names).await;
            self.take(&all, values);
            // A load that will be refused needs no lock, which whoever failed last may still hold.
            if !away && !self.keyspace.loader.asks_owner() {
                self.load_once_in_the_cluster().await;
            }
        }
        let rest = self.open();
        self.load(&rest, None).await;
        let keyspace = &self.keyspace;
        let missing = || Err(keyspace.broken("a key was left out"));
        self.landed
            .into_iter()
            .map(|landed| landed.unwrap_or_else(missing))
            .collect()
    }

    /// The keys that have no result yet.
    fn open(&self) -> Vec<usize> {
        (0..self.keys.len())
            .filter(|&index| self.landed[index].is_none())
            .collect()
    }

    fn remote_can_answer(&self) -> bool {
        let source = self.keyspace.source();
        source.core.tiers.remote() && source.feed.is_some() && self.proof_will_do()
    }

    /// Whether the callers may be given what was proven, and not loaded from the source itself: it
    /// cannot be shown to reflect a write that the digest does not know.
    fn proof_will_do(&self) -> bool {
        let digest = &self.keyspace.source().digest;
        !self.terms.strong && self.terms.tokens.iter().all(|token| digest.covers(token))
    }

    /// Takes from the remote tier what passes the test.
    fn take(
        &mut self,
        open: &[usize],
        values: Result<Vec<Option<bytes::Bytes>>, crate::remote::Error>,
    ) {
        let counters = &self.keyspace.counters;
        let Ok(values) = values else {
            counters.miss(Miss::RemoteFailed);
            return;
        };
        let now = (
            self.keyspace.now(),
            self.keyspace.source().core.wall_millis(),
        );
        let mut taken = Vec::new();
        for (&index, value) in open.iter().zip(values) {
            let parcel = value.ok_or(Miss::RemoteCold);
            let entry = parcel.and_then(|bytes| self.judge(index, bytes, now));
            match entry {
                Ok(entry) => {
                    taken.push((self.keys[index].clone(), entry.clone()));
                    self.landed[index] = Some(Ok(Landing {
                        entry,
                        origin: Origin::L2,
                    }));
                }
                Err(miss) => counters.miss(miss),
            }
        }
        self.keep(taken);
    }

    /// Keeps in memory what was taken. For a few entries that is quick; many, of which each costs
    /// the local tier most of a microsecond, do not delay the answer.
    fn keep(&self, taken: Vec<(K, Arc<Entry<V>>)>) {
        let keyspace = self.keyspace.clone();
        let few = taken.len() < FEW;
        let insert = move || {
            for (key, entry) in taken {
                keyspace.local.insert(key, entry);
            }
        };
        if few {
            insert();
        } else {
            self.keyspace
                .source()
                .core
                .spawn_behind(Behind::Store, async move { insert() });
        }
    }

    fn judge(
        &self,
        index: usize,
        bytes: bytes::Bytes,
        now: (Stamp, u64),
    ) -> Result<Arc<Entry<V>>, Miss> {
        let (key, name) = (&self.keys[index], &self.names[index]);
        let entry = self
            .keyspace
            .open_parcel(key, name, bytes, now, self.terms.max_staleness)?;
        let lasts = self.terms.renew.map(|until| now.0.max(until));
        if lasts.is_some_and(|until| until >= entry.soft_at) {
            return Err(Miss::RemoteExpired);
        }
        Ok(entry)
    }

    /// Loads the keys whose advisory lock is free, and waits for those whose loading is somebody
    /// else's, for as long as the policy says. The lock spares work and guards nothing: whoever
    /// waits too long, or cannot ask, loads; at once where the remote tier has no room for locks.
    ///
    /// The value is asked for again behind the lock, on the same connection: who held it may have
    /// stored the value and left between our first look and now.
    async fn load_once_in_the_cluster(&mut self) {
        let give_up = Instant::now() + self.keyspace.policy.lock_wait;
        let persistence = self.keyspace.policy.lock_wait / PERSISTENCE;
        let mut failing_since = None;
        let mut wait = FIRST_WAIT;
        loop {
            let open = self.open();
            if open.is_empty() {
                return;
            }
            let owner = self.keyspace.source().core.draw();
            let locks: Vec<String> = open.iter().map(|&n| self.lock_name(n)).collect();
            let names: Vec<String> = open.iter().map(|&n| self.names[n].clone()).collect();
            let remote = &self.keyspace.source().core.remote;
            let life = self.keyspace.policy.lock_wait.max(Duration::from_millis(1));
            let (won, values) =
                futures_util::join!(remote.lock(&locks, owner, life), remote.get(&names));
            let held = Held::new(&self.keyspace, owner, locks, &won);
            let full = matches!(&won, Err(remote::Error::Full(_)));
            if (won.is_err() || values.is_err())
                && !full
                && self.is_patient(&open)
                && Instant::now() < give_up
            {
                drop(held);
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            }
            let Ok(won) = won else {
                drop(held);
                // What is full will hold no lock soon, nor a value to wait for.
                if full {
                    self.take(&open, values);
                    return;
                }
                let since = *failing_since.get_or_insert_with(Instant::now);
                if persistence <= LONGEST_WAIT || since.elapsed() >= persistence {
                    return;
                }
                tokio::time::sleep(LONGEST_WAIT).await;
                continue;
            };
            failing_since = None;
            self.take(&open, values);

            let mine = open
                .iter()
                .zip(&won)
                .filter(|(_, won)| **won)
                .map(|(n, _)| *n);
            let mine: Vec<usize> = mine.filter(|&n| self.landed[n].is_none()).collect();
            self.load(&mine, Some(held)).await;
            if self.open().is_empty() || Instant::now() >= give_up {
                return;
            }
            trace::waits_for_a_process();
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Whether one call that failed is no reason to load: where a crowd waits for a key's writer,
    /// and the remote tier is not known to be away.
    fn is_patient(&self, open: &[usize]) -> bool {
        let pinned = |&n: &usize| self.keyspace.local.is_pinned(&self.keys[n]);
        !self.keyspace.source().core.remote.is_open() && open.iter().any(pinned)
    }

    /// Loads these keys in one call, keeps what may be kept, and stores it behind the answer.
    async fn load(&mut self, indexes: &[usize], held: Option<Held<K, V>>) {
        if indexes.is_empty() {
            return;
        }
        let keys: Vec<K> = indexes.iter().map(|&n| self.keys[n].clone()).collect();
        match self.ask_loader(&keys, indexes).await {
            Ok((loaded, captured, asked_at)) => {
                let mut items = Vec::new();
                for (&index, loaded) in indexes.iter().zip(loaded) {
                    let settled = self.settle(index, loaded, captured, asked_at, &mut items);
                    self.landed[index] = Some(settled.map(|entry| Landing {
                        entry,
                        origin: Origin::Source,
                    }));
                }
                if self.terms.stored {
                    self.store(items).await;
                } else {
                    self.store_behind(items, held);
                }
            }
            Err(error) => {
                for &index in indexes {
                    self.landed[index] = Some(Err(error.clone()));
                }
            }
        }
    }

    /// The loader's answer, with what was noted before it was asked.
    async fn ask_loader(
        &self,
        keys: &[K],
        indexes: &[usize],
    ) -> Result<(Vec<Loaded<V>>, Seq, Stamp), Error> {
        let keyspace = &self.keyspace;
        let (source, name) = (keyspace.source(), &keyspace.name);
        if !source.breaker.allows(keyspace.now(), !source.polled) {
            return Err(keyspace.unavailable("it failed a moment ago"));
        }
        let away = async {
            match source.polled {
                true => source.breaker.opened().await,
                false => std::future::pending().await,
            }
        };
        let turn = tokio::time::timeout(keyspace.policy.turn_wait, source.loads.acquire()).await;
        let _turn = match turn {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => {
                return Err(Error::Overloaded {
                    keyspace: name.clone(),
                });
            }
        };
        let ask = self.ask(indexes);
        // Before the source is read: what moves from here on moves the entry.
        let captured = source.digest.captured();
        let asked_at = keyspace.now();
        let span = trace::span!(
            "cache load",
            cache.keyspace = &**name,
            cache.keys = keys.len()
        );
        let began = Instant::now();
        let loaded = tokio::select! {
            loaded = keyspace.call_loader(keys, &ask).instrument(span) => loaded,
            () = away => {
                keyspace.counters.loaded(began.elapsed(), true);
                return Err(keyspace.unavailable("it was found to be away"));
            }
        };
        let (took, failed) = (began.elapsed(), loaded.is_err());
        keyspace.counters.loaded(took, failed);
        if let Some(place) = (source.core.tracing.current)() {
            keyspace.counters.traced(took, place.trace);
        }
        keyspace.tell_watchers(|| What::loaded::<K, V>(keys, took, failed));
        match &loaded {
            Err(error) if error.is_unavailable() => source.is_away(),
            _ => source.is_there(),
        }
        loaded.map(|loaded| (loaded, captured, asked_at))
    }

    /// What the loader must live up to: what the callers want, and, should it ask another
    /// process, the newest write to these keys that this one knows of.
    fn ask(&self, indexes: &[usize]) -> Ask {
        let mut tags: Vec<_> = indexes
            .iter()
            .flat_map(|&n| self.keyspace.all_tags(&self.keys[n], self.text(n), &[]))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        let mut tokens = self.terms.tokens.clone();
        tokens.extend(self.keyspace.source().digest.newest(&tags));
        let max_staleness = if self.terms.strong {
            Duration::ZERO
        } else {
            self.terms.max_staleness
        };
        Ask {
            max_staleness,
            tokens,
        }
    }

    /// Stores the values. One that is not stored costs another process a load.
    async fn store(&self, items: Vec<Item>) {
        if !items.is_empty() && self.keyspace.source().core.tiers.remote() {
            let _ = self.keyspace.source().core.remote.set(&items).await;
        }
    }

    /// Stores the values and then gives the locks back, while the answer is on its way.
    fn store_behind(&self, items: Vec<Item>, held: Option<Held<K, V>>) {
        if items.is_empty() || !self.keyspace.source().core.tiers.remote() {
            return;
        }
        let keyspace = self.keyspace.clone();
        self.keyspace
            .source()
            .core
            .spawn_behind(Behind::Store, async move {
                // A value that is not stored costs another process a load.
                let _ = keyspace.source().core.remote.set(&items).await;
                drop(held);
            });
    }

    fn text(&self, index: usize) -> &str {
        self.keyspace.text_in(&self.names[index])
    }

    fn lock_name(&self, index: usize) -> String {
        self.keyspace.lock_name(self.text(index))
    }
}

impl<K: Key, V: Value> Inner<K, V> {
    /// Calls the loader, whose time is bounded and whose panics are errors.
    pub(crate) async fn call_loader(&self, keys: &[K], ask: &Ask) -> Result<Vec<Loaded<V>>, Error> {
        let limit = self.policy.load_deadline;
        let load = AssertUnwindSafe(self.loader.load(keys, ask)).catch_unwind();
        match tokio::time::timeout(limit, load).await {
            Ok(Ok(Ok(loaded))) if loaded.len() == keys.len() => Ok(loaded),
            Ok(Ok(Ok(_))) => Err(self.broken("it answered for more or fewer keys")),
            Ok(Ok(Err(cause))) => Err(Error::Load {
                keyspace: self.name.clone(),
                cause,
            }),
            Ok(Err(_)) => Err(self.broken("it panicked")),
            Err(_) => Err(Error::LoadDeadline {
                keyspace: self.name.clone(),
                limit,
            }),
        }
    }

    fn unavailable(&self, cause: &'static str) -> Error {
        Error::Load {
            keyspace: self.name.clone(),
            cause: load::Error::unavailable(cause),
        }
    }

    pub(crate) fn broken(&self, problem: &'static str) -> Error {
        Error::BrokenLoader {
            keyspace: self.name.clone(),
            problem,
        }
    }
}
