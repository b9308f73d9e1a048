//! Drives replicas through a plan, and judges what they answer.

use super::plan::{Plan, Step};
use super::propagation;
use super::tally::Tally;
use crate::history::{Histories, Seen};
use crate::target::{Answer, Target, Tier};
use indicatif::ProgressBar;
use larder_runtime::tasks::Tasks;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tonic::Status;

/// So many calls of a worker fail before the first that does not, and nobody is there.
const HOPELESS: u64 = 5;

/// A run.
pub struct Drive {
    /// What is done.
    pub plan: Plan,
    /// The products' ids, by their place.
    pub ids: Vec<String>,
    /// The replicas.
    pub targets: Vec<Target>,
    /// Δ: no unmarked answer may be older.
    pub bound: Duration,
    /// Every so-manieth write is watched until another replica shows it.
    pub watch_every: u64,
    /// What was known when.
    pub histories: Histories,
    /// How far it has come.
    pub progress: ProgressBar,
    next: AtomicUsize,
    writes: AtomicUsize,
    stopped: AtomicBool,
    total: Mutex<Tally>,
}

impl Drive {
    /// A run that has not begun.
    pub fn new(
        plan: Plan,
        ids: Vec<String>,
        targets: Vec<Target>,
        bound: Duration,
        watch_every: u64,
        progress: ProgressBar,
    ) -> Self {
        Self {
            histories: Histories::new(plan.products),
            plan,
            ids,
            targets,
            bound,
            watch_every,
            progress,
            next: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            total: Mutex::default(),
        }
    }

    /// Runs to the end of the plan, or until `stop`, with so many requests under way at once.
    pub async fn run(
        self: &Arc<Self>,
        concurrency: usize,
        stop: impl Future<Output = ()>,
    ) -> Tally {
        let tasks = Tasks::new();
        let workers = (0..concurrency).map(|_| {
            let drive = self.clone();
            tasks.run("replay", async move { drive.work().await })
        });
        let workers = futures_util::future::join_all(workers);
        tokio::pin!(workers);
        let ended = tokio::select! {
            ended = &mut workers => ended,
            () = stop => {
                self.stopped.store(true, Ordering::Relaxed);
                workers.await
            }
        };
        let mut total = std::mem::take(&mut *self.lock());
        total.lost_workers = ended.iter().filter(|outcome| outcome.is_err()).count() as u64;
        total
    }

    /// Takes the next request again and again.
    async fn work(&self) {
        let mut tally = Tally::default();
        while !self.stopped.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(step) = self.plan.step(index) else {
                break;
            };
            tally.requests += 1;
            if step.is_write {
                self.write(step, index, &mut tally).await;
            } else if let Some(answer) = self.read(step.product, step.replica, &mut tally).await {
                tally.answered(answer.tier);
            }
            self.progress.inc(1);
            if tally.is_hopeless(HOPELESS) {
                self.stopped.store(true, Ordering::Relaxed);
            }
        }
        self.lock().add(tally);
    }

    /// Reads, judges and notes.
    pub async fn read(&self, product: usize, replica: usize, tally: &mut Tally) -> Option<Answer> {
        let answer = self.targets[replica].read(&self.ids[product]).await;
        let answer = answer.map_err(|status| tally.failed(&status)).ok()?;
        let seen = Seen {
            invoked: answer.invoked,
            returned: answer.returned,
            version: answer.version,
            told: answer.told,
        };
        let verdict = self.histories.read(product, seen);
        tally.judged(verdict, answer.tier == Tier::Stale, self.bound);
        Some(answer)
    }

    /// Writes; and where it is one of those that are watched, waits until another replica shows
    /// it. That replica has a copy of the old value: it is read just before.
    async fn write(&self, step: Step, index: usize, tally: &mut Tally) {
        let nth = self.writes.fetch_add(1, Ordering::Relaxed) as u64;
        let watched = self.targets.len() > 1 && nth.is_multiple_of(self.watch_every);
        let other = (step.replica + 1) % self.targets.len();
        if watched {
            self.read(step.product, other, tally).await;
        }
        let price_cents = 100 + index as i64;
        match self.put(step, price_cents).await {
            Ok((returned, version)) => {
                tally.writes += 1;
                if watched {
                    propagation::watch(self, step.product, other, (returned, version), tally).await;
                }
            }
            Err(status) => tally.failed(&status),
        }
    }

    async fn put(&self, step: Step, price: i64) -> Result<(larder::clock::Stamp, u64), Status> {
        let written = self.targets[step.replica]
            .write(&self.ids[step.product], price)
            .await?;
        self.histories
            .wrote(step.product, written.returned, written.version);
        Ok((written.returned, written.version))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
