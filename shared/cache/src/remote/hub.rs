//! The remote tier inside one process: what a laptop and the tests use.
//!
//! It keeps the promises of Redis and, when told to, breaks them as Redis may: see [`Faults`].
//! Several caches on one `Arc<Hub>` stand to each other as several processes on one Redis.

mod shelf;

use super::outlet::Outlet;
use super::{Error, Event, Item, Rate, Remote, Throttled};
use crate::clock::{Clock, Stamp};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use shelf::Shelf;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How much a hub keeps. What was set longest ago is dropped for what comes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Keys and values together.
    pub size_bytes: usize,
    /// Values and locks.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes: 64 << 20,
            entries: 200_000,
        }
    }
}

/// What a hub does wrong. Nothing, by default; nothing is random.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Every call fails, and subscribers are told `Down`.
    pub down: bool,
    /// Calls hang until it is false again.
    pub slow: bool,
    /// Every so many-th message is lost without a word: 1 is all of them, 0 none.
    pub lose_every: u64,
    /// Every so many-th message arrives twice.
    pub double_every: u64,
    /// Messages are held back until it is false again.
    pub hold: bool,
    /// Those that were held back then arrive last first.
    pub reverse: bool,
    /// Every so many-th value that is set is gone at once.
    pub forget_every: u64,
}

/// What a hub knew at some time, for [`Hub::restore`].
#[derive(Clone, Debug)]
pub struct Dump(Shelf);

/// Values, advisory locks and hints in memory.
#[derive(Debug)]
pub struct Hub {
    clock: Clock,
    inner: Mutex<Inner>,
    slow: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    shelf: Shelf,
    outlets: HashMap<String, Vec<Arc<Outlet>>>,
    faults: Faults,
    held: VecDeque<(String, Bytes)>,
    published: u64,
    stored: u64,
}

/// Held messages beyond which the oldest are lost.
const MOST_HELD: usize = 10_000;

impl Hub {
    /// An empty hub on the machine's clock.
    pub fn new() -> Arc<Self> {
        Self::with(Clock::machine(), Limits::default())
    }

    /// An empty hub. Lives of values and locks are measured by `clock`.
    pub fn with(clock: Clock, limits: Limits) -> Arc<Self> {
        let inner = Inner {
            shelf: Shelf::new(limits),
            outlets: HashMap::new(),
            faults: Faults::default(),
            held: VecDeque::new(),
            published: 0,
            stored: 0,
        };
        Arc::new(Self {
            clock,
            inner: Mutex::new(inner),
            slow: watch::channel(false).0,
        })
    }

    /// Does this wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        let mut inner = self.inner();
        inner.faults = faults;
        for outlet in inner.outlets.values().flatten() {
            outlet.link(!faults.down);
        }
        if !faults.hold {
            let mut held = std::mem::take(&mut inner.held);
            if faults.reverse {
                held.make_contiguous().reverse();
            }
            for (channel, message) in held {
                inner.deliver(&channel, &message);
            }
        }
        drop(inner);
        self.slow.send_replace(faults.slow);
    }

    /// Forgets all values and locks, as FLUSHALL and a restart do.
    pub fn clear(&self) {
        self.inner().shelf.clear();
    }

    /// What it knows now.
    pub fn dump(&self) -> Dump {
        Dump(self.inner().shelf.clone())
    }

    /// Knows what it knew at the dump and nothing else, as after a restart from an old one:
    /// values that were since replaced or removed are back, if their life is not over.
    pub fn restore(&self, dump: &Dump) {
        self.inner().shelf = dump.0.clone();
    }

    /// Values and locks that it holds, also those whose life is over and that nobody asked for.
    pub fn entries(&self) -> usize {
        self.inner().shelf.entries()
    }

    /// Does `work` when the hub is neither slow nor down.
    async fn call<T>(&self, work: impl FnOnce(&mut Inner, Stamp) -> T) -> Result<T, Error> {
        loop {
            {
                let mut inner = self.inner();
                if !inner.faults.slow {
                    if inner.faults.down {
                        return Err(Error::Failed(Arc::new(Away)));
                    }
                    return Ok(work(&mut inner, self.clock.now()));
                }
            }
            // The hub holds the sender.
            let _ = self.slow.subscribe().wait_for(|slow| !slow).await;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock can at worst have lost a value or a message.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn set(&mut self, item: &Item, now: Stamp) {
        self.stored += 1;
        if is_nth(self.stored, self.faults.forget_every) {
            self.shelf.remove(&item.key);
        } else {
            self.shelf
                .set(&item.key, item.value.clone(), now.after(item.ttl));
        }
    }

    /// The state is kept as Redis keeps it: the microseconds as a number in text.
    fn throttle(&mut self, key: &str, rate: &Rate, wanted: u32, now: Stamp) -> Throttled {
        let now_micros = now.as_nanos() / 1_000;
        let state = self.shelf.get(key, now);
        let arrival = state.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let (throttled, arrival) = rate.pass(arrival, now_micros, wanted);
        if throttled.granted > 0 {
            let state = Bytes::from(arrival.to_string());
            self.shelf.set(key, state, now.after(throttled.reset_after));
        }
        throttled
    }

    fn publish(&mut self, channel: &str, message: &Bytes) {
        self.published += 1;
        if is_nth(self.published, self.faults.lose_every) {
            return;
        }
        let times = 1 + u8::from(is_nth(self.published, self.faults.double_every));
        for _ in 0..times {
            if self.faults.hold {
                self.held.push_back((channel.to_owned(), message.clone()));
            } else {
                self.deliver(channel, message);
            }
        }
        while self.held.len() > MOST_HELD {
            self.held.pop_front();
        }
    }

    fn deliver(&mut self, channel: &str, message: &Bytes) {
        let Some(outlets) = self.outlets.get_mut(channel) else {
            return;
        };
        outlets.retain(|outlet| !outlet.is_closed());
        for outlet in outlets.iter() {
            outlet.send(message.clone());
        }
        if outlets.is_empty() {
            self.outlets.remove(channel);
        }
    }
}

fn is_nth(count: u64, every: u64) -> bool {
    every != 0 && count.is_multiple_of(every)
}

#[derive(Debug, thiserror::Error)]
#[error("the hub was told to be down")]
struct Away;

impl Remote for Hub {
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(self.call(move |inner, now| {
            keys.iter()
                .map(|key| inner.shelf.get(key, now).cloned())
                .collect()
        }))
    }

    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(move |inner, now| items.iter().for_each(|item| inner.set(item, now))))
    }

    fn lives<'a>(
        &'a self,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Duration>>, Error>> {
        Box::pin(self.call(move |inner, now| {
            let life = |key: &String| {
                let left = inner.shelf.expires(key)?.since(now);
                (!left.is_zero()).then_some(left)
            };
            keys.iter().map(life).collect()
        }))
    }

    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(move |inner, _| keys.iter().for_each(|key| inner.shelf.remove(key))))
    }

    fn lock<'a>(
        &'a self,
        keys: &'a [String],
        owner: u64,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(self.call(move |inner, now| {
            let mut take = |key: &String| {
                let free = inner.shelf.get(key, now).is_none();
                if free {
                    inner
                        .shelf
                        .set(key, Bytes::from(owner.to_string()), now.after(ttl));
                }
                free
            };
            keys.iter().map(&mut take).collect()
        }))
    }

    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(move |inner, now| {
            let owner = owner.to_string();
            for key in keys {
                if inner.shelf.get(key, now).is_some_and(|held| *held == owner) {
                    inner.shelf.remove(key);
                }
            }
        }))
    }

    fn throttle<'a>(
        &'a self,
        key: &'a str,
        rate: &'a Rate,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Throttled, Error>> {
        Box::pin(self.call(move |inner, now| inner.throttle(key, rate, wanted, now)))
    }

    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(move |inner, _| inner.publish(channel, &message)))
    }

    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        let (outlet, events) = Outlet::new();
        let mut inner = self.inner();
        outlet.link(!inner.faults.down);
        inner
            .outlets
            .entry(channel.to_owned())
            .or_default()
            .push(outlet);
        events
    }

    fn name(&self) -> String {
        "hub".to_owned()
    }
}
