//! The handle that callers hold, and the rule by which memory answers.

use crate::advice::Advice;
use crate::clock::Stamp;
use crate::entry::{Entry, Value};
use crate::judge::{self, Verdict};
use crate::key::Key;
use crate::keyspace::Inner;
use crate::measure::hot::Hot;
use crate::read::{Answer, Error, Freshness, Origin, Read};
use crate::source::Source;
use crate::stats::{Miss, Outcome, Stats};
use crate::trace;
use futures_util::FutureExt as _;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Keys that `warm` loads at a time.
const WARM_BATCH: usize = 256;

/// A family of keys with one policy and one source. Clones are handles to the same one.
pub struct Keyspace<K: Key, V: Value>(pub(crate) Arc<Inner<K, V>>);

impl<K: Key, V: Value> Clone for Keyspace<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// What memory has for a key.
enum Look<V> {
    Hit(Answer<V>),
    /// A good copy past its soft TTL.
    Soft(Answer<V>),
    /// Nothing, for this reason, which is not counted yet.
    Miss(Miss),
}

impl<V> Look<V> {
    #[inline]
    fn entry(&self) -> Option<&Entry<V>> {
        match self {
            Self::Hit(answer) | Self::Soft(answer) => Some(&answer.entry),
            Self::Miss(_) => None,
        }
    }
}

impl<K: Key, V: Value> Keyspace<K, V> {
    /// The value of a key, from wherever `read` allows; loaded where nobody has it.
    ///
    /// Cancel-safe: a load that others wait for too goes on without this caller.
    #[inline]
    pub async fn get(&self, key: &K, read: &Read) -> Result<Answer<V>, Error> {
        let look = self.look(key, read);
        self.0.asked(key, look.entry());
        match look {
            Look::Hit(answer) => {
                trace::hit(&self.0.name, &answer.origin);
                Ok(answer)
            }
            // Boxed, so that a hit does not carry the frame of a miss.
            Look::Soft(copy) => {
                self.clone()
                    .soft(key.clone(), copy, read.clone())
                    .boxed()
                    .await
            }
            Look::Miss(why) => {
                self.0.missed(key, why);
                self.clone().miss(key.clone(), read.clone()).boxed().await
            }
        }
    }

    /// The value of a key if this process's memory may answer, without waiting for anything; no
    /// miss is counted.
    #[inline]
    pub fn peek(&self, key: &K, read: &Read) -> Option<Answer<V>> {
        match self.look(key, read) {
            Look::Hit(answer) => {
                self.0.asked(key, Some(&answer.entry));
                trace::hit(&self.0.name, &answer.origin);
                Some(answer)
            }
            Look::Soft(_) | Look::Miss(_) => None,
        }
    }

    /// The values of these keys, in their order: one round trip to the remote tier and one load
    /// for all that memory does not have. Fails whole if one of them fails.
    pub async fn get_many(&self, keys: &[K], read: &Read) -> Result<Vec<Answer<V>>, Error> {
        self.bring(keys, read, true).await
    }

    /// As [`Keyspace::get_many`]; unless they were `asked` for, nothing of it is measured.
    pub(crate) async fn bring(
        &self,
        keys: &[K],
        read: &Read,
        asked: bool,
    ) -> Result<Vec<Answer<V>>, Error> {
        let mut answers: Vec<Option<Answer<V>>> = Vec::with_capacity(keys.len());
        // The keys that memory lacks, each once, and for each place that lacks one which it is.
        let mut wanted: Vec<K> = Vec::new();
        let mut known = HashMap::with_hasher(foldhash::fast::RandomState::default());
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let look = self.look(key, read);
            if asked {
                self.0.asked(key, look.entry());
            }
            let found = match look {
                Look::Hit(answer) => Some(answer),
                Look::Soft(copy) => {
                    self.renew_behind(key);
                    self.0.counters.read(Outcome::L1);
                    Some(copy)
                }
                Look::Miss(why) => {
                    self.0.missed(key, why);
                    let which = *known.entry(key).or_insert(wanted.len());
                    if which == wanted.len() {
                        wanted.push(key.clone());
                    }
                    places.push((place, which));
                    None
                }
            };
            answers.push(found);
        }
        if !asked {
            self.0
                .measure
                .unasked(keys.len() - places.len(), places.len());
        }
        if !wanted.is_empty() {
            let fetched = self
                .fetch(wanted.into(), read, self.terms(read))
                .boxed()
                .await;
            let fetched = fetched.into_iter().collect::<Result<Vec<_>, _>>()?;
            for (place, which) in places {
                answers[place] = Some(fetched[which].clone());
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Fills memory with these keys, in batches; says how many of them have a value.
    pub async fn warm(&self, keys: &[K]) -> Result<usize, Error> {
        let mut found = 0;
        for batch in keys.chunks(WARM_BATCH) {
            let answers = self.bring(batch, &Read::bounded(), false).await?;
            found += answers
                .iter()
                .filter(|answer| answer.value().is_some())
                .count();
        }
        Ok(found)
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.0.counters.snapshot();
        (stats.entries, stats.bytes) = self.0.local.size();
        stats
    }

    /// The keys that were read most in this process lately, at most so many, the hottest first.
    pub fn hot(&self, most: usize) -> Vec<Hot> {
        self.0.measure.hot(most, self.0.now())
    }

    /// How well its capacity fits what is read, and why reads miss.
    pub fn advice(&self) -> Advice {
        self.0.advice()
    }

    /// The keyspace's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The source that it belongs to.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// Whether an answer that was given before may be given again at `now`, and how old it is: the
    /// rule, for whoever keeps what was made of answers.
    pub(crate) fn still(&self, answer: &Answer<V>, read: &Read, now: Stamp) -> Option<Duration> {
        let age = self.verdict(&answer.entry, read, now).ok()?;
        (now < answer.entry.soft_at).then_some(age)
    }

    #[inline]
    fn look(&self, key: &K, read: &Read) -> Look<V> {
        let inner = &*self.0;
        let Some(entry) = inner.local.get(key) else {
            return Look::Miss(Miss::Cold);
        };
        let now = inner.now();
        match self.verdict(&entry, read, now) {
            Ok(age) if now < entry.soft_at => {
                inner.counters.read(Outcome::L1);
                Look::Hit(Answer {
                    entry,
                    origin: Origin::L1,
                    age,
                })
            }
            Ok(age) => Look::Soft(Answer {
                entry,
                origin: Origin::L1,
                age,
            }),
            Err(miss) => self.refused(entry, miss, read, now),
        }
    }

    /// The rule, for an entry in memory.
    #[inline]
    pub(crate) fn verdict(
        &self,
        entry: &Entry<V>,
        read: &Read,
        now: Stamp,
    ) -> Result<Duration, Miss> {
        let inner = &*self.0;
        let digest = &inner.source().digest;
        let max_staleness = match read.freshness {
            Freshness::Bounded | Freshness::Any => inner.policy.max_staleness,
            Freshness::Within(bound) => bound,
            Freshness::Strong => return Err(Miss::Strong),
        };
        if now >= entry.soft_at && now >= entry.hard_at {
            return Err(Miss::Expired);
        }
        // In this order: what a token's coverage and the proof vouch for is in the cells that are
        // looked at after them.
        if !read.tokens.iter().all(|token| digest.covers(token)) {
            return Err(Miss::Token);
        }
        let proven_at = digest.proven_at();
        let moved = || digest.moved(inner.cell, &entry.cells, entry.captured());
        let moved = moved() && (!self.rescue(entry) || moved());
        match judge::verdict(now, entry.loaded_at, proven_at, moved, max_staleness) {
            Verdict::Fresh(age) => Ok(age),
            Verdict::Moved => Err(Miss::Moved),
            Verdict::Unproven(_) => Err(Miss::Unproven),
        }
    }

    #[cold]
    fn rescue(&self, entry: &Entry<V>) -> bool {
        let inner = &*self.0;
        let Some((epoch, xmin)) = entry.label else {
            return false;
        };
        let digest = &inner.source().digest;
        let Some(seq) = digest.rescue(epoch, xmin, inner.cell, &entry.cells) else {
            return false;
        };
        entry.recapture(seq);
        inner.counters.rescued();
        true
    }

    /// An entry that the rule refuses: for a caller who takes anything it will do, marked.
    #[cold]
    fn refused(&self, entry: Arc<Entry<V>>, miss: Miss, read: &Read, now: Stamp) -> Look<V> {
        if read.freshness == Freshness::Any && !read.never_stale && miss != Miss::Expired {
            self.0.counters.miss(miss);
            return Look::Hit(self.stale(entry, now));
        }
        Look::Miss(miss)
    }

    pub(crate) fn stale(&self, entry: Arc<Entry<V>>, now: Stamp) -> Answer<V> {
        self.0.counters.read(Outcome::Stale);
        let digest = &self.0.source().digest;
        let proven_at = digest.proven_at();
        let moved = digest.moved(self.0.cell, &entry.cells, entry.captured());
        // A proof says nothing of an entry that moved: it was true when it was loaded.
        let proven_at = if moved { Stamp::NEVER } else { proven_at };
        let age = judge::age(now, entry.loaded_at, proven_at);
        Answer {
            entry,
            origin: Origin::Stale,
            age,
        }
    }
}
