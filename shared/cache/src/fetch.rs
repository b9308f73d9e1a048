//! A read that memory does not answer: it boards flights until one of them serves it.

use crate::behind::Behind;
use crate::cache::Keyspace;
use crate::clock::Stamp;
use crate::entry::{Entry, Value};
use crate::fill::Fill;
use crate::flight::{Boarding, Flight, Landing, Landings, Terms};
use crate::key::Key;
use crate::read::{Answer, Error, Freshness, Origin, Read};
use crate::snapshot::Token;
use crate::stats::Outcome;
use crate::trace;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// How often a read may find that what it waited for began before its call; then it loads alone.
const ATTEMPTS: usize = 3;

/// How a call came by a flight's result.
struct Ride {
    /// It began the flight.
    led: bool,
    /// The flight promised what the call wants, and began after it.
    serves: bool,
    /// The call is somebody's read, and not a writer's.
    counts: bool,
}

impl<K: Key, V: Value> Keyspace<K, V> {
    pub(crate) async fn miss(self, key: K, read: Read) -> Result<Answer<V>, Error> {
        let terms = self.terms(&read);
        self.fetch_one(key, &read, terms).await
    }

    pub(crate) async fn fetch_one(
        &self,
        key: K,
        read: &Read,
        call: Terms,
    ) -> Result<Answer<V>, Error> {
        let mut answers = self.fetch([key].into(), read, call).await;
        let missing = || {
            Err(Error::CallerDeadline {
                keyspace: self.0.name.clone(),
            })
        };
        answers.pop().unwrap_or_else(missing)
    }

    /// What this call wants of a flight.
    pub(crate) fn terms(&self, read: &Read) -> Terms {
        let max_staleness = match read.freshness {
            Freshness::Bounded | Freshness::Any => self.0.policy.max_staleness,
            Freshness::Within(bound) => bound,
            Freshness::Strong => Duration::ZERO,
        };
        let source = self.0.source().hash;
        let own = |token: &&Token| token.source == source;
        Terms {
            began: self.0.now(),
            strong: read.freshness == Freshness::Strong,
            renew: None,
            stored: false,
            max_staleness,
            tokens: read.tokens.iter().filter(own).copied().collect(),
        }
    }

    /// An answer for each of these keys, all different, by flights of this process.
    pub(crate) async fn fetch(
        &self,
        keys: Arc<[K]>,
        read: &Read,
        call: Terms,
    ) -> Vec<Result<Answer<V>, Error>> {
        let span = trace::read(&self.0.name, keys.len());
        self.fetch_within(keys, read, call).instrument(span).await
    }

    async fn fetch_within(
        &self,
        keys: Arc<[K]>,
        read: &Read,
        call: Terms,
    ) -> Vec<Result<Answer<V>, Error>> {
        let mut answers: Vec<Option<Result<Answer<V>, Error>>> =
            keys.iter().map(|_| None).collect();
        for attempt in 1..=ATTEMPTS {
            let open: Vec<usize> = (0..keys.len()).filter(|&n| answers[n].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let some = || open.iter().map(|&n| keys[n].clone()).collect();
            let wanted = if open.len() == keys.len() {
                keys.clone()
            } else {
                some()
            };
            let terms = Terms {
                began: self.0.now(),
                ..call.clone()
            };
            // Its steps are its beginner's, whoever drives it.
            let begin = |mine| {
                let fill = Fill::new(self.0.clone(), mine, terms.clone());
                fill.run().instrument(trace::current())
            };
            // A reader's flight may be waiting for this very writer, who holds the lock.
            let alone = attempt == ATTEMPTS || call.stored || !self.0.source().core.tiers.remote();
            let boarding = self.0.flights.board(&wanted, &terms, alone, begin);
            for (flight, led) in &boarding.flights {
                trace::boarded(&flight.span, *led);
            }
            if self.0.policy.finish_loads {
                self.finish(&boarding);
            }
            let flights = boarding
                .flights
                .iter()
                .map(|(flight, _)| self.landings(flight, read));
            let landings = join_all(flights).await;
            let now = self.0.now();
            for (&(flight, seat), &place) in boarding.seats.iter().zip(&open) {
                let landing = match &landings[flight] {
                    Ok(landings) => landings[seat].clone(),
                    Err(error) => Err(error.clone()),
                };
                let (flight, led) = &boarding.flights[flight];
                let ride = Ride {
                    led: *led,
                    serves: *led || flight.terms.serve(&call),
                    counts: !call.stored,
                };
                answers[place] = self.judge(landing, ride, read, &keys[place], now);
                if let Some(answer) = &answers[place] {
                    trace::answered(answer, *led);
                }
            }
        }
        let missing = || {
            Err(Error::CallerDeadline {
                keyspace: self.0.name.clone(),
            })
        };
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(missing))
            .collect()
    }

    /// Has the flights that this caller began carried on to their end, with or without callers.
    fn finish(&self, boarding: &Boarding<V>) {
        for (flight, _) in boarding.flights.iter().filter(|(_, led)| *led) {
            let flight = flight.clone();
            self.0.source().core.spawn_behind(Behind::Load, async move {
                flight.landings().await;
            });
        }
    }

    async fn landings(&self, flight: &Flight<V>, read: &Read) -> Result<Landings<V>, Error> {
        let Some(deadline) = read.deadline else {
            return Ok(flight.landings().await);
        };
        let late = |_| Error::CallerDeadline {
            keyspace: self.0.name.clone(),
        };
        tokio::time::timeout_at(deadline, flight.landings())
            .await
            .map_err(late)
    }

    /// Whether what a flight brought is an answer to this call; `None` sends it on another.
    fn judge(
        &self,
        landing: Result<Landing<V>, Error>,
        ride: Ride,
        read: &Read,
        key: &K,
        now: Stamp,
    ) -> Option<Result<Answer<V>, Error>> {
        let inner = &*self.0;
        let landing = match landing {
            Ok(landing) => landing,
            Err(error) => return Some(self.instead(error, key, read)),
        };
        let Landing { entry, origin } = landing;
        let answer = |entry: Arc<Entry<V>>, age| Some(Ok(Answer { entry, origin, age }));
        let count = |outcome| {
            if ride.counts {
                inner.counters.read(outcome);
            }
        };
        if ride.serves {
            count(match origin {
                _ if !ride.led => Outcome::Joined,
                Origin::L2 => Outcome::L2,
                _ => Outcome::Load,
            });
            // Memory, which would see to it with the next hit, may not be there.
            if ride.led && origin == Origin::L2 && now >= entry.soft_at && !self.in_memory() {
                self.renew_behind(key);
            }
            let age = now.since(entry.loaded_at);
            return answer(entry, age);
        }
        // It began before the call: then it is a cached value like any other.
        match self.verdict(&entry, read, now) {
            Ok(age) => {
                count(Outcome::Joined);
                answer(entry, age)
            }
            Err(_) => None,
        }
    }

    /// What to answer when a load failed: in a fail-safe keyspace the last value, marked.
    fn instead(&self, error: Error, key: &K, read: &Read) -> Result<Answer<V>, Error> {
        let inner = &*self.0;
        let now = inner.now();
        if inner.policy.fail_safe
            && error.is_unavailable()
            && !read.never_stale
            && let Some(entry) = inner.local.get(key)
            && now < entry.hard_at
        {
            return Ok(self.stale(entry, now));
        }
        inner.counters.read(match error {
            Error::Overloaded { .. } => Outcome::Refused,
            _ => Outcome::Error,
        });
        Err(error)
    }

    fn in_memory(&self) -> bool {
        self.0.source().core.tiers.memory()
    }
}
