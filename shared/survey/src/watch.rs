//! Events of replicas, as they come, in words.

use crate::{Replica, seconds};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use larder_proto::cache::v1::{Event, EventKind, WatchRequest, WatchResponse};
use larder_runtime::client::streamed;
use serde::Serialize;
use tonic::Status;

/// Kinds of events, each with the word for it.
pub const KINDS: [(EventKind, &str); 7] = [
    (EventKind::Moved, "moved"),
    (EventKind::Loaded, "loaded"),
    (EventKind::Evicted, "evicted"),
    (EventKind::Gap, "gap"),
    (EventKind::Proof, "proof"),
    (EventKind::Breaker, "breaker"),
    (EventKind::Inconsistent, "inconsistent"),
];
/// The word for events that a slow watcher lost; it is told of them whatever it asked for.
pub const LOST: &str = "lost";

/// One event of one replica.
#[derive(Serialize, Clone, Default, Debug)]
pub struct Line {
    /// Whose it is.
    pub replica: String,
    /// Seconds since 1970; absent for what was lost.
    pub at: Option<f64>,
    /// One of [`KINDS`], or [`LOST`].
    pub kind: &'static str,
    /// The source.
    pub source: String,
    /// The keyspace; empty where it concerns the source.
    pub keyspace: String,
    /// Who told of tags that moved.
    pub origin: String,
    /// What happened, in a word.
    pub outcome: String,
    /// The first tags that moved, hashed.
    pub tags: Vec<String>,
    /// How many moved.
    pub tag_count: u64,
    /// The first keys that it concerns.
    pub keys: Vec<String>,
    /// How many it concerns.
    pub key_count: u64,
    /// How long a load took.
    pub took_seconds: Option<f64>,
    /// How many events were lost.
    pub lost: u64,
}

impl Line {
    /// What a message says, in order. Events of a kind that is not known here are passed over.
    pub fn all(replica: &str, message: WatchResponse) -> Vec<Self> {
        let lost = (message.lost > 0).then(|| Self {
            replica: replica.to_owned(),
            kind: LOST,
            lost: message.lost,
            ..Self::default()
        });
        let events = message.events.into_iter();
        let events = events.filter_map(|event| Self::of(replica, event));
        lost.into_iter().chain(events).collect()
    }

    fn of(replica: &str, event: Event) -> Option<Self> {
        let known = KINDS.iter().find(|(kind, _)| *kind == event.kind());
        let (_, kind) = known?;
        let at = event
            .at
            .map(|at| at.seconds as f64 + f64::from(at.nanos) / 1e9);
        Some(Self {
            replica: replica.to_owned(),
            at,
            kind,
            source: event.source,
            keyspace: event.keyspace,
            origin: event.origin,
            outcome: event.outcome,
            tags: event.tags.iter().map(|tag| format!("{tag:016x}")).collect(),
            tag_count: event.tag_count,
            keys: event.keys,
            key_count: event.key_count,
            took_seconds: event.took.as_ref().map(|took| seconds(Some(took))),
            lost: 0,
        })
    }
}

impl Replica {
    /// What goes on there from now on, until the replica ends it or the stream is dropped. What a
    /// slow reader cannot take is lost there, and counted.
    pub async fn watch(
        &self,
        request: WatchRequest,
    ) -> Result<BoxStream<'static, Result<Line, Status>>, Status> {
        let messages = self
            .client
            .clone()
            .watch(streamed(request))
            .await?
            .into_inner();
        let name = self.name.clone();
        let lines = messages.flat_map(move |message| {
            let lines: Vec<_> = match message {
                Ok(message) => Line::all(&name, message).into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            };
            stream::iter(lines)
        });
        Ok(lines.boxed())
    }
}
