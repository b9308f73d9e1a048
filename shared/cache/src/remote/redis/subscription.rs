//! The connection that hints come over.
//!
//! That commands work says nothing about it, so it has a heartbeat of its own, on its own
//! connection; and a subscriber is told `Up` only once the server has confirmed.

use super::server::Server;
use super::tasks::Tasks;
use super::whereabouts::Whereabouts;
use super::{HEARTBEAT, MISSES, PAUSES, SIGN_OF_LIFE};
use crate::remote::backoff::Backoff;
use crate::remote::outlet::Outlet;
use crate::remote::{Error, Event};
use bytes::Bytes;
use futures_util::StreamExt;
use redis::RedisError;
use redis::aio::{PubSubSink, PubSubStream};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// Who listens, and the task that listens for them.
pub(super) struct Subscription {
    registry: Arc<Registry>,
    _tasks: Tasks,
}

#[derive(Default)]
struct Registry {
    channels: Mutex<HashMap<String, Vec<Arc<Outlet>>>>,
    changed: Notify,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the subscription was not confirmed within {0:?}")]
    Unconfirmed(Duration),
    #[error("the connection was closed")]
    Closed,
    #[error("no sign of life")]
    Silent,
    #[error("another server is the right one now")]
    Moved,
    #[error(transparent)]
    Failed(#[from] RedisError),
    #[error(transparent)]
    Remote(#[from] Error),
}

impl Subscription {
    /// Begins to listen as soon as somebody subscribes. `name` is for the log.
    pub(super) fn open(whereabouts: Whereabouts<Server>, name: &str) -> Result<Self, Error> {
        let registry = Arc::<Registry>::default();
        let tasks = Tasks::here()?;
        tasks.run(supervise(
            whereabouts,
            name.to_owned(),
            Arc::clone(&registry),
        ));
        Ok(Self {
            registry,
            _tasks: tasks,
        })
    }

    pub(super) fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        let (outlet, events) = Outlet::new();
        self.registry
            .channels()
            .entry(channel.to_owned())
            .or_default()
            .push(outlet);
        self.registry.changed.notify_one();
        events
    }
}

impl Drop for Subscription {
    /// Nothing will be delivered any more: receivers see the end.
    fn drop(&mut self) {
        self.registry.channels().clear();
    }
}

impl Registry {
    /// The channels that somebody listens to; those who are gone are forgotten.
    fn wanted(&self) -> HashSet<String> {
        let mut channels = self.channels();
        channels.retain(|_, outlets| {
            outlets.retain(|outlet| !outlet.is_closed());
            !outlets.is_empty()
        });
        channels.keys().cloned().collect()
    }

    fn link(&self, linked: bool, is_meant: impl Fn(&str) -> bool) {
        for (channel, outlets) in self.channels().iter() {
            if is_meant(channel) {
                outlets.iter().for_each(|outlet| outlet.link(linked));
            }
        }
    }

    fn deliver(&self, channel: &str, message: &Bytes) {
        if let Some(outlets) = self.channels().get(channel) {
            outlets
                .iter()
                .for_each(|outlet| outlet.send(message.clone()));
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Outlet>>>> {
        // A panic under this lock leaves a table that is true.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rebuilds the connection for ever, with bounded pauses. Logs what changes, once.
async fn supervise(mut whereabouts: Whereabouts<Server>, name: String, registry: Arc<Registry>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut away = false;
    loop {
        // Without a listener there is nothing to connect for.
        while registry.wanted().is_empty() {
            registry.changed.notified().await;
        }
        let begun = Instant::now();
        let broken = match connect(&mut whereabouts).await {
            Ok((sink, stream)) => {
                if std::mem::take(&mut away) {
                    tracing::info!(remote.name = name, "hints arrive again");
                }
                tokio::select! {
                    broken = listen(sink, stream, &registry) => broken,
                    () = whereabouts.moved() => Broken::Moved,
                }
            }
            Err(broken) => broken,
        };
        registry.link(false, |_| true);
        if !std::mem::replace(&mut away, true) {
            let error: &dyn std::error::Error = &broken;
            tracing::warn!(
                remote.name = name,
                error,
                "hints do not arrive; polling goes on"
            );
        }
        if matches!(broken, Broken::Moved) {
            continue;
        }
        whereabouts.lost();
        if begun.elapsed() > 2 * HEARTBEAT {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => {}
            () = whereabouts.moved() => {}
        }
    }
}

async fn connect(
    whereabouts: &mut Whereabouts<Server>,
) -> Result<(PubSubSink, PubSubStream), Broken> {
    let server = whereabouts.get().await?;
    Ok(server.listen().await?.split())
}

/// Serves one connection to its end. The three go on side by side: neither a slow confirmation
/// nor a missing sign of life holds messages up.
async fn listen(sink: PubSubSink, stream: PubSubStream, registry: &Registry) -> Broken {
    tokio::select! {
        broken = deliver(stream, registry) => broken,
        broken = keep_subscribed(sink.clone(), registry) => broken,
        broken = heartbeat(sink, registry) => broken,
    }
}

/// The crate's queue has no bound, so it is emptied as fast as it fills: nothing here waits.
async fn deliver(mut stream: PubSubStream, registry: &Registry) -> Broken {
    while let Some(message) = stream.next().await {
        if let Ok(payload) = message.get_payload::<Bytes>() {
            registry.deliver(message.get_channel_name(), &payload);
        }
    }
    Broken::Closed
}

/// Brings what the server sends in line with what is listened to, whenever that changes.
async fn keep_subscribed(mut sink: PubSubSink, registry: &Registry) -> Broken {
    let mut confirmed = HashSet::new();
    loop {
        let wanted = registry.wanted();
        if let Err(broken) = reconcile(&mut sink, &wanted, &confirmed).await {
            return broken;
        }
        // Who came while we waited for the server is told with the next round, which its own
        // wake-up starts. Messages that came before `Up` were dropped, and `Up` says so.
        registry.link(true, |channel| wanted.contains(channel));
        confirmed = wanted;
        registry.changed.notified().await;
    }
}

async fn reconcile(
    sink: &mut PubSubSink,
    wanted: &HashSet<String>,
    confirmed: &HashSet<String>,
) -> Result<(), Broken> {
    let confirm = async {
        let new: Vec<&String> = wanted.difference(confirmed).collect();
        if !new.is_empty() {
            sink.subscribe(&new).await?;
        }
        let old: Vec<&String> = confirmed.difference(wanted).collect();
        if !old.is_empty() {
            sink.unsubscribe(&old).await?;
        }
        Ok(())
    };
    match tokio::time::timeout(HEARTBEAT, confirm).await {
        Ok(confirmed) => confirmed,
        Err(_) => Err(Broken::Unconfirmed(HEARTBEAT)),
    }
}

/// Returns when the peer has been silent for too long.
async fn heartbeat(mut sink: PubSubSink, registry: &Registry) -> Broken {
    let mut misses = 0;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    while misses < MISSES {
        beat.tick().await;
        match tokio::time::timeout(SIGN_OF_LIFE, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => misses = 0,
            Ok(Err(error)) => return error.into(),
            Err(_) => misses += 1,
        }
        // Also the moment to notice listeners who are gone.
        if registry
            .channels()
            .values()
            .flatten()
            .any(|outlet| outlet.is_closed())
        {
            registry.changed.notify_one();
        }
    }
    Broken::Silent
}
