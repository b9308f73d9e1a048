//! Events as a stream. What a slow reader cannot take is lost in the cache's own backlog, and it
//! is told how much; nothing is queued here.

use super::convert::span;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use larder::AnyKeyspace;
use larder::watch::{Event, Seen, Watcher, What};
use larder_proto::cache::v1 as wire;
use larder_proto::cache::v1::{EventKind, WatchRequest, WatchResponse};
use larder_runtime::status;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events in one message.
const MOST: usize = 128;

/// Which events are wanted.
pub(super) struct Filter {
    kinds: BTreeSet<EventKind>,
    keyspaces: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Filter {
    /// `keyspaces` are those that were named, if any were.
    pub(super) fn of(
        asked: &WatchRequest,
        keyspaces: Option<&[Arc<dyn AnyKeyspace>]>,
    ) -> Result<Self, Status> {
        let kinds = asked.kinds.iter().enumerate().map(|(index, kind)| {
            let known = EventKind::try_from(*kind).ok();
            let known = known.filter(|kind| *kind != EventKind::Unspecified);
            let field = || format!("kinds[{index}]");
            known.ok_or_else(|| status::invalid(field(), "is no kind of event"))
        });
        let named = keyspaces.unwrap_or_default().iter();
        Ok(Self {
            kinds: kinds.collect::<Result<_, _>>()?,
            keyspaces: named
                .clone()
                .map(|keyspace| keyspace.name().to_owned())
                .collect(),
            sources: named
                .map(|keyspace| keyspace.source().name().to_owned())
                .collect(),
        })
    }

    fn takes(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&kind(&event.what));
        let whose = match &event.keyspace {
            Some(keyspace) => self.keyspaces.contains(&**keyspace),
            None => self.sources.contains(&*event.source),
        };
        kind && (self.keyspaces.is_empty() || whose)
    }
}

/// What goes on from now on, until the reader has gone or the process is ending.
pub(super) fn stream(
    watcher: Watcher,
    filter: Filter,
    place: OwnedSemaphorePermit,
    ending: CancellationToken,
) -> BoxStream<'static, Result<WatchResponse, Status>> {
    let state = (watcher, filter, place, ending);
    let events = stream::unfold(state, |(mut watcher, filter, place, ending)| async {
        let message = ending
            .run_until_cancelled(next(&mut watcher, &filter))
            .await??;
        Some((Ok(message), (watcher, filter, place, ending)))
    });
    // An empty message at once: from here on nothing is missed.
    stream::iter([Ok(WatchResponse::default())])
        .chain(events)
        .boxed()
}

/// Waits for an event that is wanted, and takes what there is beside it.
async fn next(watcher: &mut Watcher, filter: &Filter) -> Option<WatchResponse> {
    let mut message = WatchResponse::default();
    let mut take = |seen: Seen| match seen {
        // What was lost was before what follows, and ends the message before it.
        Seen::Lost(lost) => {
            message.lost += lost;
            None
        }
        Seen::Event(event) => filter.takes(&event).then(|| encode(&event)),
    };
    let mut events = Vec::new();
    loop {
        let seen = watcher.next().await?;
        let lost = matches!(seen, Seen::Lost(_));
        events.extend(take(seen));
        if lost || !events.is_empty() {
            break;
        }
    }
    while events.len() < MOST
        && let Some(seen) = watcher.try_next()
    {
        events.extend(take(seen));
    }
    message.events = events;
    Some(message)
}

fn kind(what: &What) -> EventKind {
    match what {
        What::Moved { .. } => EventKind::Moved,
        What::Loaded { .. } => EventKind::Loaded,
        What::Evicted { .. } => EventKind::Evicted,
        What::Gap => EventKind::Gap,
        What::Proof { .. } => EventKind::Proof,
        What::Breaker { .. } => EventKind::Breaker,
        What::Inconsistent { .. } => EventKind::Inconsistent,
    }
}

fn encode(event: &Event) -> wire::Event {
    let at = prost_types::Timestamp {
        seconds: i64::try_from(event.at.as_secs()).unwrap_or(i64::MAX),
        nanos: event.at.subsec_nanos().cast_signed(),
    };
    let mut message = wire::Event {
        at: Some(at),
        kind: kind(&event.what).into(),
        source: event.source.to_string(),
        keyspace: event.keyspace.as_deref().unwrap_or_default().to_owned(),
        ..wire::Event::default()
    };
    let word = |said: bool, yes: &str, no: &str| if said { yes.to_owned() } else { no.to_owned() };
    match &event.what {
        What::Moved { tags, count, by } => {
            message.tags = tags.iter().map(|tag| tag.0).collect();
            message.tag_count = *count as u64;
            message.origin = by.name().to_owned();
        }
        What::Loaded {
            keys,
            count,
            took,
            failed,
        } => {
            message.keys.clone_from(keys);
            message.key_count = *count as u64;
            message.took = Some(span(*took));
            message.outcome = word(*failed, "failed", "");
        }
        What::Evicted { key } => message.keys = vec![key.clone()],
        What::Gap => {}
        What::Proof { goes_on } => message.outcome = word(*goes_on, "resumed", "stopped"),
        What::Breaker { open } => message.outcome = word(*open, "opened", "closed"),
        What::Inconsistent { key, tier } => {
            message.keys = vec![key.clone()];
            message.outcome = tier.name().to_owned();
        }
    }
    message.key_count = message.key_count.max(message.keys.len() as u64);
    message
}
