//! A cluster: each key has a slot, each slot a primary with its replicas.
//!
//! The parts, in reading order: `slots` (which slot a key has, who has which slot), `nodes` (a
//! link to each), `topology` (the task that keeps the picture true), `route` (one call, split
//! over the nodes and led on when slots have moved).
//!
//! A part of the nodes may be away while the others answer. A call fails only when none of its
//! keys could be asked for; otherwise what lies on the lost part is as if it were not there: a
//! value is missing, a store is lost, a lock is anybody's. All of that a cache may do at any time,
//! while a failure would make the guard leave the healthy part alone too. A rate limit on the lost
//! part is an error: nobody knows what passed, and the guard has a breaker of its own for limits.
//!
//! Hints are published the old way, which every node passes on to all others: sharded channels
//! would bind all of a source's hints to one shard and its failovers, and need Redis 7.

mod nodes;
mod route;
mod slots;
mod topology;

use super::server::Server;
use super::subscription::Subscription;
use super::tasks::Tasks;
use super::throttle::{self, Form};
use super::whereabouts::{Whereabouts, whereabouts};
use super::words;
use crate::remote::{Error, Event, Item, Rate, Remote, Throttled};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use nodes::{Map, Nodes};
use redis::{Cmd, ConnectionInfo, Pipeline, Value};
use route::Access;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one call may take, however often it is sent on.
const CALL: Duration = Duration::from_secs(1);

pub(super) struct Cluster {
    name: String,
    nodes: Arc<Nodes>,
    map: Whereabouts<Arc<Map>>,
    subscription: Subscription,
    /// Where values are read.
    reads: Access,
    _tasks: Tasks,
}

impl Cluster {
    /// Begins to look for the cluster that these nodes are of.
    pub(super) fn open(
        seeds: Vec<ConnectionInfo>,
        replica_reads: bool,
        name: String,
    ) -> Result<Self, Error> {
        let nodes = Arc::new(Nodes::new(&seeds, replica_reads, &name)?);
        let seeds = seeds.into_iter().map(|info| nodes.server(info));
        let seeds: Vec<Server> = seeds.collect::<Result<_, _>>()?;
        let (guide, map) = whereabouts();
        let (usher, seat) = whereabouts();
        let tasks = Tasks::here()?;
        let watch = topology::watch(Arc::clone(&nodes), seeds, guide, usher);
        tasks.run(watch);
        Ok(Self {
            subscription: Subscription::open(seat, &name)?,
            name,
            nodes,
            map,
            reads: match replica_reads {
                true => Access::Anywhere,
                false => Access::Primary,
            },
            _tasks: tasks,
        })
    }

    async fn each<'a>(
        &self,
        access: Access,
        keys: impl Iterator<Item = &'a str>,
        commands: impl Iterator<Item = Cmd>,
    ) -> Result<Vec<route::Answer>, Error> {
        let asked = keys.map(slots::slot).zip(commands).collect();
        in_time(route::ask(&self.nodes, &self.map, access, asked)).await
    }
}

impl Remote for Cluster {
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            let gets = keys.iter().map(|key| words::get(key));
            let answers = self.each(self.reads, strs(keys), gets).await?;
            let found = answers.into_iter().map(|answer| words::found(answer?));
            reached(found.collect(), || None)
        })
    }

    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let keys = items.iter().map(|item| item.key.as_str());
            let sets = items.iter().map(words::set);
            done(self.each(Access::Primary, keys, sets).await?)
        })
    }

    fn lives<'a>(
        &'a self,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Duration>>, Error>> {
        Box::pin(async move {
            let asked = keys.iter().map(|key| words::life(key));
            let answers = self.each(self.reads, strs(keys), asked).await?;
            let lives = answers.into_iter().map(|answer| words::left(answer?));
            reached(lives.collect(), || None)
        })
    }

    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let removals = keys
                .iter()
                .map(|key| words::remove(std::slice::from_ref(key)));
            done(self.each(Access::Primary, strs(keys), removals).await?)
        })
    }

    fn lock<'a>(
        &'a self,
        keys: &'a [String],
        owner: u64,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            let locks = keys.iter().map(|key| words::lock(key, owner, ttl));
            let answers = self.each(Access::Primary, strs(keys), locks).await?;
            let taken = answers.into_iter().map(|answer| words::taken(answer?));
            // Nobody can say who holds a lock that is out of reach, so nobody is kept waiting.
            reached(taken.collect(), || true)
        })
    }

    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let unlocks = keys
                .iter()
                .map(|key| words::unlock(std::slice::from_ref(key), owner));
            done(self.each(Access::Primary, strs(keys), unlocks).await?)
        })
    }

    fn throttle<'a>(
        &'a self,
        key: &'a str,
        rate: &'a Rate,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Throttled, Error>> {
        let ask = async move |form| {
            let command = throttle::throttle(form, key, rate, wanted);
            let (keys, commands) = ([key].into_iter(), [command].into_iter());
            let answers = self.each(Access::Primary, keys, commands).await?;
            // One command has one answer.
            answers.into_iter().next().unwrap_or(Ok(Value::Nil))
        };
        Box::pin(async move {
            let mut answer = ask(Form::Hash).await;
            if throttle::is_unknown(&answer) {
                answer = ask(Form::Whole).await;
            }
            throttle::throttled(answer?, rate)
        })
    }

    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut publish = Pipeline::with_capacity(1);
            publish.add_command(words::publish(channel, &message));
            in_time(route::tell_anybody(&self.map, &publish)).await
        })
    }

    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        self.subscription.subscribe(channel)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(CALL, call).await;
    answer.unwrap_or(Err(Error::Timeout(CALL)))
}

fn strs(keys: &[String]) -> impl Iterator<Item = &str> {
    keys.iter().map(String::as_str)
}

/// What was answered, with `otherwise` in place of what could not be reached; an error where
/// nothing could.
fn reached<T>(answers: Vec<Result<T, Error>>, otherwise: impl Fn() -> T) -> Result<Vec<T>, Error> {
    if answers.iter().all(Result::is_err) {
        return answers.into_iter().collect();
    }
    let answer = |answer: Result<T, Error>| answer.unwrap_or_else(|_| otherwise());
    Ok(answers.into_iter().map(answer).collect())
}

fn done(answers: Vec<route::Answer>) -> Result<(), Error> {
    let accepted = answers
        .into_iter()
        .map(|answer| words::accepted(answer?).map(drop));
    reached(accepted.collect(), || ()).map(drop)
}

/// See [`crate::fuzzed`].
pub(super) fn read(answer: &Value) {
    let _ = slots::read(answer, "host");
}
