//! Opening a keyspace, and what its parts share.

use crate::advice::{self, Advice};
use crate::cache::Keyspace;
use crate::check::Audit;
use crate::clock::Stamp;
use crate::digest::Refused;
use crate::entry::{Draft, Entry, Value};
use crate::flight::Flights;
use crate::key::{Key, Tag};
use crate::load::Load;
use crate::local::{Local, weight};
use crate::measure::Measure;
use crate::parcel::Parcel;
use crate::policy::{self, Policy};
use crate::remote::Item;
use crate::snapshot::Label;
use crate::source::{self, Source};
use crate::stats::{Counters, Miss};
use crate::watch::What;
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// Makes a [`Keyspace`].
pub struct KeyspaceBuilder<K, V> {
    source: Source,
    name: String,
    loader: Box<dyn Load<K, V>>,
    policy: Policy,
}

/// Tags on the stack, as long as there are few.
pub(crate) type Tags = SmallVec<[Tag; 8]>;

pub(crate) struct Inner<K: Key, V: Value> {
    pub(crate) source: Source,
    pub(crate) name: Arc<str>,
    pub(crate) tag: Tag,
    /// What the names of its values in the remote tier begin with.
    prefix: String,
    /// The cell of the keyspace's own tag.
    pub(crate) cell: u32,
    pub(crate) policy: Policy,
    pub(crate) loader: Box<dyn Load<K, V>>,
    pub(crate) local: Local<K, V>,
    pub(crate) flights: Arc<Flights<K, V>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) measure: Arc<Measure>,
    pub(crate) audit: Audit,
}

impl<K: Key, V: Value> KeyspaceBuilder<K, V> {
    pub(crate) fn new(source: Source, name: &str, loader: Box<dyn Load<K, V>>) -> Self {
        Self {
            source,
            name: name.to_owned(),
            loader,
            policy: Policy::default(),
        }
    }

    /// What it promises and may spend.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Opens the keyspace, or says which field of its policy makes no sense.
    pub fn open(self) -> Result<Keyspace<K, V>, policy::Invalid> {
        self.policy.check()?;
        let tag = Tag::keyspace(&self.name);
        let name: Arc<str> = self.name.into();
        let counters = Arc::new(Counters::default());
        let measure = Measure::new(self.policy.capacity_bytes, counters.clone());
        let measure = Arc::new(measure);
        let evicted = {
            let (source, name) = (self.source.clone(), name.clone());
            move |key: &K| {
                let key = || Inner::<K, V>::text(key);
                let (core, of) = (&source.0.core, &source.0.name);
                core.tell_watchers(of, Some(&name), || What::Evicted { key: key() });
            }
        };
        let tiers = self.source.0.core.tiers;
        let inner = Arc::new(Inner {
            cell: self.source.0.digest.keyspace(tag),
            tag,
            prefix: self.source.0.core.name(&["v1", &name, ""]),
            local: Local::new(
                &name,
                (&self.policy, tiers),
                counters.clone(),
                measure.clone(),
                evicted,
            ),
            flights: Arc::default(),
            audit: Audit::default(),
            counters,
            measure,
            policy: self.policy,
            loader: self.loader,
            name,
            source: self.source.clone(),
        });
        let weak = Arc::downgrade(&inner);
        self.source.enlist(&inner.name, weak);
        Ok(Keyspace(inner))
    }
}

impl<K: Key, V: Value> Inner<K, V> {
    pub(crate) fn source(&self) -> &source::Inner {
        &self.source.0
    }

    pub(crate) fn now(&self) -> Stamp {
        self.source().core.clock.now()
    }

    /// Somebody asked for this key; this is its entry, if one was found that may be served.
    #[inline]
    pub(crate) fn asked(&self, key: &K, entry: Option<&Entry<V>>) {
        let weight = || entry.map(|entry| weight(entry) as u64);
        self.measure.read(key, weight, || self.now());
    }

    /// Memory did not answer.
    pub(crate) fn missed(&self, key: &K, why: Miss) {
        let evicted = why == Miss::Cold && self.measure.was_evicted(key);
        self.counters
            .miss(if evicted { Miss::Evicted } else { why });
    }

    /// See [`Keyspace::advice`].
    pub(crate) fn advice(&self) -> Advice {
        let (_, used_bytes) = self.local.size();
        let (tally, curve) = self.measure.curve(self.now());
        advice::advise(&self.policy, used_bytes, &tally, &curve)
    }

    pub(crate) fn text(key: &K) -> String {
        let mut text = String::new();
        key.write(&mut text);
        text
    }

    /// The name of a key's value in the remote tier; it ends with the key's text.
    pub(crate) fn remote_name(&self, key: &K) -> String {
        let mut name = String::with_capacity(self.prefix.len() + 24);
        name.push_str(&self.prefix);
        key.write(&mut name);
        name
    }

    /// The key's text in its name in the remote tier.
    pub(crate) fn text_in<'a>(&self, name: &'a str) -> &'a str {
        name.get(self.prefix.len()..).unwrap_or_default()
    }

    pub(crate) fn lock_name(&self, text: &str) -> String {
        self.source().core.name(&["lock", &self.name, text])
    }

    /// All tags of a value: its own, its key's, and at last its keyspace's.
    pub(crate) fn all_tags(&self, key: &K, text: &str, own: &[Tag]) -> Tags {
        let mut implied = Vec::new();
        key.tags(&mut implied);
        let mut tags = Tags::new();
        tags.push(Tag::of(&self.name, text));
        tags.extend(implied);
        tags.extend_from_slice(own);
        tags.sort_unstable();
        tags.dedup();
        tags.retain(|tag| *tag != self.tag);
        tags.push(self.tag);
        tags
    }

    /// When a value stored now expires: `(soft, hard)`, from now, jittered together.
    pub(crate) fn lives(&self, absent: bool) -> (Duration, Duration) {
        let policy = &self.policy;
        let hard = if absent {
            policy.absent_ttl
        } else {
            policy.hard_ttl
        };
        let share = (self.source().core.draw() >> 11) as f64 / (1u64 << 53) as f64;
        let keep = 1.0 - policy.jitter * share;
        let hard = hard.mul_f64(keep);
        (policy.soft_ttl.mul_f64(keep).min(hard), hard)
    }

    /// Judges a parcel that came under this name; a good one becomes an entry. `now`, by both
    /// clocks, must not lie before the call that it answers.
    pub(crate) fn open_parcel(
        &self,
        key: &K,
        name: &str,
        bytes: Bytes,
        (now, wall_millis): (Stamp, u64),
        max_staleness: Duration,
    ) -> Result<Arc<Entry<V>>, Miss> {
        let core = &self.source().core;
        let parcel = Parcel::unpack(bytes, name, core.seal.as_ref());
        let parcel = parcel.ok_or(Miss::RemoteCorrupt)?;
        let value = parcel
            .payload
            .map(|bytes| V::decode(bytes).ok_or(Miss::RemoteCorrupt));
        let value = value.transpose()?;
        let life = |until: u64| Duration::from_millis(until.saturating_sub(wall_millis));
        let (soft, hard) = (life(parcel.soft_millis), life(parcel.hard_millis));
        if hard.is_zero() {
            return Err(Miss::RemoteExpired);
        }
        let tags = self.all_tags(key, self.text_in(name), &parcel.tags);
        let admission = self.source().digest.admit(&parcel.label, &tags);
        let mut admission = admission.map_err(|refused| match refused {
            Refused::Unknown => Miss::RemoteUnproven,
            Refused::Epoch => Miss::RemoteEpoch,
            Refused::Label => Miss::RemoteLabel,
        })?;
        if now.since(admission.proven_at) > max_staleness {
            return Err(Miss::RemoteUnproven);
        }
        // The keyspace's own tag came last; its cell is the keyspace's.
        admission.cells.pop();
        let draft = Draft {
            value,
            captured: admission.captured,
            loaded_at: admission.proven_at,
            cells: admission.cells,
            label: Some((parcel.label.epoch, parcel.label.snapshot.xmin())),
            tags: parcel.tags.into(),
        };
        // Another machine's clock may be wrong; what a policy allows bounds what it can say.
        let (most_soft, most_hard) = (self.policy.soft_ttl, self.policy.hard_ttl);
        let (soft, hard) = (soft.min(most_soft), hard.min(most_hard));
        Ok(Arc::new(draft.until(now.after(soft), now.after(hard))))
    }

    /// An entry as it goes to the remote tier, if it is not too large for it.
    pub(crate) fn item(&self, name: String, entry: &Entry<V>, label: Label) -> Option<Item> {
        let core = &self.source().core;
        let payload = entry.value.as_ref().map(V::encode);
        if payload
            .as_ref()
            .is_some_and(|bytes| bytes.len() > self.policy.largest_bytes)
        {
            return None;
        }
        let (now, wall) = (self.now(), core.wall_millis());
        let left = |until: Stamp| until.since(now);
        let until = |stamp| wall + u64::try_from(left(stamp).as_millis()).unwrap_or(0);
        let parcel = Parcel {
            label,
            tags: entry.tags.to_vec(),
            soft_millis: until(entry.soft_at),
            hard_millis: until(entry.hard_at),
            payload,
        };
        let value = parcel.pack(&name, self.policy.compress_from_bytes, core.seal.as_ref());
        // Redis knows milliseconds, and refuses none at all.
        let ttl = left(entry.hard_at).max(Duration::from_millis(1));
        Some(Item {
            key: name,
            value,
            ttl,
        })
    }
}
