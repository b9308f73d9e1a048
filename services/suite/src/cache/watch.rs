//! `watch`: events of all replicas, as they come, until Ctrl-C.

use crate::output::Output;
use anyhow::bail;
use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use larder_proto::cache::v1::{EventKind, WatchRequest};
use larder_runtime::shutdown;
use larder_survey::watch::{LOST, Line};
use larder_survey::{Failure, Replica, Replicas};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::sleep;
use tonic::Status;

/// Keys or tags that a line shows.
const SHOWN: usize = 4;
/// Before a replica is asked again.
const PAUSE: Duration = Duration::from_millis(500);

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
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
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
}

/// How a line is printed.
#[derive(Serialize)]
#[serde(transparent)]
struct Told(Line);

/// The first of them, and how many more there are.
fn some(shown: &[String], count: u64) -> String {
    let first: Vec<_> = shown.iter().take(SHOWN).map(String::as_str).collect();
    let more = count.saturating_sub(first.len() as u64);
    match more {
        0 => first.join(" "),
        more => format!("{} and {more} more", first.join(" ")),
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = &self.0;
        let at = line.at.map_or_else(|| "--:--:--.---".to_owned(), clock);
        let whose = match line.keyspace.is_empty() {
            true => &line.source,
            false => &line.keyspace,
        };
        write!(f, "{at} {:<12} {:<12} {whose:<16}", line.replica, line.kind)?;
        match line.kind {
            "moved" => {
                let tags = some(&line.tags, line.tag_count);
                writeln!(f, " by {:<5} {tags}", line.origin)
            }
            "loaded" => {
                let keys = some(&line.keys, line.key_count);
                let millis = 1e3 * line.took_seconds.unwrap_or_default();
                writeln!(f, " {keys} in {millis:.1} ms {}", line.outcome)
            }
            LOST => writeln!(f, " {} events, since this watcher is slow", line.lost),
            _ => writeln!(f, " {} {}", some(&line.keys, line.key_count), line.outcome),
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

type Lines = BoxStream<'static, Result<Line, Status>>;

/// The events of one replica until it is gone. A stream ends with its connection, and connections end
/// by their age, so that the end of one is told and the replica is asked for another.
fn follow(replica: Replica, request: WatchRequest, lines: Lines) -> Lines {
    let followed = stream::unfold(Some(lines), move |lines| {
        let (replica, request) = (replica.clone(), request.clone());
        async move {
            let mut lines = match lines {
                Some(lines) => lines,
                None => {
                    sleep(PAUSE).await;
                    replica.watch(request).await.ok()?
                }
            };
            match lines.next().await {
                Some(Ok(line)) => Some((Ok(line), Some(lines))),
                Some(Err(status)) => Some((Err(status), None)),
                None => Some((Err(Status::unavailable("it tells no more")), None)),
            }
        }
    });
    followed.boxed()
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
        match replica.watch(request.clone()).await {
            Ok(stream) => {
                let name = replica.name.clone();
                let followed = follow(replica.clone(), request, stream);
                streams.push(followed.map(move |told| (name.clone(), told)).boxed());
            }
            Err(status) => eprintln!("larder: {}", Failure::of(&replica.name, &status)),
        }
    }
    let print = async {
        while let Some((replica, told)) = streams.next().await {
            match told {
                Ok(line) => output.print(&Told(line))?,
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
