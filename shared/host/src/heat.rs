//! Warm starts: replicas tell each other which keys are read most, and one that starts has those
//! in memory before it says that it is ready.
//!
//! **Share.** Every few seconds ([`Timing::share`]) and when it ends, a replica writes for each
//! keyspace of its service's own source which keys were read most, with how often, to the remote
//! tier: at most [`KEYS`] keys, [`RECORD_BYTES`] bytes, for [`LIFE`]. It writes to one of
//! [`SLOTS`] names, drawn once at its start, so that all lists are read in one round trip and
//! those of replicas that have ended are still there for the next. Where two replicas drew the
//! same slot, the last list stands.
//!
//! **Warm.** A replica whose keyspaces are open and whose source is proven reads all slots, adds
//! the counts up, and fills memory with the hottest [`WARMED`] keys of each keyspace, the hottest
//! of all first, [`BATCH`] at a time. That is a read as any other: from the remote tier, and from
//! the source for what is not there, with the locks and bounds that loads have. It ends after
//! [`Timing::warm`], when memory is full, or at the first failure of a keyspace for that keyspace;
//! then the gate `warming` opens, whatever came of it. Where there are no lists there is nothing
//! to wait for.
//!
//! A list is a hint and is not believed: what is no list, is too long or is of another version is
//! passed over whole; a text that is no key is left out; and whoever can write lists can have a
//! replica load keys that nobody wants, so many and so long, and nothing else. A keyspace whose
//! loads are heavy computations ([`sampled`](larder::Policy::sampled) is off) is neither told nor
//! warmed.

use crate::base::Base;
use crate::open::jittered;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::future::join_all;
use larder::AnyKeyspace;
use larder::remote::{self, Item, Remote as _};
use larder_runtime::readiness::Gate;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

#[cfg(doc)]
use crate::parts::Timing;

/// How often a replica tells which keys are read most.
pub(crate) const SHARE_EVERY: Duration = Duration::from_secs(5);

/// Names that the lists of one keyspace are written to.
const SLOTS: u8 = 8;
/// How long a list stays.
const LIFE: Duration = Duration::from_secs(3600);
/// Keys of one list.
const KEYS: usize = 1000;
/// Bytes of one list.
const RECORD_BYTES: usize = 64 << 10;
/// A key whose text is longer is not listed.
const KEY_BYTES: usize = 1024;
/// Keys of one keyspace that are warmed.
const WARMED: usize = 2000;
/// Keys that are warmed at a time, of all keyspaces together.
const BATCH: usize = 64;
/// The first byte of a list.
const VERSION: u8 = 1;

/// What one replica tells and hears.
#[derive(Clone)]
pub(crate) struct Heat {
    base: Base,
    namespace: String,
    /// Where this replica's lists go.
    slot: u8,
}

/// A key that is to be warmed, and how often replicas read it.
struct Wanted {
    reads: u64,
    /// Its keyspace's place among those that are warmed.
    keyspace: usize,
    key: String,
}

impl Heat {
    pub(crate) fn of(base: &Base, namespace: &str) -> Self {
        Self {
            base: base.clone(),
            namespace: namespace.to_owned(),
            slot: rand::random_range(0..SLOTS),
        }
    }

    /// Tells until the process ends, and once more then.
    pub(crate) fn share_every(&self, interval: Duration) {
        let heat = self.clone();
        let stopping = heat.base.tasks().stopping().clone();
        // Held, because the source does not: at the end the server that did is gone already.
        let keyspaces = heat.keyspaces();
        self.base.tasks().spawn("share hot keys", async move {
            loop {
                let pause = tokio::time::sleep(jittered(interval));
                let goes_on = stopping.run_until_cancelled(pause).await.is_some();
                if let Err(error) = heat.share(&keyspaces).await {
                    // The next list says the same and more.
                    tracing::debug!(error = %error, "hot keys could not be told");
                }
                if !goes_on {
                    break;
                }
            }
        });
    }

    async fn share(&self, keyspaces: &[Arc<dyn AnyKeyspace>]) -> Result<(), remote::Error> {
        let mut items = Vec::new();
        for keyspace in keyspaces {
            let hot = keyspace.hot(KEYS);
            // What was surely read so often: a key that has just taken a counter over is not hot.
            let hot = hot.iter().map(|hot| {
                let reads = hot.reads.saturating_sub(hot.error).max(1);
                (hot.key.as_str(), reads)
            });
            if let Some(value) = encode(hot) {
                items.push(Item {
                    key: self.name(&**keyspace, self.slot),
                    value,
                    ttl: LIFE,
                });
            }
        }
        if items.is_empty() || !self.base.larder().tiers().remote() {
            return Ok(());
        }
        self.base.larder().remote().set(&items).await
    }

    /// Warms, at most so long, and opens the gate.
    pub(crate) async fn warm(&self, limit: Duration, gate: &Gate) {
        gate.shut("what is read most is brought into memory");
        let (began, warmed) = (Instant::now(), AtomicUsize::new(0));
        let known = AtomicUsize::new(0);
        let work = self.warm_all(&warmed, &known);
        let in_time = tokio::time::timeout(limit, work).await.is_ok();
        let (warmed, known) = (warmed.into_inner(), known.into_inner());
        if known > 0 {
            tracing::info!(
                warm.keys = warmed,
                warm.of = known,
                warm.took_ms = began.elapsed().as_millis() as u64,
                warm.in_time = in_time,
                "warmed"
            );
        }
        gate.open();
    }

    /// Counts the keys as they come: it may be dropped at any moment.
    async fn warm_all(&self, warmed: &AtomicUsize, known: &AtomicUsize) {
        let keyspaces = self.keyspaces();
        let wanted = match self.wanted(&keyspaces).await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::info!(error = %error, "not warmed: the hot keys could not be asked for");
                return;
            }
        };
        known.store(wanted.len(), Ordering::Relaxed);
        let mut going = vec![true; keyspaces.len()];
        for batch in wanted.chunks(BATCH) {
            let each = keyspaces.iter().enumerate().map(|(place, keyspace)| {
                let of_it = batch.iter().filter(|wanted| wanted.keyspace == place);
                let keys: Vec<_> = of_it.map(|wanted| wanted.key.clone()).collect();
                let goes_on = going[place] && (keys.is_empty() || has_room(&**keyspace));
                async move {
                    if !goes_on || keys.is_empty() {
                        return goes_on;
                    }
                    match keyspace.clone().warm(keys).await {
                        Ok(done) => {
                            warmed.fetch_add(done.found + done.absent, Ordering::Relaxed);
                            true
                        }
                        Err(error) => {
                            let keyspace = keyspace.name();
                            tracing::info!(cache.keyspace = keyspace, error = %error, "warming ended");
                            false
                        }
                    }
                }
            });
            going = join_all(each).await;
            if !going.contains(&true) {
                return;
            }
        }
    }

    /// The hottest keys by what all lists say together, the hottest first.
    async fn wanted(
        &self,
        keyspaces: &[Arc<dyn AnyKeyspace>],
    ) -> Result<Vec<Wanted>, remote::Error> {
        let larder = self.base.larder();
        if keyspaces.is_empty() || !larder.tiers().memory() || !larder.tiers().remote() {
            return Ok(Vec::new());
        }
        let slots = |keyspace| (0..SLOTS).map(move |slot| self.name(keyspace, slot));
        let names: Vec<_> = keyspaces
            .iter()
            .flat_map(|keyspace| slots(&**keyspace))
            .collect();
        let lists = larder.remote().get(&names).await?;
        let mut wanted = Vec::new();
        for (place, lists) in lists.chunks(SLOTS.into()).enumerate() {
            let of_it = merge(lists.iter().flatten()).into_iter().take(WARMED);
            wanted.extend(of_it.filter_map(|(key, reads)| {
                // What is no key of it any more is not counted as one that could not be warmed.
                keyspaces.get(place)?.line(&key).ok()?;
                Some(Wanted {
                    reads,
                    keyspace: place,
                    key,
                })
            }));
        }
        wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.reads));
        Ok(wanted)
    }

    /// Those of the service's own source whose loads are not too heavy to be made unasked.
    fn keyspaces(&self) -> Vec<Arc<dyn AnyKeyspace>> {
        let mut keyspaces = self.base.source().keyspaces();
        keyspaces.retain(|keyspace| keyspace.policy().sampled);
        keyspaces
    }

    fn name(&self, keyspace: &dyn AnyKeyspace, slot: u8) -> String {
        let (namespace, source) = (&self.namespace, keyspace.source().name());
        format!("{namespace}:heat:{source}:{}:{slot}", keyspace.name())
    }
}

/// Whether more would not push out what was brought in before, which is hotter.
fn has_room(keyspace: &dyn AnyKeyspace) -> bool {
    keyspace.stats().bytes < keyspace.policy().capacity_bytes / 10 * 9
}

/// A list, of as many of these as fit; none of nothing. After the version, for each key: how often it
/// was read in four bytes, the length of its text in two, and its text.
fn encode<'a>(hot: impl Iterator<Item = (&'a str, u64)>) -> Option<Bytes> {
    let mut list = BytesMut::from(&[VERSION][..]);
    for (key, reads) in hot.filter(|(key, _)| key.len() <= KEY_BYTES).take(KEYS) {
        if list.len() + 6 + key.len() > RECORD_BYTES {
            break;
        }
        list.put_u32(u32::try_from(reads).unwrap_or(u32::MAX));
        list.put_u16(key.len() as u16);
        list.put_slice(key.as_bytes());
    }
    (list.len() > 1).then(|| list.freeze())
}

/// What a list says; `None` if it is none of ours.
fn decode(list: &Bytes) -> Option<Vec<(&str, u64)>> {
    let mut rest: &[u8] = list;
    if rest.len() > RECORD_BYTES || rest.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut hot = Vec::new();
    while !rest.is_empty() {
        let (reads, length) = (rest.try_get_u32().ok()?, rest.try_get_u16().ok()?);
        let (text, behind) = rest.split_at_checked(length.into())?;
        if text.len() > KEY_BYTES || hot.len() == KEYS {
            return None;
        }
        hot.push((std::str::from_utf8(text).ok()?, reads.into()));
        rest = behind;
    }
    Some(hot)
}

/// All that these lists say, the hottest first.
fn merge<'a>(lists: impl Iterator<Item = &'a Bytes>) -> Vec<(String, u64)> {
    let mut reads = HashMap::new();
    for (key, more) in lists.filter_map(decode).flatten() {
        // At most so many lists of four bytes each: a sum does not overflow.
        *reads.entry(key).or_insert(0) += more;
    }
    let mut merged: Vec<_> = reads
        .into_iter()
        .map(|(key, sum)| (key.to_owned(), sum))
        .collect();
    merged.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_what_was_told_and_counts_of_replicas_add_up() {
        let one = encode([("tea", 7), ("pot", 3), ("", 1)].into_iter()).expect("a list");
        let other = encode([("pot", 5), ("lid", u64::MAX)].into_iter()).expect("a list");
        assert_eq!(decode(&one), Some(vec![("tea", 7), ("pot", 3), ("", 1)]));
        let merged = merge([&one, &other].into_iter());
        let most = u64::from(u32::MAX);
        let expected = [("lid", most), ("pot", 8), ("tea", 7), ("", 1)];
        assert_eq!(merged, expected.map(|(key, reads)| (key.to_owned(), reads)));
        assert_eq!(encode([].into_iter()), None);
    }

    #[test]
    fn a_list_is_bounded_in_keys_and_in_bytes() {
        let keys: Vec<_> = (0..5000).map(|n| format!("{n}")).collect();
        let list = encode(keys.iter().map(|key| (key.as_str(), 1))).expect("a list");
        assert_eq!(decode(&list).map(|hot| hot.len()), Some(KEYS));
        let keys: Vec<_> = (0..KEYS).map(|n| format!("{n:>1000}")).collect();
        let list = encode(keys.iter().map(|key| (key.as_str(), 1))).expect("a list");
        assert!(list.len() <= RECORD_BYTES && list.len() > RECORD_BYTES - 1100);
        assert_eq!(decode(&list).map(|hot| hot.len()), Some(65));
        let long = "x".repeat(KEY_BYTES + 1);
        let list = encode([(long.as_str(), 9), ("tea", 1)].into_iter()).expect("a list");
        assert_eq!(decode(&list), Some(vec![("tea", 1)]));
    }

    #[test]
    fn what_is_no_list_is_passed_over_whole() {
        let list = encode([("tea", 7), ("pot", 3)].into_iter()).expect("a list");
        for length in 0..list.len() {
            // Where a cut leaves whole keys, it is a shorter list.
            let whole = length == 1 || length == 10;
            assert_eq!(decode(&list.slice(..length)).is_some(), whole, "{length}");
        }
        let mut newer = list.to_vec();
        newer[0] = VERSION + 1;
        let mut no_text = list.to_vec();
        no_text[7] = 0xff;
        let long = vec![VERSION; RECORD_BYTES + 1];
        let many: Vec<u8> = std::iter::once(VERSION)
            .chain([0; 6 * (KEYS + 1)])
            .collect();
        for garbage in [newer, no_text, long, many, b"not a list at all".to_vec()] {
            assert_eq!(decode(&garbage.into()), None);
        }
    }
}
