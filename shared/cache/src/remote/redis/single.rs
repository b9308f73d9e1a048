//! One server that has everything: always the same, or whichever is the primary at the moment.

use super::link::Link;
use super::sentinel::Sentinels;
use super::server::Server;
use super::subscription::Subscription;
use super::throttle::{self, Form};
use super::whereabouts::Whereabouts;
use super::words;
use crate::remote::{Error, Event, Item, Rate, Remote, Throttled};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) struct Single {
    name: String,
    link: Link,
    subscription: Subscription,
    _sentinels: Option<Sentinels>,
}

impl Single {
    /// At one address.
    pub(super) fn open(server: Server, name: String) -> Result<Self, Error> {
        Self::at(Whereabouts::fixed(server), None, name)
    }

    /// Wherever the sentinels say that the primary is.
    pub(super) fn follow(sentinels: Sentinels, name: String) -> Result<Self, Error> {
        Self::at(sentinels.primary(), Some(sentinels), name)
    }

    fn at(
        whereabouts: Whereabouts<Server>,
        sentinels: Option<Sentinels>,
        name: String,
    ) -> Result<Self, Error> {
        Ok(Self {
            link: Link::open(whereabouts.clone(), &name)?,
            subscription: Subscription::open(whereabouts, &name)?,
            name,
            _sentinels: sentinels,
        })
    }

    async fn one(&self, command: Cmd) -> Result<Value, Error> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command);
        let answer = self.link.ask(&pipeline).await?.pop();
        Ok(answer.unwrap_or(Value::Nil))
    }

    async fn many(&self, commands: impl Iterator<Item = Cmd>) -> Result<Vec<Value>, Error> {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        self.link.ask(&pipeline).await
    }
}

impl Remote for Single {
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            match keys {
                [] => Ok(Vec::new()),
                [key] => Ok(vec![words::found(self.one(words::get(key)).await?)?]),
                keys => words::found_many(self.one(words::get_many(keys)).await?, keys.len()),
            }
        })
    }

    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let answers = self.many(items.iter().map(words::set)).await?;
            all_accepted(answers)
        })
    }

    fn lives<'a>(
        &'a self,
        keys: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Duration>>, Error>> {
        Box::pin(async move {
            let answers = self.many(keys.iter().map(|key| words::life(key))).await?;
            answers.into_iter().map(words::left).collect()
        })
    }

    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            words::accepted(self.one(words::remove(keys)).await?).map(drop)
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
            let answers = self.many(locks).await?;
            answers.into_iter().map(words::taken).collect()
        })
    }

    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            words::accepted(self.one(words::unlock(keys, owner)).await?).map(drop)
        })
    }

    fn throttle<'a>(
        &'a self,
        key: &'a str,
        rate: &'a Rate,
        wanted: u32,
    ) -> BoxFuture<'a, Result<Throttled, Error>> {
        Box::pin(async move {
            let ask = |form| self.one(throttle::throttle(form, key, rate, wanted));
            let mut answer = ask(Form::Hash).await;
            if throttle::is_unknown(&answer) {
                answer = ask(Form::Whole).await;
            }
            throttle::throttled(answer?, rate)
        })
    }

    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let publish = words::publish(channel, &message);
            words::accepted(self.one(publish).await?).map(drop)
        })
    }

    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        self.subscription.subscribe(channel)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

fn all_accepted(answers: Vec<Value>) -> Result<(), Error> {
    answers
        .into_iter()
        .try_for_each(|answer| words::accepted(answer).map(drop))
}
