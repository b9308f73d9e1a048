//! One key in the three places where it may be, side by side: in memory, in the remote tier, and
//! in the source. Looking changes nothing but moka's estimate of how popular the key is.

use crate::clock::Stamp;
use crate::entry::{Entry, Value};
use crate::judge::{self, Seq, Verdict};
use crate::key::{Key, Tag};
use crate::keyspace::Inner;
use crate::load::{self, Ask, Loaded, Proof};
use crate::local;
use crate::parcel::Parcel;
use crate::read::Error;
use crate::remote::{self, Remote as _};
use crate::snapshot::Label;
use crate::stats::Miss;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// What can be said of a value without showing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Whether there is a value; otherwise it is known that there is none.
    pub found: bool,
    /// See [`Value::version`].
    pub version: Option<u64>,
    /// See [`Value::fingerprint`]; 0 where there is none.
    pub fingerprint: u64,
    /// How long it is, encoded.
    pub bytes: usize,
}

impl Summary {
    pub(crate) fn of<V: Value>(value: Option<&V>) -> Self {
        Self {
            found: value.is_some(),
            version: value.and_then(V::version),
            fingerprint: value.map_or(0, V::fingerprint),
            bytes: value.map_or(0, |value| value.encode().len()),
        }
    }

    /// Whether the two speak of the same value.
    pub fn agrees(&self, other: &Self) -> bool {
        (self.found, self.fingerprint) == (other.found, other.fingerprint)
    }
}

/// A key in three places.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its text, as the keyspace writes it.
    pub key: String,
    /// In this process's memory.
    pub l1: Option<InMemory>,
    /// In the remote tier.
    pub l2: Result<Option<InRemote>, remote::Error>,
    /// In the source, if that was asked for.
    pub source: Option<Result<AtSource, Error>>,
}

/// A copy in this process's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InMemory {
    /// The value.
    pub value: Summary,
    /// Whether a bounded read would be answered with it, or why not.
    pub verdict: Result<(), Miss>,
    /// How far behind its source it can be, at most.
    pub age: Duration,
    /// Until it is renewed.
    pub soft_left: Duration,
    /// Until it is never served.
    pub hard_left: Duration,
    /// It reflects every change applied up to here.
    pub captured: Seq,
    /// The position of the latest change.
    pub applied: Seq,
    /// What it certainly reflects; `None` for a value without a label.
    pub label: Option<Label>,
    /// What its entry weighs.
    pub weight_bytes: usize,
    /// What it depends on beside its keyspace.
    pub tags: Vec<Tag>,
}

/// A copy in the remote tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InRemote {
    /// Its name there.
    pub name: String,
    /// The value; `None` when it cannot be read.
    pub value: Option<Summary>,
    /// Whether it would be taken now, or why not.
    pub verdict: Result<(), Miss>,
    /// Until it is renewed, by what it says of itself.
    pub soft_left: Duration,
    /// Until it is never taken, by what it says of itself.
    pub hard_left: Duration,
    /// Until the remote tier drops it, where that can be told.
    pub ttl: Option<Duration>,
    /// What it says it reflects.
    pub label: Option<Label>,
    /// What it takes there, without its name.
    pub stored_bytes: usize,
    /// What it says it depends on, beside its keyspace and what its key implies.
    pub tags: Vec<Tag>,
}

/// What the source has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AtSource {
    /// The value.
    pub value: Summary,
    /// What it reflects, where the loader says.
    pub label: Option<Label>,
    /// How long the load took.
    pub took: Duration,
}

/// Looks at a key in all places.
pub(crate) async fn inspect<K: Key, V: Value>(
    keyspace: &Inner<K, V>,
    key: &K,
    from_source: bool,
) -> Inspection {
    let l1 = keyspace.in_memory(key);
    let l2 = keyspace.in_remote(key).await;
    let source = if from_source {
        Some(keyspace.at_source(key).await)
    } else {
        None
    };
    Inspection {
        key: Inner::<K, V>::text(key),
        l1,
        l2,
        source,
    }
}

impl<K: Key, V: Value> Inner<K, V> {
    fn in_memory(&self, key: &K) -> Option<InMemory> {
        let entry = self.local.get(key)?;
        let now = self.now();
        let (verdict, age) = self.would_serve(&entry, now);
        let mut tags = self.all_tags(key, &Self::text(key), &entry.tags);
        tags.pop();
        Some(InMemory {
            value: Summary::of(entry.value.as_ref()),
            verdict,
            age,
            soft_left: entry.soft_at.since(now),
            hard_left: entry.hard_at.since(now),
            captured: entry.captured(),
            applied: self.source().digest.captured(),
            label: entry.weak_label(),
            weight_bytes: local::weight(&entry),
            tags: tags.to_vec(),
        })
    }

    /// Whether a bounded read at `now` would be answered with this entry, rescued if need be, and
    /// how old it is. Nothing is changed or counted.
    pub(crate) fn would_serve(&self, entry: &Entry<V>, now: Stamp) -> (Result<(), Miss>, Duration) {
        let digest = &self.source().digest;
        // In this order: see `judge::verdict`.
        let proven_at = digest.proven_at();
        let moved = digest.moved(self.cell, &entry.cells, entry.captured());
        let rescued = || {
            let (epoch, xmin) = entry.label?;
            digest.rescue(epoch, xmin, self.cell, &entry.cells)
        };
        let moved = moved && rescued().is_none();
        let proof = if moved { Stamp::NEVER } else { proven_at };
        let age = judge::age(now, entry.loaded_at, proof);
        if now >= entry.hard_at {
            return (Err(Miss::Expired), age);
        }
        let bound = self.policy.max_staleness;
        let verdict = match judge::verdict(now, entry.loaded_at, proven_at, moved, bound) {
            Verdict::Fresh(_) => Ok(()),
            Verdict::Moved => Err(Miss::Moved),
            Verdict::Unproven(_) => Err(Miss::Unproven),
        };
        (verdict, age)
    }

    async fn in_remote(&self, key: &K) -> Result<Option<InRemote>, remote::Error> {
        let core = &self.source().core;
        let names = [self.remote_name(key)];
        let (values, lives) =
            futures_util::join!(core.remote.get(&names), core.remote.lives(&names));
        let Some(bytes) = values?.pop().flatten() else {
            return Ok(None);
        };
        let [name] = names;
        // That a life cannot be told is no reason to tell nothing.
        let ttl = lives.ok().and_then(|mut lives| lives.pop().flatten());
        Ok(Some(self.describe(key, name, bytes, ttl)))
    }

    fn describe(&self, key: &K, name: String, bytes: Bytes, ttl: Option<Duration>) -> InRemote {
        let core = &self.source().core;
        let now = (self.now(), core.wall_millis());
        let stored_bytes = bytes.len();
        let bound = self.policy.max_staleness;
        let verdict = self.open_parcel(key, &name, bytes.clone(), now, bound);
        let parcel = Parcel::unpack(bytes, &name, core.seal.as_ref());
        let left = |until: u64| Duration::from_millis(until.saturating_sub(now.1));
        let life =
            |until: fn(&Parcel) -> u64| parcel.as_ref().map_or(Duration::ZERO, |p| left(until(p)));
        let (soft_left, hard_left) = (life(|p| p.soft_millis), life(|p| p.hard_millis));
        let value = parcel.as_ref().and_then(|parcel| {
            let Some(payload) = parcel.payload.clone() else {
                return Some(Summary::of::<V>(None));
            };
            V::decode(payload).map(|value| Summary::of(Some(&value)))
        });
        InRemote {
            value,
            verdict: verdict.map(drop),
            soft_left,
            hard_left,
            ttl,
            stored_bytes,
            label: parcel.as_ref().map(|parcel| parcel.label.clone()),
            tags: parcel.map(|parcel| parcel.tags).unwrap_or_default(),
            name,
        }
    }

    async fn at_source(&self, key: &K) -> Result<AtSource, Error> {
        let began = Instant::now();
        let mut loaded = self.load_aside(std::slice::from_ref(key)).await?;
        let took = began.elapsed();
        let loaded = loaded
            .pop()
            .ok_or_else(|| self.broken("a key was left out"))?;
        Ok(AtSource {
            value: Summary::of(loaded.value.as_ref()),
            label: match loaded.proof {
                Proof::Primary(label) | Proof::Claim(label) => Some(label),
                Proof::None => None,
            },
            took,
        })
    }

    /// What the source has, beside all caches: by no flight, under no lock, and nothing is kept,
    /// stored or counted. It takes its turn like any load, and a source that is away is left alone.
    pub(crate) async fn load_aside(&self, keys: &[K]) -> Result<Vec<Loaded<V>>, Error> {
        let source = self.source();
        if source.breaker.is_open() {
            return Err(Error::Load {
                keyspace: self.name.clone(),
                cause: load::Error::unavailable("it failed a moment ago"),
            });
        }
        let turn = tokio::time::timeout(self.policy.turn_wait, source.loads.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Error::Overloaded {
                keyspace: self.name.clone(),
            });
        };
        let ask = Ask {
            max_staleness: Duration::ZERO,
            tokens: Vec::new(),
        };
        self.call_loader(keys, &ask).await
    }
}
