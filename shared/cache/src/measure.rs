//! What a keyspace notes of its reads, so that somebody can say how well it is cut: which keys are
//! hot.
//!
//! A read in memory pays for it with a count-down and nothing else. Only the few that are
//! [sampled](pace) go further, and they never wait: where somebody else is writing just then, the
//! sample is lost.
//!
//! What counts as a read: every key that `get` or `get_many` was asked for, whatever came of it,
//! those that other processes asked this one for, and what `peek` found. A `peek` that finds
//! nothing is followed by a `get`, which counts. Not counted: what [`Keyspace::warm`] brings,
//! since nobody asked for it, and the parts of a [memo](crate::Memo) that was answered whole,
//! since their keyspaces were not asked.
//!
//! [`Keyspace::warm`]: crate::Keyspace::warm

pub(crate) mod hot;
pub(crate) mod pace;

use crate::clock::Stamp;
use crate::key::Key;
use hot::{Hot, Sketch};
use std::hash::BuildHasher as _;
use std::sync::{Mutex, PoisonError};

/// What one keyspace notes of its reads.
#[derive(Default)]
pub(crate) struct Measure {
    hasher: foldhash::quality::RandomState,
    hot: Mutex<Sketch>,
}

impl Measure {
    /// A key was asked for.
    #[inline]
    pub(crate) fn read<K: Key>(&self, key: &K, now: impl FnOnce() -> Stamp) {
        if let Some(reads) = pace::sampled() {
            self.note(key, reads, now());
        }
    }

    #[cold]
    fn note<K: Key>(&self, key: &K, reads: u32, now: Stamp) {
        let hash = self.hasher.hash_one(key);
        if let Ok(mut hot) = self.hot.try_lock() {
            hot.note(hash, u64::from(reads), now, |text| key.write(text));
        }
    }

    /// The keys that were read most, at most this many: see [`Hot`].
    pub(crate) fn hot(&self, most: usize, now: Stamp) -> Vec<Hot> {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        hot.hottest(most, now)
    }
}
