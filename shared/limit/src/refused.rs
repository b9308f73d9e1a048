//! Who was refused, and until when: asking again before that is answered here.

use crate::subject::Subject;
use foldhash::fast::RandomState;
use larder::clock::Stamp;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts with a lock each, so that those who are refused do not wait for each other.
const PARTS: usize = 16;
/// Who is remembered in each part. Whoever is forgotten costs a call to the remote tier.
const MOST: usize = 4096;

/// A bounded memory of refusals.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    parts: [Mutex<HashMap<Subject, Refusal, RandomState>>; PARTS],
    hasher: RandomState,
}

/// When it makes sense to come again, and when all of the burst would be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    pub(crate) until: Stamp,
    pub(crate) reset: Stamp,
}

impl Refused {
    /// The refusal that still holds.
    pub(crate) fn get(&self, subject: &Subject, now: Stamp) -> Option<Refusal> {
        let mut part = self.part(subject);
        let refusal = *part.get(subject)?;
        if now < refusal.until {
            return Some(refusal);
        }
        part.remove(subject);
        None
    }

    /// Remembers one. When there is no room, somebody else is forgotten.
    pub(crate) fn note(&self, subject: Subject, refusal: Refusal) {
        let mut part = self.part(&subject);
        if part.len() >= MOST && !part.contains_key(&subject) {
            let other = part.keys().next().copied();
            other.map(|other| part.remove(&other));
        }
        // Two answers may come in any order: the later moment was granted to nobody earlier.
        let known = part.entry(subject).or_insert(refusal);
        if known.until < refusal.until {
            *known = refusal;
        }
    }

    fn part(&self, subject: &Subject) -> MutexGuard<'_, HashMap<Subject, Refusal, RandomState>> {
        let index = self.hasher.hash_one(subject) as usize % PARTS;
        // A panic under this lock can at worst have forgotten somebody.
        let part = self.parts[index].lock();
        part.unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let parts = self.parts.iter();
        parts
            .map(|part| part.lock().expect("no panics").len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn subject(n: u32) -> Subject {
        Subject::address(Ipv4Addr::from_bits(n).into())
    }

    fn until(nanos: u64) -> Refusal {
        Refusal {
            until: Stamp::from_nanos(nanos),
            reset: Stamp::from_nanos(nanos + 10),
        }
    }

    #[test]
    fn a_refusal_holds_until_its_moment_and_not_longer() {
        let refused = Refused::default();
        refused.note(subject(1), until(100));
        refused.note(subject(1), until(90));
        let get = |n, nanos| refused.get(&subject(n), Stamp::from_nanos(nanos));
        assert_eq!(get(1, 99), Some(until(100)));
        assert_eq!(get(2, 99), None);
        assert_eq!(get(1, 100), None);
        assert_eq!(refused.len(), 0, "what is over is forgotten");
    }

    #[test]
    fn the_memory_of_refusals_does_not_grow_for_ever() {
        let refused = Refused::default();
        for n in 0..200_000 {
            refused.note(subject(n), until(u64::MAX - 10));
            assert!(refused.get(&subject(n), Stamp::from_nanos(1)).is_some());
        }
        assert_eq!(refused.len(), PARTS * MOST);
    }
}
