//! Entries that stay whatever room others want. The local tier keeps what is asked for often; what
//! a crowd is only expected for has not been asked for yet, and would not even be let in.

use crate::entry::{Entry, Value};
use crate::key::Key;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// See the module's documentation.
pub(crate) struct Pins<K, V> {
    /// How many keys are pinned: all that a miss looks at while there are none.
    count: AtomicUsize,
    pinned: RwLock<Pinned<K, V>>,
    /// What entries may weigh together; beyond, a key is as good as not pinned.
    most_bytes: usize,
}

struct Pinned<K, V> {
    keys: HashMap<K, Pin<V>, foldhash::fast::RandomState>,
    bytes: usize,
}

struct Pin<V> {
    holders: usize,
    entry: Option<(Arc<Entry<V>>, usize)>,
}

impl<K: Key, V: Value> Pins<K, V> {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            pinned: RwLock::new(Pinned {
                keys: HashMap::default(),
                bytes: 0,
            }),
            most_bytes,
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// One more holder for each of these.
    pub(crate) fn pin(&self, keys: &[K]) {
        let mut pinned = self.write();
        for key in keys {
            let unheld = || Pin {
                holders: 0,
                entry: None,
            };
            let pin = pinned.keys.entry(key.clone()).or_insert_with(unheld);
            pin.holders += 1;
        }
        self.count.store(pinned.keys.len(), Ordering::Release);
    }

    /// One holder less for each of these; what nobody holds goes.
    pub(crate) fn unpin(&self, keys: &[K]) {
        let mut pinned = self.write();
        for key in keys {
            let Some(pin) = pinned.keys.get_mut(key) else {
                continue;
            };
            pin.holders -= 1;
            if pin.holders == 0 {
                let weight = pin.entry.as_ref().map_or(0, |(_, weight)| *weight);
                pinned.bytes -= weight;
                pinned.keys.remove(key);
            }
        }
        self.count.store(pinned.keys.len(), Ordering::Release);
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        !self.is_empty() && self.read().keys.contains_key(key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<Entry<V>>> {
        if self.is_empty() {
            return None;
        }
        let pinned = self.read();
        let (entry, _) = pinned.keys.get(key)?.entry.as_ref()?;
        Some(entry.clone())
    }

    /// Keeps an entry of a key that is pinned, unless a later one is there. Says whether it is, or
    /// was, kept.
    pub(crate) fn renew(&self, key: &K, entry: &Arc<Entry<V>>, weight: usize) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut pinned = self.write();
        let bytes = pinned.bytes;
        let Some(pin) = pinned.keys.get_mut(key) else {
            return false;
        };
        let (captured, before) = match &pin.entry {
            Some((known, weight)) => (known.captured(), *weight),
            None => (0, 0),
        };
        if captured > entry.captured() {
            return true;
        }
        let bytes = bytes - before;
        let fits = bytes + weight <= self.most_bytes;
        pin.entry = fits.then(|| (entry.clone(), weight));
        pinned.bytes = bytes + if fits { weight } else { 0 };
        fits
    }

    /// Lets the entry of a key go; the key stays pinned, for the next one.
    pub(crate) fn remove(&self, key: &K) {
        if self.is_empty() {
            return;
        }
        let mut pinned = self.write();
        let pin = pinned.keys.get_mut(key);
        let weight = pin.and_then(|pin| pin.entry.take());
        pinned.bytes -= weight.map_or(0, |(_, weight)| weight);
    }

    fn read(&self) -> RwLockReadGuard<'_, Pinned<K, V>> {
        self.pinned.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Pinned<K, V>> {
        self.pinned.write().unwrap_or_else(PoisonError::into_inner)
    }
}
