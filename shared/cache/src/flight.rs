//! Single-flight: one load per key and process; whoever else wants the key waits for it.
//!
//! A flight is a shared future that those who wait drive together. When the one that began it
//! goes away, the others carry it on; when all have gone, it is dropped with them, unless the
//! keyspace's policy wants loads finished: then a task of the process waits with them.
//!
//! What a flight brings is not every waiter's answer. Who called after the flight had begun
//! judges its result by the rule, at the time of its own call (see [`Terms::serve`] and
//! `fill.rs`).

use crate::clock::Stamp;
use crate::entry::Entry;
use crate::read::{Error, Origin};
use crate::snapshot::Token;
use crate::trace;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tracing::Span;

/// What a flight promises to those it was begun for.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// No later than the flight's first step.
    pub(crate) began: Stamp,
    /// From the source, whatever lies in the remote tier.
    pub(crate) strong: bool,
    /// A copy in the remote tier will not do if it is past its soft TTL then, or now.
    pub(crate) renew: Option<Stamp>,
    /// What is loaded is in the remote tier before it is an answer.
    pub(crate) stored: bool,
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
        Self {
            entry: self.entry.clone(),
            origin: self.origin,
        }
    }
}

pub(crate) type Landings<V> = Arc<[Result<Landing<V>, Error>]>;

pub(crate) struct Flight<V> {
    pub(crate) terms: Terms,
    /// What its beginner recorded of it, if anything.
    pub(crate) span: Span,
    landings: Shared<BoxFuture<'static, Landings<V>>>,
}

impl<V: Send + Sync + 'static> Flight<V> {
    /// Waits for the flight, driving it where nobody else does. Cancel-safe: who stops waiting
    /// leaves it to the others.
    pub(crate) async fn landings(&self) -> Landings<V> {
        self.landings.clone().await
    }
}

/// What a caller of several keys waits for: some flights, and in which of them each key is.
pub(crate) struct Boarding<V> {
    /// The flights, and whether this caller began them; each once.
    pub(crate) flights: Vec<(Arc<Flight<V>>, bool)>,
    /// For each key, which of the flights carries it, and as which of its keys.
    pub(crate) seats: Vec<(usize, usize)>,
}

impl<V> Boarding<V> {
    fn flight(&mut self, flight: Arc<Flight<V>>, led: bool) -> usize {
        let same = |(known, _): &(Arc<Flight<V>>, bool)| Arc::ptr_eq(known, &flight);
        self.flights.iter().position(same).unwrap_or_else(|| {
            self.flights.push((flight, led));
            self.flights.len() - 1
        })
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
        Self {
            under_way: Mutex::default(),
            next: AtomicU64::new(0),
        }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// A seat for each key: in the flight that is under way for it, or in a new one, begun with
    /// `begin` for all keys that have none. `alone`: a new one for all, which nobody can join.
    pub(crate) fn board<F>(
        self: &Arc<Self>,
        keys: &Arc<[K]>,
        terms: &Terms,
        alone: bool,
        begin: impl FnOnce(Arc<[K]>) -> F,
    ) -> Boarding<V>
    where
        F: Future<Output = Vec<Result<Landing<V>, Error>>> + Send + 'static,
    {
        let mut boarding = Boarding {
            flights: Vec::new(),
            seats: Vec::with_capacity(keys.len()),
        };
        let mut seatless = Vec::new();
        let mut under_way = self.lock();
        for (place, key) in keys.iter().enumerate() {
            let booking = under_way.get(key).filter(|_| !alone);
            let found =
                booking.and_then(|booking| Some((booking.flight.upgrade()?, booking.index)));
            match found {
                Some((flight, index)) => {
                    let flight = boarding.flight(flight, false);
                    boarding.seats.push((flight, index));
                }
                None => {
                    boarding.seats.push((usize::MAX, seatless.len()));
                    seatless.push(place);
                }
            }
        }
        if !seatless.is_empty() {
            let all = seatless.len() == keys.len();
            let some = || seatless.iter().map(|&place| keys[place].clone()).collect();
            let mine: Arc<[K]> = if all { keys.clone() } else { some() };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let booked = if alone { Arc::default() } else { mine.clone() };
            let clear = Clear {
                flights: self.clone(),
                number,
                keys: booked,
            };
            let work = begin(mine.clone());
            let landings = async move {
                let landings = work.await;
                drop(clear);
                landings.into()
            };
            let landings = landings.boxed().shared();
            let flight = Arc::new(Flight {
                terms: terms.clone(),
                span: trace::current(),
                landings,
            });
            if !alone {
                for (index, key) in mine.iter().enumerate() {
                    let flight = Arc::downgrade(&flight);
                    under_way.insert(
                        key.clone(),
                        Booking {
                            number,
                            flight,
                            index,
                        },
                    );
                }
            }
            let led = boarding.flight(flight, true);
            let new = boarding
                .seats
                .iter_mut()
                .filter(|(flight, _)| *flight == usize::MAX);
            new.for_each(|(flight, _)| *flight = led);
        }
        boarding
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    /// Whether a flight is under way for this key.
    pub(crate) fn carries(&self, key: &K) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|booking| booking.flight.strong_count() > 0)
    }
}

impl<K, V> Flights<K, V> {
    fn lock(&self) -> MutexGuard<'_, UnderWay<K, V>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clears the way for the next flight, when this one has landed or everybody has left it.
struct Clear<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    number: u64,
    keys: Arc<[K]>,
}

impl<K: Eq + Hash, V> Drop for Clear<K, V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        for key in self.keys.iter() {
            // A flight that everybody left may have been followed by another already.
            if under_way
                .get(key)
                .is_some_and(|booking| booking.number == self.number)
            {
                under_way.remove(key);
            }
        }
    }
}
