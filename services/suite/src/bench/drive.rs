//! Callers, and what they see.

use super::mix::{Call, Mix, PAGE};
use super::pace::Schedule;
use super::tally::{Ended, Tally};
use crate::history::{Histories, Seen};
use crate::target::{Target, Tier};
use larder_runtime::tasks::Tasks;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a call may take to end after the run was stopped.
const FAREWELL: Duration = Duration::from_secs(15);

/// Whatever requests are made to.
pub trait Work: Send + Sync + 'static {
    /// Makes the request of this number, and says how it ended.
    fn perform(&self, index: u64) -> impl Future<Output = Ended> + Send;
}

/// Replicas of products, and what is asked of them.
pub struct Products {
    /// What is asked.
    pub mix: Arc<Mix>,
    /// The products' ids, by their place.
    pub ids: Arc<[String]>,
    /// The categories, by their place.
    pub categories: Arc<[String]>,
    /// The replicas.
    pub targets: Vec<Target>,
    /// What was known when.
    pub histories: Histories,
    /// Δ: no unmarked answer may be older.
    pub bound: Duration,
    /// Where in the run's requests this begins.
    pub first: u64,
}

impl Work for Arc<Products> {
    async fn perform(&self, index: u64) -> Ended {
        let (replica, call) = self.mix.request(self.first + index);
        let target = &self.targets[replica];
        let read = |tier| Ended::Read(tier, false);
        let ended = match call {
            Call::Get(product) => self.get(target, product).await,
            Call::Batch(products) => {
                let ids = products.iter().map(|&place| self.ids[place].clone());
                target.batch(ids.collect()).await.map(read)
            }
            Call::List(category) => target
                .list(&self.categories[category], PAGE)
                .await
                .map(read),
            Call::Write(product) => self.write(target, product, index).await,
        };
        ended.unwrap_or_else(Ended::Failed)
    }
}

impl Products {
    async fn get(&self, target: &Target, product: usize) -> Result<Ended, tonic::Status> {
        let answer = target.read(&self.ids[product]).await?;
        let seen = Seen {
            invoked: answer.invoked,
            returned: answer.returned,
            version: answer.version,
            told: answer.told,
        };
        let verdict = self.histories.read(product, seen);
        let behind = verdict.behind.unwrap_or_default();
        let too_old = answer.tier != Tier::Stale && behind > self.bound;
        Ok(Ended::Read(answer.tier, too_old))
    }

    async fn write(
        &self,
        target: &Target,
        product: usize,
        index: u64,
    ) -> Result<Ended, tonic::Status> {
        let price_cents = 100 + (index % 1_000_000) as i64;
        let written = target.write(&self.ids[product], price_cents).await?;
        self.histories
            .wrote(product, written.returned, written.version);
        Ok(Ended::Written)
    }
}

/// Has so many callers make the requests of this schedule, until its end or until `stop`.
/// Returns what they counted, and how long it took.
pub async fn drive<W: Work + Clone>(
    work: &W,
    schedule: Schedule,
    callers: usize,
    slot: Duration,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<(Tally, Duration)> {
    let (tasks, schedule) = (Tasks::new(), Arc::new(schedule));
    let callers = (0..callers).map(|_| {
        let (work, schedule) = (work.clone(), schedule.clone());
        let stopping = tasks.stopping().clone();
        let caller = async move {
            let mut tally = Tally::new(slot);
            while let Some(Some(due)) = stopping.run_until_cancelled(schedule.next()).await {
                let sent = Instant::now();
                let ended = work.perform(due.index).await;
                let now = Instant::now();
                tally.note(
                    now - schedule.began(),
                    now.saturating_duration_since(due.at),
                    now - sent,
                    ended,
                );
            }
            tally
        };
        tasks.run("caller", caller)
    });
    let callers = futures_util::future::join_all(callers);
    tokio::pin!(callers);
    let (ended, stopped) = tokio::select! {
        ended = &mut callers => (ended, false),
        () = stop => {
            tasks.close(FAREWELL).await?;
            (callers.await, true)
        }
    };
    let now = Instant::now();
    let mut sum = Tally::new(slot);
    for tally in ended {
        sum.add(tally?, 0);
    }
    if !stopped {
        schedule.unsent(now).for_each(|late| sum.never_sent(late));
    }
    Ok((sum, now - schedule.began()))
}

#[cfg(test)]
mod tests {
    use super::super::pace::Pace;
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    /// Answers within a millisecond, but for one request, during which nobody is answered.
    #[derive(Clone)]
    struct Stalling(Arc<tokio::sync::Mutex<()>>);

    const STALL: Duration = Duration::from_secs(1);

    impl Work for Stalling {
        async fn perform(&self, index: u64) -> Ended {
            let _alone = self.0.lock().await;
            let takes = if index == 100 {
                STALL
            } else {
                Duration::from_millis(1)
            };
            sleep(takes).await;
            Ended::Read(Tier::L1, false)
        }
    }

    async fn measured(pace: Pace, callers: usize) -> Tally {
        let schedule = Schedule::begin(pace, Duration::from_secs(10), 1_000);
        let work = Stalling(Arc::default());
        let slot = Duration::from_millis(100);
        let driven = drive(&work, schedule, callers, slot, pending()).await;
        driven.expect("all callers end").0
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_in_the_latency_of_all_that_was_due_during_it() {
        let open = measured(Pace::Open(100.0), 1).await;
        assert_eq!(open.reads.len(), 1_000);
        // A hundred were due while nobody was answered; half of them for half a second.
        let late = open.reads.count_between(500_000, 1_100_000);
        assert!((45..70).contains(&late), "{late}");
        assert!(open.reads.value_at_quantile(0.95) > 400_000);
        // Whoever counts from the sending sees one slow call.
        assert_eq!(open.calls.count_between(500_000, 1_100_000), 1);
        assert!(open.calls.value_at_quantile(0.99) < 10_000);
        // So does a closed loop, which sends nothing meanwhile.
        let closed = measured(Pace::Closed, 1).await;
        assert_eq!(closed.reads.count_between(500_000, 1_100_000), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_stopped_gives_what_there_is() {
        let schedule = Schedule::begin(Pace::Open(10.0), Duration::from_secs(3600), u64::MAX);
        let work = Stalling(Arc::default());
        let slot = Duration::from_secs(1);
        let stop = sleep(Duration::from_millis(1_950));
        let (tally, took) = drive(&work, schedule, 4, slot, stop)
            .await
            .expect("it ends");
        assert_eq!(tally.reads.len(), 20);
        assert_eq!(tally.unsent, 0);
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}
