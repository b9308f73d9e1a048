//! What a hub holds: bounded, oldest out first.

use super::Limits;
use crate::clock::Stamp;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

#[derive(Clone, Debug)]
struct Slot {
    value: Bytes,
    expires: Stamp,
    /// Its place in the order of being set.
    place: u64,
}

/// Values with a life, in the order in which they were set.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    limits: Limits,
    slots: HashMap<String, Slot>,
    order: BTreeMap<u64, String>,
    next_place: u64,
    size_bytes: usize,
}

impl Shelf {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            slots: HashMap::new(),
            order: BTreeMap::new(),
            next_place: 0,
            size_bytes: 0,
        }
    }

    pub(super) fn entries(&self) -> usize {
        self.slots.len()
    }

    /// The value, if its life is not over.
    pub(super) fn get(&mut self, key: &str, now: Stamp) -> Option<&Bytes> {
        if self.slots.get(key)?.expires <= now {
            self.remove(key);
        }
        self.slots.get(key).map(|slot| &slot.value)
    }

    /// When the value's life is over.
    pub(super) fn expires(&self, key: &str) -> Option<Stamp> {
        self.slots.get(key).map(|slot| slot.expires)
    }

    /// Keeps the value, and drops what was set longest ago when there is no room.
    pub(super) fn set(&mut self, key: &str, value: Bytes, expires: Stamp) {
        self.remove(key);
        let place = self.next_place;
        self.next_place += 1;
        self.size_bytes += key.len() + value.len();
        self.order.insert(place, key.to_owned());
        self.slots.insert(
            key.to_owned(),
            Slot {
                value,
                expires,
                place,
            },
        );
        while self.size_bytes > self.limits.size_bytes || self.slots.len() > self.limits.entries {
            let Some((_, oldest)) = self.order.first_key_value() else {
                return;
            };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(slot) = self.slots.remove(key) {
            self.size_bytes -= key.len() + slot.value.len();
            self.order.remove(&slot.place);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_longest_ago_makes_room() {
        let mut shelf = Shelf::new(Limits {
            size_bytes: 30,
            entries: 3,
        });
        let late = Stamp::from_nanos(u64::MAX);
        for key in ["a", "b", "c", "d"] {
            shelf.set(key, Bytes::from_static(b"12345"), late);
        }
        assert_eq!(shelf.get("a", Stamp::NEVER), None);
        shelf.set("e", Bytes::from(vec![0; 20]), late);
        assert_eq!(shelf.get("c", Stamp::NEVER), None);
        assert!(shelf.get("d", Stamp::NEVER).is_some());
        shelf.set("f", Bytes::from(vec![0; 31]), late);
        assert_eq!((shelf.entries(), shelf.size_bytes), (0, 0));
    }
}
