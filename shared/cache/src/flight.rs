//! Single-flight: one load per key and process; whoever else wants the key waits for it.
//!
//! A flight is a shared future that those who wait drive together. When the one that began it
//! goes away, the others carry it on; when all have gone, it is dropped with them.
//!
//! What a flight brings is not every waiter's answer. Who called after the flight had begun
//! judges its result by the rule, at the time of its own call (see [`Terms::serve`] and
//! `fill.rs`).

use crate::clock::Stamp;
use crate::entry::Entry;
use crate::read::{Error, Origin};
use crate::snapshot::Token;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What a flight promises to those it was begun for.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// No later than the flight's first step.
    pub(crate) began: Stamp,
    /// From the source, whatever lies in the remote tier.
    pub(crate) strong: bool,
    /// A copy in the remote tier past its soft TTL will not do.
    pub(crate) renew: bool,
    pub(crate) max_staleness: Duration,
    pub(crate) tokens: Vec<Token>,
}

impl Terms {
    /// Whether the result of a flight with these terms is an answer for a call with those terms,
    /// whatever happened since: it began after the call, and promised as much.
    pub(crate) fn serve(&self, call: &Terms) -> bool {
        self.began > call.began
            && self.strong >= call.strong
            && self.max_staleness <= call.max_staleness
            && call.tokens.iter().all(|token| self.tokens.contains(token))
    }
}

/// What a flight brought for one key.
pub(crate) struct Landing<V> {
    pub(crate) entry: Arc<Entry<V>>,
    pub(crate) origin: Origin,
}

impl<V> Clone for Landing<V> {
    fn clone(&self) -> Self {
        Self { entry: self.entry.clone(), origin: self.origin }
    }
}

pub(crate) type Landings<V> = Arc<[Result<Landing<V>, Error>]>;

pub(crate) struct Flight<V> {
    pub(crate) terms: Terms,
    landings: Shared<BoxFuture<'static, Landings<V>>>,
}

/// A place in a flight: the flight, and which of its keys.
pub(crate) struct Seat<V> {
    flight: Arc<Flight<V>>,
    index: usize,
    /// Whether this caller began the flight.
    pub(crate) led: bool,
}

impl<V: Send + Sync + 'static> Seat<V> {
    pub(crate) fn terms(&self) -> &Terms {
        &self.flight.terms
    }

    /// Waits for the flight, driving it where nobody else does. Cancel-safe: who stops waiting
    /// leaves it to the others.
    pub(crate) async fn landing(&self) -> Result<Landing<V>, Error> {
        self.flight.landings.clone().await[self.index].clone()
    }
}

/// The flights under way, by key.
pub(crate) struct Flights<K, V> {
    under_way: Mutex<UnderWay<K, V>>,
    next: AtomicU64,
}

type UnderWay<K, V> = HashMap<K, Booking<V>, foldhash::fast::RandomState>;

/// Which flight a key is on, and as which of its keys.
struct Booking<V> {
    number: u64,
    flight: Weak<Flight<V>>,
    index: usize,
}

impl<K: Clone + Eq + Hash, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { under_way: Mutex::default(), next: AtomicU64::new(0) }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A seat for each key: in the flight that is under way for it, or in a new one, begun with
    /// `begin` for all keys that have none. `alone`: a new one for all, which nobody can join.
    pub(crate) fn board(
        self: &Arc<Self>,
        keys: &[K],
        terms: &Terms,
        alone: bool,
        begin: impl FnOnce(Vec<K>) -> BoxFuture<'static, Vec<Result<Landing<V>, Error>>>,
    ) -> Vec<Seat<V>> {
        let mut seats: Vec<Option<Seat<V>>> = Vec::with_capacity(keys.len());
        let mut under_way = self.lock();
        for key in keys {
            let found = under_way.get(key).filter(|_| !alone);
            let found = found.and_then(|booking| Some((booking.flight.upgrade()?, booking.index)));
            seats.push(found.map(|(flight, index)| Seat { flight, index, led: false }));
        }
        let seatless = || keys.iter().zip(&seats).filter(|(_, seat)| seat.is_none());
        let mine: Vec<K> = seatless().map(|(key, _)| key.clone()).collect();
        if !mine.is_empty() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let booked = if alone { Vec::new() } else { mine.clone() };
            let landings = self.landings(number, booked.clone(), begin(mine));
            let flight = Arc::new(Flight { terms: terms.clone(), landings });
            for (index, key) in booked.into_iter().enumerate() {
                let flight = Arc::downgrade(&flight);
                under_way.insert(key, Booking { number, flight, index });
            }
            for (index, seat) in seats.iter_mut().filter(|seat| seat.is_none()).enumerate() {
                *seat = Some(Seat { flight: flight.clone(), index, led: true });
            }
        }
        // Outside of the lock from here: dropping a flight's last seat takes it.
        drop(under_way);
        seats.into_iter().flatten().collect()
    }

    fn landings(
        self: &Arc<Self>,
        number: u64,
        keys: Vec<K>,
        work: BoxFuture<'static, Vec<Result<Landing<V>, Error>>>,
    ) -> Shared<BoxFuture<'static, Landings<V>>> {
        let clear = Clear { flights: self.clone(), number, keys };
        let landings = async move {
            let landings = work.await;
            drop(clear);
            landings.into()
        };
        landings.boxed().shared()
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    /// Whether a flight is under way for this key.
    pub(crate) fn carries(&self, key: &K) -> bool {
        self.lock().get(key).is_some_and(|booking| booking.flight.strong_count() > 0)
    }
}

impl<K, V> Flights<K, V> {
    fn lock(&self) -> MutexGuard<'_, UnderWay<K, V>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clears the way for the next flight, when this one has landed or everybody has left it.
struct Clear<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    number: u64,
    keys: Vec<K>,
}

impl<K: Eq + Hash, V> Drop for Clear<K, V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        for key in &self.keys {
            // A flight that everybody left may have been followed by another already.
            if under_way.get(key).is_some_and(|booking| booking.number == self.number) {
                under_way.remove(key);
            }
        }
    }
}
