//! A keyspace without its types: what its source, its operator, and other services know of it.

use crate::advice::Advice;
use crate::cache::Keyspace;
use crate::entry::Value;
use crate::key::{Key, Tag};
use crate::keyspace::Inner;
use crate::load;
use crate::measure::hot::Hot;
use crate::operate::Operate;
use crate::read::{Answer, Error, Origin, Read};
use crate::snapshot::Label;
use crate::stats::Stats;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// A value as one process tells it to another, with the label of what it shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The value's bytes; `None` is a known absence.
    pub payload: Option<Bytes>,
    /// What it depends on beside its keyspace and its key.
    pub tags: Vec<Tag>,
    /// What it reflects; `None` where that is not known.
    pub label: Option<Label>,
}

/// A keyspace without its types, as its source and its operator know it.
pub trait AnyKeyspace: Operate {
    /// Its name.
    fn name(&self) -> &str;

    /// Its counters.
    fn stats(&self) -> Stats;

    /// The keys that were read most in this process lately, at most so many, the hottest first.
    fn hot(&self, most: usize) -> Vec<Hot>;

    /// How well its capacity fits what is read, and why reads miss.
    fn advice(&self) -> Advice;

    /// Reads by the text of the keys, for another process: each answer with its label. A text
    /// that is no key of this keyspace is told as an absence without a label.
    fn tell(
        self: Arc<Self>,
        keys: Vec<String>,
        read: Read,
    ) -> BoxFuture<'static, Result<Vec<Told>, Error>>;

    /// Takes a value that another process pushed, if its label passes the test.
    fn admit(&self, key: &str, parcel: Bytes);
}

impl<K: Key, V: Value> Keyspace<K, V> {
    /// What can be said of an answer to another process: the snapshot that it reflects.
    ///
    /// The value reflects its own label. If it has not moved, it also reflects all that the
    /// digest's coverage shows (`coverage` was noted before this looks at the cells), which is
    /// more, for a value that was loaded long ago.
    fn told(&self, answer: &Answer<V>, coverage: Option<&Label>) -> Told {
        let inner = &*self.0;
        let entry = &answer.entry;
        let digest = &inner.source().digest;
        let own = entry.weak_label();
        let still = coverage
            .filter(|_| !digest.moved(inner.cell, &entry.cells, entry.captured()))
            .filter(|_| own.is_some());
        let label = match (own, still) {
            (Some(own), Some(still)) if own.snapshot.xmin() < still.snapshot.xmin() => {
                Some(still.clone())
            }
            (own, _) => own,
        };
        Told {
            payload: answer.value().map(V::encode),
            tags: entry.tags.to_vec(),
            label,
        }
    }
}

impl<K: Key, V: Value> AnyKeyspace for Inner<K, V> {
    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        (stats.entries, stats.bytes) = self.local.size();
        stats
    }

    fn hot(&self, most: usize) -> Vec<Hot> {
        self.measure.hot(most, self.now())
    }

    fn advice(&self) -> Advice {
        Inner::advice(self)
    }

    fn tell(
        self: Arc<Self>,
        keys: Vec<String>,
        read: Read,
    ) -> BoxFuture<'static, Result<Vec<Told>, Error>> {
        let keyspace = Keyspace(self);
        let told = async move {
            let coverage = keyspace.0.source().digest.coverage();
            let coverage = coverage.map(|coverage| Label {
                epoch: coverage.epoch,
                snapshot: coverage.snapshot,
            });
            let parsed: Vec<Option<K>> = keys.iter().map(|key| K::parse(key)).collect();
            let known: Vec<K> = parsed.iter().flatten().cloned().collect();
            let answers = keyspace.get_many(&known, &read).await?;
            // It has no label, and the asker could not tell it from a value that was just loaded:
            // better its own last value, whose age it knows.
            // Test: `a_last_value_is_not_told_to_another_process`.
            if answers.iter().any(|answer| answer.origin == Origin::Stale) {
                return Err(Error::Load {
                    keyspace: keyspace.0.name.clone(),
                    cause: load::Error::unavailable("there are only last values, past their bound"),
                });
            }
            let mut answers = answers.into_iter();
            let nothing = || Told {
                payload: None,
                tags: Vec::new(),
                label: None,
            };
            let told = parsed.iter().map(|key| {
                let answer = key.as_ref().and_then(|_| answers.next());
                answer.map_or_else(nothing, |a| keyspace.told(&a, coverage.as_ref()))
            });
            Ok(told.collect())
        };
        told.boxed()
    }

    fn admit(&self, key: &str, parcel: Bytes) {
        let Some(parsed) = K::parse(key) else { return };
        let name = self.remote_name(&parsed);
        let now = (self.now(), self.source().core.wall_millis());
        match self.open_parcel(&parsed, &name, parcel, now, self.policy.max_staleness) {
            Ok(entry) => self.local.insert(parsed, entry),
            Err(miss) => self.counters.miss(miss),
        }
    }
}
