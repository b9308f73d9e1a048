//! What was made of several cached answers, such as a rendered page of rows from two services,
//! kept for as long as every one of them holds.
//!
//! A result that composes several sources is never an entry of its own, since no single label
//! could tell what it reflects. A memo keeps the answers it was made of instead, and judges each
//! of them by the rule whenever it is asked: a look at a few cells for each part.

use crate::cache::Keyspace;
use crate::clock::{Clock, Stamp};
use crate::entry::Value;
use crate::key::Key;
use crate::read::{Answer, Freshness, Read};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

/// One answer that something was made of.
pub struct Part(Box<Still>);

/// How old an answer is, if it may be given again at a moment to such a read.
type Still = dyn Fn(&Read, Stamp) -> Option<Duration> + Send + Sync;

impl<K: Key, V: Value> Keyspace<K, V> {
    /// The answer, as a part of something that is made of it.
    pub fn part(&self, answer: &Answer<V>) -> Part {
        let (keyspace, answer) = (self.clone(), answer.clone());
        Part(Box::new(move |read, now| {
            keyspace.still(&answer, read, now)
        }))
    }
}

/// See the module's documentation. Clones are handles to the same one.
pub struct Memo<K, R> {
    clock: Clock,
    made: moka::sync::Cache<K, Arc<Made<R>>, foldhash::fast::RandomState>,
}

impl<K, R> Clone for Memo<K, R> {
    fn clone(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            made: self.made.clone(),
        }
    }
}

struct Made<R> {
    result: R,
    parts: Box<[Part]>,
    result_bytes: usize,
}

impl<K, R> Memo<K, R>
where
    K: Eq + Hash + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new(clock: Clock, capacity_bytes: u64) -> Self {
        let weigh = |_: &K, made: &Arc<Made<R>>| {
            let bytes = made.result_bytes + made.parts.len() * 128 + 256;
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let made = moka::sync::Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(weigh);
        Self {
            clock,
            made: made.build_with_hasher(foldhash::fast::RandomState::default()),
        }
    }

    /// What was made for this key, if all of its parts would still be answers to `read`; `take`
    /// is given it and how far behind its sources it can be. Only a bounded read is answered from
    /// a memo.
    pub fn get<T>(&self, key: &K, read: &Read, take: impl FnOnce(&R, Duration) -> T) -> Option<T> {
        if matches!(read.freshness, Freshness::Strong | Freshness::Any) {
            return None;
        }
        let made = self.made.get(key)?;
        let now = self.clock.now();
        let mut oldest = Duration::ZERO;
        for part in &made.parts {
            oldest = oldest.max((part.0)(read, now)?);
        }
        Some(take(&made.result, oldest))
    }

    /// Keeps what was made of these parts; `result_bytes` is what it takes in memory.
    pub fn put(&self, key: K, parts: Vec<Part>, result: R, result_bytes: usize) {
        self.made.insert(
            key,
            Arc::new(Made {
                result,
                parts: parts.into(),
                result_bytes,
            }),
        );
    }
}
