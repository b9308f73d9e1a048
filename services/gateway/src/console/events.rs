//! `GET /console/events`: what happens in all caches, as Server-Sent Events.
//!
//! Each viewer has a watch of its own at every replica, which goes on again after a replica was
//! away, and of which there are few. Nothing is queued here: events come in batches of a short
//! time, of each kind so many, and the rest is counted and dropped, so that a flood of loads hides
//! no gap. What comes faster than a viewer's connection takes it is lost and counted at the
//! replicas.

use super::asker::Told;
use super::{Console, parameter};
use crate::backends::Backends;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream::{self, AbortHandle, Abortable, BoxStream, SelectAll};
use larder_proto::cache::v1::WatchRequest;
use larder_runtime::status;
use larder_survey::watch::{KINDS, Line};
use larder_survey::{Failure, Replica};
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Viewers at once; each is one of sixteen watchers that a replica takes.
const VIEWERS: usize = 4;
/// Of these, those who may see keys have the others to themselves.
const STRANGERS: usize = 2;
/// How long events are gathered for one message.
const GATHER: Duration = Duration::from_millis(250);
/// How many of one kind a message has at most.
const OF_A_KIND: usize = 25;
/// How long a replica may take to begin.
const BEGIN: Duration = Duration::from_secs(3);
/// The pause after the first failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How often new replicas are looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How often a viewer hears that nothing happens.
const ALIVE: Duration = Duration::from_secs(10);

/// Who looks on. Clones are of the same process.
#[derive(Clone)]
pub(super) struct Viewers {
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// The place of a viewer, and of a stranger the one among strangers.
type Place = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Viewers {
    pub(super) fn new(stopping: CancellationToken) -> Self {
        Self {
            places: Arc::new(Semaphore::new(VIEWERS)),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            stopping,
        }
    }

    fn place(&self, known: bool) -> Result<Place, Problem> {
        let full = |_| {
            let told = format!(
                "{VIEWERS} viewers look on already, or {STRANGERS} of those who may not see keys"
            );
            Problem::from(status::unavailable("TOO_MANY_VIEWERS", told, PAUSE.0))
        };
        let stranger = match known {
            true => None,
            false => Some(self.strangers.clone().try_acquire_owned().map_err(full)?),
        };
        let place = self.places.clone().try_acquire_owned().map_err(full)?;
        Ok((place, stranger))
    }
}

/// Which events a viewer wants, and whether it may see keys.
struct Wanted {
    kinds: Vec<i32>,
    /// Empty for all.
    keyspace: String,
    keys: bool,
}

impl Wanted {
    fn of(head: &axum::http::request::Parts, keys: bool) -> Result<Self, Problem> {
        let kinds = parameter(head, "kind");
        let kinds = kinds.split(',').filter(|kind| !kind.is_empty());
        let kinds = kinds.map(|word| {
            let known = KINDS.iter().find(|(_, known)| *known == word);
            let kind = known.map(|(kind, _)| i32::from(*kind));
            kind.ok_or_else(|| Problem::invalid("kind", "is no kind of event"))
        });
        Ok(Self {
            kinds: kinds.collect::<Result<_, _>>()?,
            keyspace: parameter(head, "keyspace"),
            keys,
        })
    }

    /// A line as the viewer may see it, if it wants it. What concerns a source concerns its
    /// keyspaces.
    fn seen(&self, mut line: Line) -> Option<Line> {
        let all = self.keyspace.is_empty() || line.keyspace.is_empty();
        if !all && line.keyspace != self.keyspace {
            return None;
        }
        if !self.keys {
            line.keys.clear();
            line.tags.clear();
        }
        Some(line)
    }
}

/// Answers with events, until the viewer has gone.
pub(super) async fn show(State(console): State<Console>, Told(head): Told) -> Response {
    let begun = console.may(&head).and_then(|keys| {
        let wanted = Wanted::of(&head, keys)?;
        Ok((wanted, console.viewers.place(keys)?))
    });
    let (wanted, place) = match begun {
        Ok(begun) => begun,
        Err(problem) => return problem.into_response(),
    };
    let stopping = console.viewers.stopping.clone();
    let watch = Watch::new(console.backends, wanted);
    let batches = stream::unfold((watch, place), |(mut watch, place)| async {
        let batch = watch.next().await;
        Some((batch, (watch, place)))
    });
    let events = batches.map(|batch| {
        let event = Event::default().data(serde_json::to_string(&batch).unwrap_or_default());
        Ok::<_, Infallible>(event)
    });
    let events = events.take_until(stopping.cancelled_owned());
    let alive = KeepAlive::new().interval(ALIVE);
    (
        [(CACHE_CONTROL, "no-store")],
        Sse::new(events).keep_alive(alive),
    )
        .into_response()
}

/// What happened in a short time.
#[derive(Serialize, Default)]
struct Batch {
    lines: Vec<Line>,
    /// How many more there were, by kind.
    dropped: BTreeMap<&'static str, u64>,
}

impl Batch {
    fn take(&mut self, line: Line) {
        let of_kind = self.lines.iter().filter(|known| known.kind == line.kind);
        match of_kind.count() < OF_A_KIND {
            true => self.lines.push(line),
            false => *self.dropped.entry(line.kind).or_default() += line.lost.max(1),
        }
    }
}

/// The events of all replicas, for one viewer.
struct Watch {
    backends: Backends,
    wanted: Wanted,
    streams: SelectAll<Abortable<BoxStream<'static, Line>>>,
    followed: BTreeMap<String, AbortHandle>,
    look: Interval,
}

impl Watch {
    fn new(backends: Backends, wanted: Wanted) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            backends,
            wanted,
            streams: SelectAll::new(),
            followed: BTreeMap::new(),
            look,
        }
    }

    /// Waits until something happens, and gathers what happens with it.
    async fn next(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut end: Option<Instant> = None;
        loop {
            tokio::select! {
                () = sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return batch,
                _ = self.look.tick() => self.look().await,
                Some(line) = self.streams.next(), if !self.streams.is_empty() => {
                    if let Some(line) = self.wanted.seen(line) {
                        batch.take(line);
                        end.get_or_insert_with(|| Instant::now() + GATHER);
                    }
                }
            }
        }
    }

    /// Follows replicas that are new, and no longer those that are gone.
    async fn look(&mut self) {
        let (replicas, _) = self.backends.caches().await;
        self.followed.retain(|name, handle| {
            let stays = replicas.iter().any(|replica| replica.name == *name);
            if !stays {
                handle.abort();
            }
            stays
        });
        for replica in replicas {
            if self.followed.contains_key(&replica.name) {
                continue;
            }
            let (handle, registration) = AbortHandle::new_pair();
            self.followed.insert(replica.name.clone(), handle);
            let request = WatchRequest {
                keyspaces: Vec::new(),
                kinds: self.wanted.kinds.clone(),
            };
            let lines = follow(replica, request);
            self.streams.push(Abortable::new(lines, registration));
        }
    }
}

/// The events of one replica, for ever. That it went away, and that it is there again, are lines
/// too.
fn follow(replica: Replica, request: WatchRequest) -> BoxStream<'static, Line> {
    enum At {
        /// The pause before it is asked again, if it was told that it is away.
        Away(Option<Duration>),
        /// Since when.
        Here(BoxStream<'static, Result<Line, Status>>, Instant),
    }
    let lines = stream::unfold(At::Away(None), move |mut at| {
        let (replica, request) = (replica.clone(), request.clone());
        async move {
            loop {
                let failed = match at {
                    At::Here(mut lines, begun) => match lines.next().await {
                        Some(Ok(line)) => return Some((line, At::Here(lines, begun))),
                        // Connections end with their age: who answers at once was never away.
                        _ if begun.elapsed() > PAUSE.1 => {
                            at = At::Away(None);
                            continue;
                        }
                        Some(Err(status)) => status,
                        None => Status::unavailable("it ended"),
                    },
                    At::Away(since) => {
                        sleep(since.unwrap_or_default()).await;
                        match timeout(BEGIN, replica.watch(request.clone())).await {
                            Ok(Ok(lines)) if since.is_some() => {
                                let back = said(&replica.name, "back", String::new());
                                return Some((back, At::Here(lines, Instant::now())));
                            }
                            Ok(Ok(lines)) => {
                                at = At::Here(lines, Instant::now());
                                continue;
                            }
                            outcome if since.is_some() => {
                                drop(outcome);
                                at = At::Away(since.map(|pause| (pause * 2).min(PAUSE.1)));
                                continue;
                            }
                            Ok(Err(status)) => status,
                            Err(_) => status::deadline_exceeded(),
                        }
                    }
                };
                let why = Failure::of(&replica.name, &failed).error;
                return Some((said(&replica.name, "away", why), At::Away(Some(PAUSE.0))));
            }
        }
    });
    lines.boxed()
}

/// A line about a replica itself.
fn said(replica: &str, kind: &'static str, outcome: String) -> Line {
    Line {
        replica: replica.to_owned(),
        kind,
        outcome,
        ..Line::default()
    }
}
