//! A remote tier that cannot cost a reader more than a timeout.
//!
//! Each call has a deadline, and after some failures in a row calls are refused at once, until
//! one that is let through after a pause succeeds. There are five breakers. Reads are on the
//! way of every answer, stores are large and may be refused for want of memory, locks are small
//! writes, hints may be forbidden on one channel, and limits run a script that not every server
//! knows: the failure of one kind is no proof against the others, and where all of them fail, each
//! costs its own few timeouts once.
//!
//! A lock that is refused because the remote tier [is full](Error::Full) is a failure that is
//! counted and opens nothing: it costs no wait, and whoever is told so loads at once, which it
//! would not if it were only told that nobody asked.

mod breaker;

use super::{Error, Event, Item, Rate, Remote, Throttled};
use crate::clock::Clock;
use crate::trace;
use breaker::Breaker;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::Instrument as _;

/// When a guard loses its patience.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a call may take. A healthy Redis nearby answers in well under a millisecond, and
    /// a database in a few: waiting longer than 50 ms for the shortcut is worse than not taking
    /// it, and less would count pauses of a busy machine as failures.
    pub timeout: Duration,
    /// Failures in a row after which calls of their kind are refused.
    pub failures: u32,
    /// How long they are refused before one is let through to try; half of it at the least, by
    /// chance, so that not every process tries at once.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(50),
            failures: 5,
            pause: Duration::from_millis(300),
        }
    }
}

/// What a guard has seen since it was made, of one kind of call or of all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls made on the remote tier.
    pub calls: u64,
    /// Of these, the ones that failed, timeouts aside.
    pub failures: u64,
    /// Of these, the ones that took too long.
    pub timeouts: u64,
    /// Calls that were not made, because a breaker was open.
    pub refused: u64,
    /// Times that a breaker opened.
    pub opened: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, more: Self) {
        self.calls += more.calls;
        self.failures += more.failures;
        self.timeouts += more.timeouts;
        self.refused += more.refused;
        self.opened += more.opened;
    }
}

/// A remote tier behind timeouts and breakers.
pub struct Guard {
    remote: Arc<dyn Remote>,
    /// What it is, for traces.
    system: &'static str,
    timeout: Duration,
    /// `get` and `lives`.
    reads: Breaker,
    /// `set` and `remove`.
    stores: Breaker,
    /// `lock` and `unlock`.
    locks: Breaker,
    /// `publish`.
    hints: Breaker,
    /// `throttle`.
    limits: Breaker,
}

impl Guard {
    /// Guards `remote`, on the machine's clock.
    pub fn new(remote: Arc<dyn Remote>, limits: Limits) -> Self {
        Self::with_clock(remote, limits, Clock::machine())
    }

    /// Guards `remote`; pauses of the breakers are measured by `clock`.
    pub fn with_clock(remote: Arc<dyn Remote>, limits: Limits, clock: Clock) -> Self {
        let breaker = |kind| Breaker::new(kind, remote.name(), limits, clock.clone());
        Self {
            system: match remote.name().starts_with("redis") {
                true => "redis",
                false => "hub",
            },
            timeout: limits.timeout,
            reads: breaker("read"),
            stores: breaker("store"),
            locks: breaker("lock"),
            hints: breaker("hint"),
            limits: breaker("limit"),
            remote,
        }
    }

    /// Whether reads are refused now.
    pub fn is_open(&self) -> bool {
        self.reads.is_open()
    }

    /// What it has seen so far, of all calls.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for (_, counters) in self.counters_by_kind() {
            sum += counters;
        }
        sum
    }

    /// What it has seen so far of each kind of call: `read`, `store`, `lock`, `hint`, `limit`.
    pub fn counters_by_kind(&self) -> [(&'static str, Counters); 5] {
        let all = [
            &self.reads,
            &self.stores,
            &self.locks,
            &self.hints,
            &self.limits,
        ];
        all.map(|breaker| (breaker.kind(), breaker.counters()))
    }

    /// Makes a call; `name` is the operation's, for whoever's trace is recorded.
    async fn call<T>(
        &self,
        breaker: &Breaker,
        name: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let span = trace::remote(self.system, name);
        let answer = self.made(breaker, asked).instrument(span.clone()).await;
        if let Err(error) = &answer {
            trace::failed(&span, error.word());
        }
        answer
    }

    async fn made<T>(
        &self,
        breaker: &Breaker,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let pass = breaker.enter().ok_or(Error::BreakerOpen)?;
        let answer = match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout(self.timeout)),
        };
        match &answer {
            Ok(_) => pass.succeeded(),
            Err(error @ Error::Full(_)) if std::ptr::eq(breaker, &self.locks) => {
                pass.pardoned(error);
            }
            Err(error) => pass.failed(error),
        }
        answer
    }
}

impl Remote for Guard {
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(self.call(&self.reads, "GET", self.remote.get(keys)))
    }

    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(&self.stores, "SET", self.remote.set(items)))
    }

    fn lives<'a>(
        &'a self,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Duration>>, Error>> {
        Box::pin(self.call(&self.reads, "PTTL", self.remote.lives(keys)))
    }

    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(&self.stores, "DEL", self.remote.remove(keys)))
    }

    fn lock<'a>(
        &'a self,
        keys: &'a [String],
        owner: u64,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(self.call(&self.locks, "SET NX", self.remote.lock(keys, owner, ttl)))
    }

    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(&self.locks, "EVALSHA", self.remote.unlock(keys, owner)))
    }

    fn throttle<'a>(
        &'a self,
        key: &'a str,
        rate: &'a Rate,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Throttled, Error>> {
        Box::pin(self.call(
            &self.limits,
            "EVALSHA",
            self.remote.throttle(key, rate, wanted),
        ))
    }

    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.call(
            &self.hints,
            "PUBLISH",
            self.remote.publish(channel, message),
        ))
    }

    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        self.remote.subscribe(channel)
    }

    fn name(&self) -> String {
        self.remote.name()
    }
}
