//! A launch at a time to come: written down, so that it needs neither its caller nor the process
//! that took it, and followed until every replica holds its products.

use super::keeper::{KEEP, LOOK, MOST_LAUNCHES, micros, now};
use super::{COME_BACK, Progress, What, Word};
use crate::store::Store;
use crate::store::launches::{Launch, Said};
use larder::Error;
use larder_api::Id;
use larder_host::load::error;
use larder_runtime::status::{self, Problem};
use larder_wire::refusal;
use prost_types::Timestamp;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tonic::{Code, Status};

/// How far ahead a launch may be.
const FURTHEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long one that is over is remembered, for whoever wonders.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How often it is looked how far the replicas are.
const FOLLOW: Duration = Duration::from_millis(100);
/// How long a launch has been written down when every replica that runs has found it.
const FOUND: Duration = LOOK.saturating_mul(3);
/// How long it may make no progress.
const PATIENCE: Duration = Duration::from_secs(30);

/// When the products go on sale, in microseconds since 1970; `None` for now.
pub fn time(launch_time: Option<Timestamp>) -> Result<Option<i64>, Status> {
    let Some(Timestamp { seconds, nanos }) = launch_time else {
        return Ok(None);
    };
    let refused = |problem: &str| Err(status::invalid("launch_time", problem));
    let Ok(0..=999_999_999) = u32::try_from(nanos) else {
        return refused("must have nanoseconds below a second");
    };
    let at = seconds.saturating_mul(1_000_000) + i64::from(nanos) / 1000;
    match at.saturating_sub(now()) {
        ..=0 => refused("must not be in the past"),
        ahead if ahead > micros(FURTHEST) => refused("must be within 30 days"),
        _ => Ok(Some(at)),
    }
}

/// Writes a launch down and follows it until every replica holds its products.
pub async fn run(
    store: &Store,
    wake: &Notify,
    (what, at): (What, i64),
    tell: &watch::Sender<Word>,
) -> Result<(), Status> {
    // One that is too large is refused, instead of never being whole.
    what.ids(store).await?;
    let id = Id::parse_or_new("id", String::new())?.as_str().to_owned();
    let launch = Launch { id, what, at };
    let times = (
        MOST_LAUNCHES,
        now() - micros(KEEP),
        now() - micros(REMEMBERED),
    );
    let added = store.add_launch(&launch, times).await;
    if !added.map_err(away)? {
        let message = format!("{MOST_LAUNCHES} launches are written down already");
        let reason = "TOO_MANY_LAUNCHES";
        return Err(status::resource_exhausted(reason, &message, KEEP));
    }
    tracing::info!(launch.id, launch.at, "a launch was written down");
    wake.notify_one();
    follow(store, &launch.id, tell).await
}

async fn follow(store: &Store, id: &str, tell: &watch::Sender<Word>) -> Result<(), Status> {
    let begun = Instant::now();
    let (mut last, mut moved_at) = (Progress::default(), begun);
    loop {
        tokio::time::sleep(FOLLOW).await;
        let said = store.said(id).await.map_err(away)?;
        let progress = progress(&said);
        let whole = progress.replicas > 0 && progress.replicas == progress.ready_replicas;
        if whole && begun.elapsed() >= FOUND {
            // The word that it is whole is the last one.
            tell.send_replace(Some(Ok(progress)));
            return Ok(());
        }
        if progress != last {
            (last, moved_at) = (progress, Instant::now());
            if !whole {
                tell.send_replace(Some(Ok(progress)));
            }
        }
        if moved_at.elapsed() >= PATIENCE {
            let message = "the launch is written down, and some replica does not come to hold \
                all of its products";
            let stuck = Problem::new(Code::Unavailable, "LAUNCH_INCOMPLETE", message);
            return Err(stuck.retry_after(COME_BACK).into());
        }
    }
}

/// How far the replica is that is furthest behind, and how many are ready.
fn progress(said: &[Said]) -> Progress {
    let left = |said: &&Said| said.total.saturating_sub(said.loaded + said.missing);
    let behind = said.iter().max_by_key(left).copied().unwrap_or_default();
    let ready = said.iter().filter(|said| said.is_whole()).count();
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Progress {
        loaded: behind.loaded,
        missing: behind.missing,
        total: behind.total,
        replicas: number(said.len()),
        ready_replicas: number(ready),
    }
}

fn away(failed: larder_db::Error) -> Status {
    refusal(&Error::Load {
        keyspace: "products".into(),
        cause: error(failed.into()),
    })
}
