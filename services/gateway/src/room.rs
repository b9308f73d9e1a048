//! The room that the bodies of requests take: so many bytes in all, each from when it is waited for
//! until its request is answered.
//!
//! A body counts with what it may become, before it is there. Where there is no room for one more,
//! those that are not there yet are given up, the oldest first: whoever is slow makes way for those who
//! are not. Where even that is not enough, the newcomer is turned away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What a request takes beside its body, so that small ones have a bound, too.
const BESIDE: usize = 4 << 10;

/// The room. Clones are of the same one.
#[derive(Clone, Debug)]
pub struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    taken: Mutex<Taken>,
}

/// What is taken of it.
#[derive(Default, Debug)]
struct Taken {
    /// By those whose body is there.
    arrived: usize,
    /// By those whose body is not.
    waited_for: usize,
    next: u64,
    /// Those whose body is not there, the oldest first. Each is given up when its sender is dropped.
    waiting: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

/// There is no room, and nobody to make way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// The room of one body. To drop it is to leave.
#[derive(Debug)]
pub struct Place {
    room: Room,
    number: u64,
    bytes: usize,
    given_up: Option<oneshot::Receiver<()>>,
}

impl Room {
    /// With so many bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            taken: Mutex::default(),
        }))
    }

    /// Takes room for a body of at most so many bytes, which is not there yet.
    pub fn enter(&self, bytes: usize) -> Result<Place, Full> {
        let bytes = bytes.saturating_add(BESIDE);
        let mut taken = self.taken();
        if taken.arrived.saturating_add(bytes) > self.0.most {
            return Err(Full);
        }
        while taken.arrived + taken.waited_for + bytes > self.0.most {
            let (_, (freed, _)) = taken.waiting.pop_first().ok_or(Full)?;
            taken.waited_for -= freed;
        }
        let number = taken.next;
        taken.next += 1;
        taken.waited_for += bytes;
        let (goes_on, given_up) = oneshot::channel();
        taken.waiting.insert(number, (bytes, goes_on));
        Ok(Place {
            room: self.clone(),
            number,
            bytes,
            given_up: Some(given_up),
        })
    }

    /// Whole whatever happened to whoever held it.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until this one is to make way. Cancel-safe.
    pub async fn given_up(&mut self) {
        match &mut self.given_up {
            Some(given_up) => drop(given_up.await),
            None => std::future::pending().await,
        }
    }

    /// The body is there: from now on it makes way for nobody.
    pub fn arrived(&mut self) {
        let mut taken = self.room.taken();
        if taken.waiting.remove(&self.number).is_some() {
            taken.waited_for -= self.bytes;
        }
        taken.arrived += self.bytes;
        drop(taken);
        self.given_up = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        if self.given_up.is_none() {
            taken.arrived -= self.bytes;
        } else if taken.waiting.remove(&self.number).is_some() {
            taken.waited_for -= self.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const MIB: usize = 1 << 20;

    fn is_given_up(place: &mut Place) -> bool {
        place.given_up().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_that_is_not_there_makes_way_and_whatever_is_left_is_free_again() {
        let room = Room::new(4 * (MIB + BESIDE));
        let mut places: Vec<_> = (0..4).map(|_| room.enter(MIB).expect("room")).collect();
        places[0].arrived();
        let mut small = room.enter(10).expect("room");
        let gone: Vec<_> = places.iter_mut().map(is_given_up).collect();
        assert_eq!(gone, [false, true, false, false]);
        assert!(!is_given_up(&mut small));
        drop((places, small));
        let taken = room.taken();
        assert_eq!((taken.arrived, taken.waited_for), (0, 0));
        assert!(taken.waiting.is_empty());
    }

    #[test]
    fn what_is_there_makes_no_way_and_gives_nobody_up_in_vain() {
        let room = Room::new(2 * (MIB + BESIDE));
        let mut there = room.enter(MIB).expect("room");
        there.arrived();
        let mut waiting = room.enter(MIB).expect("room");
        assert_eq!(room.enter(2 * MIB).err(), Some(Full));
        assert!(!is_given_up(&mut waiting));
        drop(there);
        assert!(room.enter(2 * MIB - BESIDE).is_ok());
        assert!(is_given_up(&mut waiting));
    }

    #[test]
    fn one_that_comes_just_as_it_is_given_up_still_counts() {
        let room = Room::new(MIB + BESIDE);
        let mut first = room.enter(MIB).expect("room");
        let second = room.enter(10).expect("room");
        first.arrived();
        drop((first, second));
        let taken = room.taken();
        assert_eq!((taken.arrived, taken.waited_for), (0, 0));
    }
}
