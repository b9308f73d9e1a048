//! Keys that a crowd is expected for: kept in this process's memory, filled ahead, and written so
//! that no reader has to load them.
//!
//! A write to a key that is pinned, seen from a reader on another process:
//!
//! 1. The writer takes the key's advisory lock, and only then commits.
//! 2. A round here brings the write. The reader's copy has moved, the remote tier's is refused,
//!    and the lock is taken: the reader waits for a value, instead of loading it.
//! 3. The writer loads the row, stores it, and then sends it with its hint.
//! 4. The reader takes it from the remote tier. Whoever reads after the hint has it in memory.
//!
//! While other transactions are under way, the label of what was loaded in step 3 shows too little
//! for the round that follows: it moves the copy a second time, and the label cannot rescue it. So
//! the writer loads again, still behind the lock, until its label does, or until every process has
//! had its round. Test: `pinned.rs`, `a_write_to_a_pinned_key_makes_no_reader_load`.

use crate::behind::Behind;
use crate::cache::Keyspace;
use crate::entry::{Entry, Value};
use crate::feed::Written;
use crate::held::Held;
use crate::hint::{MOST_PUSHED, Pushed};
use crate::key::Key;
use crate::keyspace::Inner;
use crate::operate::Warmed;
use crate::parcel::Parcel;
use crate::read::{Error, Read};
use crate::remote::{self, Remote as _};
use crate::snapshot::Token;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Keys that are filled at a time.
const FILL_BATCH: usize = 256;
/// After these pauses a writer looks whether what it stored is good for good. Together they leave
/// every process the time for a round or two, and stay below the default life of a lock.
const SETTLE: [u64; 6] = [10, 20, 40, 80, 160, 320];

/// Keeps some keys in this process's memory until it is dropped.
pub struct Pinned<K: Key, V: Value> {
    keyspace: Keyspace<K, V>,
    keys: Arc<[K]>,
}

impl<K: Key, V: Value> Pinned<K, V> {
    /// Which.
    pub fn keys(&self) -> &Arc<[K]> {
        &self.keys
    }
}

impl<K: Key, V: Value> Drop for Pinned<K, V> {
    fn drop(&mut self) {
        self.keyspace.0.local.unpin(&self.keys);
    }
}

/// A write that is about to be made: see [`Keyspace::writing`].
pub struct Writing<K: Key, V: Value> {
    keyspace: Keyspace<K, V>,
    keys: Vec<K>,
    /// Where some of the keys are pinned: the locks that could be had.
    held: Option<Held<K, V>>,
}

impl<K: Key, V: Value> Keyspace<K, V> {
    /// Keeps these keys in this process's memory, whatever room others want, until the answer is
    /// dropped. It loads nothing: see [`fill`](Self::fill). Entries that are kept so may weigh as
    /// much as the keyspace's capacity, beside it; what does not fit is as if it were not pinned.
    pub fn pin(&self, keys: Arc<[K]>) -> Pinned<K, V> {
        self.0.local.pin(&keys);
        Pinned {
            keyspace: self.clone(),
            keys,
        }
    }

    /// Sees to it that all these keys are in this process's memory, good now, and not to be renewed
    /// before `lasting` is over: from the remote tier, else from the source. What is there already
    /// costs a look.
    ///
    /// `lasting` is cut to what a value that was just loaded can promise, by the policy.
    pub async fn fill(&self, keys: &[K], lasting: Duration) -> Result<Warmed, Error> {
        let mut filled = Warmed::default();
        for batch in keys.chunks(FILL_BATCH) {
            let mut wanted = Vec::new();
            for key in batch {
                match self.lasts(key, lasting) {
                    Some(entry) => count(&mut filled, &entry),
                    None => wanted.push(key.clone()),
                }
            }
            if wanted.is_empty() {
                continue;
            }
            let read = Read::bounded();
            let mut terms = self.terms(&read);
            terms.renew = Some(self.0.now().after(self.promised(lasting, false)));
            let answers = self.fetch(wanted.clone().into(), &read, terms).await;
            for (key, answer) in wanted.into_iter().zip(answers) {
                let entry = answer?.entry;
                // Many at once are put into memory behind the answer; here that is what was asked
                // for. What may not be kept has expired.
                if self.0.now() < entry.hard_at && self.0.local.keep(key, &entry) {
                    count(&mut filled, &entry);
                }
            }
        }
        Ok(filled)
    }

    /// What memory has for a key, if it is good for so long.
    fn lasts(&self, key: &K, lasting: Duration) -> Option<Arc<Entry<V>>> {
        let inner = &self.0;
        let entry = inner.local.get(key)?;
        let now = inner.now();
        let lasting = self.promised(lasting, entry.value.is_none());
        self.verdict(&entry, &Read::bounded(), now).ok()?;
        (now.after(lasting) < entry.soft_at).then_some(entry)
    }

    /// A little less than the life of a value, or an absence, that was just loaded.
    fn promised(&self, lasting: Duration, absent: bool) -> Duration {
        let policy = &self.0.policy;
        let life = if absent {
            policy.absent_ttl.min(policy.soft_ttl)
        } else {
            policy.soft_ttl
        };
        lasting.min(life.mul_f64(0.8 * (1.0 - policy.jitter)))
    }

    /// To be called before the transaction that writes these keys, and told by
    /// [`Writing::wrote`] what it wrote; dropped where it wrote nothing. For keys that are not
    /// pinned this is [`Keyspace::wrote`]; for those that are, no reader will load them.
    pub async fn writing(&self, keys: &[K]) -> Writing<K, V> {
        let pinned = keys.iter().any(|key| self.0.local.is_pinned(key));
        let pinned = pinned && self.0.source().core.tiers.remote();
        Writing {
            keyspace: self.clone(),
            keys: keys.to_vec(),
            held: match pinned {
                true => Some(self.hold(keys).await),
                false => None,
            },
        }
    }

    /// Takes those of these keys' advisory locks that are free.
    async fn hold(&self, keys: &[K]) -> Held<K, V> {
        let core = &self.0.source().core;
        let owner = core.draw();
        let lock = |key: &K| self.0.lock_name(&Inner::<K, V>::text(key));
        let locks: Vec<String> = keys.iter().map(lock).collect();
        let life = self.0.policy.lock_wait.max(Duration::from_millis(1));
        let mut won = core.remote.lock(&locks, owner, life).await;
        if won.is_err() {
            // Away, or late. In the first case nobody is kept waiting.
            let again = core.remote.lock(&locks, owner, life).await;
            if matches!(won, Err(remote::Error::BreakerOpen)) {
                won = again;
            }
        }
        Held::new(&self.0, owner, locks, &won)
    }
}

impl<K: Key, V: Value> Writing<K, V> {
    /// As [`Keyspace::wrote`], and to be run in the same way.
    pub async fn wrote(self, written: Option<Written>) -> Option<Token> {
        let Self {
            keyspace,
            keys,
            held,
        } = self;
        let Some(held) = held else {
            return keyspace.wrote(&keys, written).await;
        };
        let written = written?;
        let source = keyspace.source().clone();
        source.apply_own(&written);
        let put = keyspace.put(&keys, &written).await;
        let commit = written.clone();
        let token = source.announce(written, put.pushed).await;
        if !put.settled {
            source.0.core.spawn_behind(Behind::Load, async move {
                keyspace.settle(&keys, &commit).await;
                drop(held);
            });
        }
        Some(token)
    }
}

fn count<V>(filled: &mut Warmed, entry: &Entry<V>) {
    match entry.value {
        Some(_) => filled.found += 1,
        None => filled.absent += 1,
    }
}

/// What became of loading keys that were written.
struct Put {
    /// The small ones, as they lie in the remote tier, whole labels and all.
    pushed: Vec<Pushed>,
    /// Whether all of them lie there, and their labels show that nothing which is known or under
    /// way now can move them a second time.
    settled: bool,
}

impl<K: Key, V: Value> Keyspace<K, V> {
    /// Loads these keys into both tiers, the remote one first, and looks what lies there.
    async fn put(&self, keys: &[K], written: &Written) -> Put {
        let read = Read::strong();
        let mut terms = self.terms(&read);
        terms.stored = true;
        // One that could not be loaded is missing below.
        let _ = self.fetch(keys.into(), &read, terms).await;
        let names: Vec<String> = keys.iter().map(|key| self.0.remote_name(key)).collect();
        let core = &self.0.source().core;
        let values = core.remote.get(&names).await.unwrap_or_default();
        let clears = |(name, value): (&String, &Option<Bytes>)| {
            let parcel = Parcel::unpack(value.clone()?, name, core.seal.as_ref())?;
            Some(parcel.label.snapshot.xmin() > written.xid)
        };
        let settled = values.len() == keys.len()
            && names
                .iter()
                .zip(&values)
                .all(|pair| clears(pair) == Some(true));
        let small = |parcel: &Bytes| parcel.len() <= self.0.policy.push_bytes;
        let pairs = keys.iter().zip(values);
        let pushed = pairs.filter_map(|(key, parcel)| {
            Some(Pushed {
                keyspace: self.0.name.to_string(),
                key: Inner::<K, V>::text(key),
                parcel: parcel.filter(small)?,
            })
        });
        let pushed = pushed.take(MOST_PUSHED).collect();
        Put { pushed, settled }
    }

    /// Loads again until the labels show enough, and sends the others what came of it.
    async fn settle(&self, keys: &[K], written: &Written) {
        let mut pushed = Vec::new();
        for pause in SETTLE.map(Duration::from_millis) {
            tokio::time::sleep(pause).await;
            let put = self.put(keys, written).await;
            pushed = put.pushed;
            if put.settled {
                break;
            }
        }
        self.source().spread(pushed).await;
    }
}
