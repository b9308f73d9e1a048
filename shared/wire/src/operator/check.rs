//! A check on demand, as a stream of its progress: at a bounded rate, and over as soon as nobody
//! reads the stream any more.

use super::{at_most, convert};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use larder::AnyKeyspace;
use larder::check::{Checked, Finding};
use larder_proto::cache::v1::{CheckRequest, CheckResponse};
use larder_runtime::status;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Keys of each keyspace, unless the caller says otherwise.
const SAMPLE: u32 = 1000;
const MAX_SAMPLE: usize = 100_000;
/// Keys in a second, unless the caller says otherwise.
const RATE: u32 = 500;
const MAX_RATE: usize = 10_000;
/// Keys that the source is asked for at once.
const BATCH: usize = 32;

/// What is to be checked.
pub(super) struct Plan {
    keyspaces: Vec<Arc<dyn AnyKeyspace>>,
    sample: usize,
    rate: u32,
    repair: bool,
}

impl Plan {
    pub(super) fn of(
        asked: &CheckRequest,
        mut keyspaces: Vec<Arc<dyn AnyKeyspace>>,
    ) -> Result<Self, Status> {
        at_most("sample", asked.sample as usize, MAX_SAMPLE)?;
        at_most("keys_per_second", asked.keys_per_second as usize, MAX_RATE)?;
        if asked.keyspaces.is_empty() {
            // A heavy computation is repeated for a check only where it was named.
            keyspaces.retain(|keyspace| keyspace.policy().sampled);
        }
        let or = |number: u32, otherwise: u32| if number == 0 { otherwise } else { number };
        Ok(Self {
            keyspaces,
            sample: or(asked.sample, SAMPLE) as usize,
            rate: or(asked.keys_per_second, RATE),
            repair: !asked.dry_run,
        })
    }
}

/// A check under way.
struct Work {
    plan: Plan,
    batches: VecDeque<(Arc<dyn AnyKeyspace>, Vec<String>)>,
    progress: CheckResponse,
    next: Instant,
    /// Given back when the stream is dropped.
    _place: OwnedSemaphorePermit,
    ending: CancellationToken,
}

/// Runs the check while somebody reads the stream.
pub(super) fn stream(
    plan: Plan,
    place: OwnedSemaphorePermit,
    ending: CancellationToken,
) -> BoxStream<'static, Result<CheckResponse, Status>> {
    let work = Work {
        plan,
        batches: VecDeque::new(),
        progress: CheckResponse::default(),
        next: Instant::now(),
        _place: place,
        ending,
    };
    stream::unfold(Some((work, true)), |work| async {
        let (mut work, first) = work?;
        if first {
            work.sample().await;
            return Some((Ok(work.said()), Some((work, false))));
        }
        let ending = work.ending.clone();
        match ending.run_until_cancelled(work.step()).await {
            None => {
                let message = "the service is ending, and the check with it";
                let ended = status::unavailable("ENDING", message, Duration::from_secs(1));
                Some((Err(ended), None))
            }
            Some(()) => {
                let more = !work.progress.done;
                Some((Ok(work.said()), more.then_some((work, false))))
            }
        }
    })
    .boxed()
}

impl Work {
    /// Chooses the keys, of all keyspaces, so that the progress has an end from its beginning.
    async fn sample(&mut self) {
        for keyspace in &self.plan.keyspaces {
            let keys = keyspace.clone().sample(self.plan.sample).await;
            self.progress.total += keys.len() as u64;
            for batch in keys.chunks(BATCH.min(self.plan.rate as usize)) {
                self.batches.push_back((keyspace.clone(), batch.to_vec()));
            }
        }
        self.progress.done = self.batches.is_empty();
    }

    /// The next batch, when it is its turn.
    async fn step(&mut self) {
        let Some((keyspace, keys)) = self.batches.pop_front() else {
            self.progress.done = true;
            return;
        };
        tokio::time::sleep_until(self.next).await;
        let share = Duration::from_secs(1) * keys.len() as u32 / self.plan.rate.max(1);
        self.next = Instant::now().max(self.next) + share;
        for checked in keyspace.clone().check(keys, self.plan.repair).await {
            self.note(keyspace.name(), &checked);
        }
        self.progress.done = self.batches.is_empty();
    }

    fn note(&mut self, keyspace: &str, checked: &Checked) {
        let progress = &mut self.progress;
        progress.checked += 1;
        match &checked.finding {
            Finding::Same => progress.same += 1,
            Finding::Explained => progress.explained += 1,
            Finding::Undecided => progress.undecided += 1,
            Finding::Inconsistent(wrong) => {
                progress.inconsistent += wrong.len() as u64;
                let found = wrong
                    .iter()
                    .map(|wrong| convert::inconsistency(keyspace, &checked.key, wrong));
                progress.found.extend(found);
            }
        }
    }

    /// What is told now; what was found is told once.
    fn said(&mut self) -> CheckResponse {
        let said = self.progress.clone();
        self.progress.found.clear();
        said
    }
}
