//! `watch`: events of all replicas, as they come, until Ctrl-C.

use super::replicas::{Replica, Replicas, failure};
use crate::output::Output;
use anyhow::bail;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use larder_proto::cache::v1::{Event, EventKind, WatchRequest, WatchResponse};
use larder_runtime::shutdown;
use serde::Serialize;
use std::fmt;
use tonic::Status;

/// Keys or tags that a line shows.
const SHOWN: usize = 4;

/// The settings of `larder cache watch`.
#[derive(Args, Clone, Debug)]
pub struct Watch {
    /// Only these keyspaces and their sources.
    keyspaces: Vec<String>,
    /// Only events of this kind. May repeat.
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
}

/// Kinds of events.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// Tags moved.
    Moved,
    /// The loader was called.
    Loaded,
    /// An entry left memory for room.
    Evicted,
    /// Lines of the journal may have been dropped unseen.
    Gap,
    /// Proofs stopped, or go on.
    Proof,
    /// A source is left alone, or asked again.
    Breaker,
    /// A copy was found to be wrong.
    Inconsistent,
    /// The watcher was slow.
    Lost,
}

impl Kind {
    fn asked(self) -> EventKind {
        match self {
            Self::Moved => EventKind::Moved,
            Self::Loaded => EventKind::Loaded,
            Self::Evicted => EventKind::Evicted,
            Self::Gap => EventKind::Gap,
            Self::Proof => EventKind::Proof,
            Self::Breaker => EventKind::Breaker,
            Self::Inconsistent => EventKind::Inconsistent,
            // Told whatever is asked for.
            Self::Lost => EventKind::Unspecified,
        }
    }

    fn of(event: &Event) -> Option<Self> {
        let all = [
            Self::Moved,
            Self::Loaded,
            Self::Evicted,
            Self::Gap,
            Self::Proof,
            Self::Breaker,
            Self::Inconsistent,
        ];
        all.into_iter().find(|kind| kind.asked() == event.kind())
    }
}

/// One line.
#[derive(Serialize)]
struct Line {
    replica: String,
    /// Seconds since 1970; absent for what was lost.
    at: Option<f64>,
    kind: Kind,
    source: String,
    keyspace: String,
    origin: String,
    outcome: String,
    tags: Vec<String>,
    tag_count: u64,
    keys: Vec<String>,
    key_count: u64,
    took_seconds: Option<f64>,
    /// How many events were lost.
    lost: u64,
}

impl Line {
    fn of(replica: &str, event: Event) -> Option<Self> {
        let kind = Kind::of(&event)?;
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
            took_seconds: event
                .took
                .as_ref()
                .map(|took| super::inspect::seconds(Some(took))),
            lost: 0,
        })
    }

    fn lost(replica: &str, lost: u64) -> Self {
        Self {
            replica: replica.to_owned(),
            at: None,
            kind: Kind::Lost,
            source: String::new(),
            keyspace: String::new(),
            origin: String::new(),
            outcome: String::new(),
            tags: Vec::new(),
            tag_count: 0,
            keys: Vec::new(),
            key_count: 0,
            took_seconds: None,
            lost,
        }
    }
}

/// The first of them, and how many more there are.
fn some(shown: &[String], count: u64) -> String {
    let first: Vec<_> = shown.iter().take(SHOWN).map(String::as_str).collect();
    let more = count.saturating_sub(first.len() as u64);
    match more {
        0 => first.join(" "),
        more => format!("{} and {more} more", first.join(" ")),
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or_else(|| "--:--:--.---".to_owned(), clock);
        let whose = match self.keyspace.is_empty() {
            true => &self.source,
            false => &self.keyspace,
        };
        let kind = format!("{:?}", self.kind).to_lowercase();
        write!(f, "{at} {:<12} {kind:<12} {whose:<16}", self.replica)?;
        match self.kind {
            Kind::Moved => {
                let tags = some(&self.tags, self.tag_count);
                writeln!(f, " by {:<5} {tags}", self.origin)
            }
            Kind::Loaded => {
                let keys = some(&self.keys, self.key_count);
                let millis = 1e3 * self.took_seconds.unwrap_or_default();
                writeln!(f, " {keys} in {millis:.1} ms {}", self.outcome)
            }
            Kind::Lost => writeln!(f, " {} events, since this watcher is slow", self.lost),
            _ => writeln!(f, " {} {}", some(&self.keys, self.key_count), self.outcome),
        }
    }
}

/// A time of the day, in UTC.
fn clock(at: f64) -> String {
    let millis = (at * 1e3) as u64 % 86_400_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

type Told = (String, Result<WatchResponse, Status>);

async fn open(
    replica: &Replica,
    request: WatchRequest,
) -> Result<BoxStream<'static, Told>, Status> {
    let stream = replica.client.clone().watch(request).await?.into_inner();
    let name = replica.name.clone();
    Ok(stream.map(move |told| (name.clone(), told)).boxed())
}

pub async fn watch(replicas: &Replicas, asked: Watch, output: Output) -> anyhow::Result<()> {
    let kinds = asked.kind.iter().filter(|kind| **kind != Kind::Lost);
    let kinds: Vec<i32> = kinds.map(|kind| kind.asked().into()).collect();
    let plans = replicas.having(&asked.keyspaces).await?;
    let mut streams = stream::SelectAll::new();
    for (replica, keyspaces) in &plans {
        let request = WatchRequest {
            keyspaces: keyspaces.clone(),
            kinds: kinds.clone(),
        };
        match open(replica, request).await {
            Ok(stream) => streams.push(stream),
            Err(status) => eprintln!("larder: {}", failure(replica, &status)),
        }
    }
    let print = async {
        while let Some((replica, told)) = streams.next().await {
            match told {
                Ok(message) => tell(&replica, message, output)?,
                Err(status) => eprintln!("larder: {replica}: {}", status.message()),
            }
        }
        bail!("no replica tells anything any more")
    };
    tokio::select! {
        outcome = print => outcome,
        asked = shutdown::requested() => Ok(asked?),
    }
}

fn tell(replica: &str, message: WatchResponse, output: Output) -> anyhow::Result<()> {
    if message.lost > 0 {
        output.print(&Line::lost(replica, message.lost))?;
    }
    for event in message.events {
        if let Some(line) = Line::of(replica, event) {
            output.print(&line)?;
        }
    }
    Ok(())
}
