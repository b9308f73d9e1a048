//! Whether copies say what the source says.
//!
//! A copy may be behind its source, by up to Δ, and be right: the rule allows it. So a difference
//! alone proves nothing. Four steps, in this order, tell a wrong copy from an old one:
//!
//! 1. The copies are fetched, from memory and from the remote tier.
//! 2. The source is read, on its primary, beside all caches.
//! 3. Where a copy differs, a round is taken that is asked for now. Its snapshot shows everything
//!    that the read of step 2 saw, and so everything that any copy of step 1 reflects.
//! 4. The copies are judged again. A write between a copy and step 2 is in the round, has hit the
//!    copy's cells, and the rule refuses it: the difference is explained. A copy that the rule
//!    would still serve reflects everything in the round that concerns it; nothing that concerns
//!    it happened since, or it would not reflect it. It is what the source had in step 2, then, or
//!    it is wrong.
//!
//! What is wrong came from outside of the protocol: a value planted in the remote tier, bits that
//! flipped, a row changed while its trigger was missing, tags that a loader forgot. It is dropped.
//! A copy in the remote tier may have spread into other processes, so its key is moved everywhere
//! through the journal as well.
//!
//! Where step 2 was not answered by the primary itself, but by a standby or another service, that
//! answer is a claim like any other, and must pass the test of labels in step 4 too. A source
//! without a feed proves nothing, and nothing is said of its copies.

use crate::entry::{Entry, Value};
use crate::inspect::Summary;
use crate::key::Key;
use crate::keyspace::Inner;
use crate::load::{Loaded, Proof};
use crate::parcel::Parcel;
use crate::remote::Remote as _;
use crate::watch::What;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// In this process's memory.
    L1,
    /// In the remote tier.
    L2,
}

impl Tier {
    /// The word for it in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "l1",
            Self::L2 => "l2",
        }
    }
}

/// What a check says of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The key's text.
    pub key: String,
    /// What was found.
    pub finding: Finding,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// Every copy says what the source says, or there is none.
    Same,
    /// A copy differs, and would not be served any more.
    Explained,
    /// The source did not answer, or nothing is proven.
    Undecided,
    /// These copies would be served and are wrong.
    Inconsistent(Vec<Wrong>),
}

/// A copy that would be served and is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// Where it is.
    pub tier: Tier,
    /// What it says.
    pub cached: Summary,
    /// What the source says.
    pub actual: Summary,
    /// It was dropped.
    pub repaired: bool,
}

/// What the checks of a keyspace have found so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checks {
    /// Keys without a difference.
    pub same: u64,
    /// Keys with a difference that the rule explains.
    pub explained: u64,
    /// Keys of which nothing could be said.
    pub undecided: u64,
    /// Wrong copies in this process's memory.
    pub inconsistent_l1: u64,
    /// Wrong copies in the remote tier.
    pub inconsistent_l2: u64,
}

/// The counters behind [`Checks`].
#[derive(Default)]
pub(crate) struct Audit {
    same: AtomicU64,
    explained: AtomicU64,
    undecided: AtomicU64,
    inconsistent_l1: AtomicU64,
    inconsistent_l2: AtomicU64,
}

impl Audit {
    pub(crate) fn read(&self) -> Checks {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Checks {
            same: read(&self.same),
            explained: read(&self.explained),
            undecided: read(&self.undecided),
            inconsistent_l1: read(&self.inconsistent_l1),
            inconsistent_l2: read(&self.inconsistent_l2),
        }
    }

    fn note(&self, finding: &Finding) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match finding {
            Finding::Same => _ = add(&self.same),
            Finding::Explained => _ = add(&self.explained),
            Finding::Undecided => _ = add(&self.undecided),
            Finding::Inconsistent(wrong) => wrong.iter().for_each(|wrong| {
                add(match wrong.tier {
                    Tier::L1 => &self.inconsistent_l1,
                    Tier::L2 => &self.inconsistent_l2,
                });
            }),
        }
    }
}

/// The copies of one key, as they were found.
struct Copies<V> {
    name: String,
    l1: Option<Arc<Entry<V>>>,
    l2: Option<Bytes>,
}

/// Checks these keys; see the module's documentation.
pub(crate) async fn check<K: Key, V: Value>(
    keyspace: &Inner<K, V>,
    keys: &[K],
    repair: bool,
) -> Vec<Checked> {
    if keys.is_empty() {
        return Vec::new();
    }
    let copies = keyspace.copies(keys).await;
    let mut findings: Vec<Finding> = match keyspace.load_aside(keys).await {
        Ok(loaded) => keyspace.compare(keys, &copies, loaded).await,
        Err(_) => keys.iter().map(|_| Finding::Undecided).collect(),
    };
    for ((key, copies), finding) in keys.iter().zip(&copies).zip(&mut findings) {
        if let Finding::Inconsistent(wrong) = finding {
            if repair {
                keyspace.repair(key, &copies.name, wrong).await;
            }
            keyspace.announce(key, wrong);
        }
        keyspace.audit.note(finding);
    }
    let checked = |(key, finding)| Checked {
        key: Inner::<K, V>::text(key),
        finding,
    };
    keys.iter().zip(findings).map(checked).collect()
}

impl<K: Key, V: Value> Inner<K, V> {
    /// Step 1. A remote tier that does not answer serves nothing either.
    async fn copies(&self, keys: &[K]) -> Vec<Copies<V>> {
        let l1: Vec<_> = keys.iter().map(|key| self.local.get(key)).collect();
        let names: Vec<String> = keys.iter().map(|key| self.remote_name(key)).collect();
        let remote = self.source().core.remote.get(&names).await;
        let mut l2 = remote.unwrap_or_default().into_iter();
        let copies = names.into_iter().zip(l1);
        copies
            .map(|(name, l1)| Copies {
                name,
                l1,
                l2: l2.next().flatten(),
            })
            .collect()
    }

    /// Steps 3 and 4, after the source was read.
    async fn compare(
        &self,
        keys: &[K],
        copies: &[Copies<V>],
        loaded: Vec<Loaded<V>>,
    ) -> Vec<Finding> {
        let actual: Vec<Summary> = loaded
            .iter()
            .map(|loaded| Summary::of(loaded.value.as_ref()))
            .collect();
        let differing: Vec<Vec<(Tier, Summary)>> = copies
            .iter()
            .zip(&actual)
            .map(|(copies, actual)| self.differing(copies, actual))
            .collect();
        let all_same = differing.iter().all(Vec::is_empty);
        let proven = all_same || self.source.prove().await.is_ok();
        let mut findings = Vec::with_capacity(keys.len());
        for (index, differing) in differing.into_iter().enumerate() {
            let (key, copies, actual) = (&keys[index], &copies[index], actual[index]);
            findings.push(if differing.is_empty() {
                Finding::Same
            } else if !proven || !self.vouches(key, copies, &loaded[index]) {
                Finding::Undecided
            } else {
                let served = differing
                    .into_iter()
                    .filter(|(tier, _)| self.serves(key, copies, *tier));
                let wrong: Vec<Wrong> = served
                    .map(|(tier, cached)| Wrong {
                        tier,
                        cached,
                        actual,
                        repaired: false,
                    })
                    .collect();
                match wrong.is_empty() {
                    true => Finding::Explained,
                    false => Finding::Inconsistent(wrong),
                }
            });
        }
        findings
    }

    /// The copies that say something else. One that cannot be read is never served.
    fn differing(&self, copies: &Copies<V>, actual: &Summary) -> Vec<(Tier, Summary)> {
        let l1 = copies
            .l1
            .as_ref()
            .map(|entry| Summary::of(entry.value.as_ref()));
        let seal = self.source().core.seal.as_ref();
        let parcel = copies.l2.clone();
        let parcel = parcel.and_then(|bytes| Parcel::unpack(bytes, &copies.name, seal));
        let l2 = parcel.and_then(|parcel| match parcel.payload {
            Some(bytes) => V::decode(bytes).map(|value| Summary::of(Some(&value))),
            None => Some(Summary::of::<V>(None)),
        });
        let both = [(Tier::L1, l1), (Tier::L2, l2)];
        let both = both
            .into_iter()
            .filter_map(|(tier, cached)| Some((tier, cached?)));
        both.filter(|(_, cached)| !cached.agrees(actual)).collect()
    }

    /// Whether what the source said in step 2 reflects all that a copy which is served does.
    fn vouches(&self, key: &K, copies: &Copies<V>, loaded: &Loaded<V>) -> bool {
        let digest = &self.source().digest;
        match &loaded.proof {
            Proof::Primary(label) => digest.epoch() == Some(label.epoch),
            Proof::Claim(label) => {
                let tags = self.all_tags(key, self.text_in(&copies.name), &loaded.tags);
                digest.admit(label, &tags).is_ok()
            }
            Proof::None => false,
        }
    }

    fn serves(&self, key: &K, copies: &Copies<V>, tier: Tier) -> bool {
        let now = self.now();
        match tier {
            Tier::L1 => {
                let served = |entry: &Arc<Entry<V>>| self.would_serve(entry, now).0.is_ok();
                copies.l1.as_ref().is_some_and(served)
            }
            Tier::L2 => {
                let now = (now, self.source().core.wall_millis());
                let bound = self.policy.max_staleness;
                let taken = |bytes: Bytes| self.open_parcel(key, &copies.name, bytes, now, bound);
                copies.l2.clone().is_some_and(|bytes| taken(bytes).is_ok())
            }
        }
    }

    /// Drops what is wrong: first where others would take it from.
    async fn repair(&self, key: &K, name: &str, wrong: &mut [Wrong]) {
        let remote = wrong.iter().any(|wrong| wrong.tier == Tier::L2);
        let removed = if remote {
            let names = [name.to_owned()];
            self.source().core.remote.remove(&names).await.is_ok()
        } else {
            false
        };
        self.local.remove(key);
        if remote {
            // A source that takes no lines is another service's, which is checked there.
            let line = crate::feed::Line {
                collection: self.name.to_string(),
                key: self.text_in(name).to_owned(),
            };
            let _ = self.source.invalidate(&[line]).await;
        }
        for wrong in wrong {
            wrong.repaired = wrong.tier == Tier::L1 || removed;
        }
    }

    fn announce(&self, key: &K, wrong: &[Wrong]) {
        let text = Self::text(key);
        for wrong in wrong {
            tracing::warn!(
                cache.keyspace = &*self.name,
                cache.tier = wrong.tier.name(),
                cache.key = text,
                repaired = wrong.repaired,
                "a copy that would have been served says something else than the source"
            );
            self.tell_watchers(|| What::Inconsistent {
                key: text.clone(),
                tier: wrong.tier,
            });
        }
    }
}
