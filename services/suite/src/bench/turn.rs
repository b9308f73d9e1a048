//! One mode's turn: replicas of its own, a warm-up, a measurement.

use super::BOUND;
use super::drive::{Products, drive};
use super::machine;
use super::mix::{Mix, Scenario};
use super::pace::Schedule;
use super::report::{Mode, Turn};
use super::settings::Settings;
use super::tally::Tally;
use crate::history::Histories;
use crate::scrape::{self, Counters};
use crate::services::{Caching, Seams, Suite};
use crate::target::{Replica, Target};
use anyhow::Context as _;
use indicatif::ProgressBar;
use larder::Clock;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long the replicas may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// Where in the run's requests those of the warm-up begin: far from those that are measured.
const WARM_UP: u64 = 1 << 40;
/// How often the progress is shown.
const LOOK: Duration = Duration::from_millis(100);

/// What all turns have in common.
pub struct Stage<'a> {
    /// What is behind the replicas that are started.
    pub seams: &'a Seams,
    /// What the command line says.
    pub settings: &'a Settings,
    /// What is asked.
    pub mix: Arc<Mix>,
    /// The products' ids, by their place.
    pub ids: Arc<[String]>,
    /// The categories, by their place.
    pub categories: Arc<[String]>,
    /// How far all turns are, in tenths of seconds.
    pub progress: ProgressBar,
    /// What calls are timed with.
    pub clock: Clock,
}

impl Stage<'_> {
    /// From now on, this scenario is asked.
    pub fn asks(&mut self, scenario: Scenario) {
        if let Some(mix) = Arc::get_mut(&mut self.mix) {
            mix.scenario = scenario;
        }
    }

    /// A mode's turn, and whether it was stopped; `None` where that was before it was measured.
    pub async fn turn(
        &self,
        mode: Mode,
        stop: impl Future<Output = ()> + Clone,
    ) -> anyhow::Result<(Option<Turn>, bool)> {
        if mode == Mode::Target {
            return self.drive(&self.settings.target, stop).await;
        }
        static TURNS: AtomicU64 = AtomicU64::new(0);
        let nth = TURNS.fetch_add(1, Ordering::Relaxed);
        // Nothing that another turn has left in the shared tier is found by this one; and whoever may
        // use the suite's names may use these.
        let namespace = format!("larder:bench-{}-{nth}", std::process::id());
        let caching = Caching {
            tiers: mode.tiers(),
            namespace: Some(namespace),
        };
        let started = Suite::of_products_caching(self.seams, self.settings.started(), caching);
        let mut suite = started.await?;
        let replicas = suite.products();
        let turn = async {
            suite.ready_within(READY).await?;
            self.drive(&replicas, stop).await
        };
        let turn = turn.await;
        suite.end().await;
        turn
    }

    async fn drive(
        &self,
        replicas: &[Replica],
        stop: impl Future<Output = ()> + Clone,
    ) -> anyhow::Result<(Option<Turn>, bool)> {
        let settings = self.settings;
        let connect = |replica: &Replica| Target::new(replica, self.clock.clone(), None);
        let targets: Result<Vec<_>, _> = replicas.iter().map(connect).collect();
        let targets = targets.context("the address of a replica")?;
        let work = |first| {
            Arc::new(Products {
                mix: self.mix.clone(),
                ids: self.ids.clone(),
                categories: self.categories.clone(),
                targets: targets.clone(),
                histories: Histories::new(self.ids.len()),
                bound: BOUND,
                first,
            })
        };
        let slot = settings.slot();
        let phase = async |first, seconds: f64, most| {
            let takes = Duration::from_secs_f64(seconds);
            let schedule = Schedule::begin(settings.pace(), takes, most);
            let work = work(first);
            let driven = drive(&work, schedule, settings.callers(), slot, stop.clone());
            self.shown(seconds, driven).await
        };
        let most = settings.requests.unwrap_or(u64::MAX);
        let (mut slots, _) = phase(WARM_UP, settings.warm_up, u64::MAX).await?;
        if is_ready(&stop) {
            return Ok((None, true));
        }
        let (counters, transactions) = (self.counters(replicas).await, self.transactions().await);
        let (mut tally, took) = phase(0, settings.seconds, most).await?;
        let after = (self.counters(replicas).await, self.transactions().await);
        let queries = counters.zip(after.0).map(|(before, after)| {
            let counted = after.since(before);
            counted.all_loads + counted.rounds + tally.total.writes
        });
        let transactions = transactions.zip(after.1);
        let warm_up = (settings.warm_up / slot.as_secs_f64()).round() as usize;
        slots.slots.resize(warm_up, Default::default());
        // The last slot of each is the rest of a time, and would look like a dip.
        tally
            .slots
            .truncate((took.as_secs_f64() / slot.as_secs_f64()) as usize);
        let mut shown = Tally::new(slot);
        shown.slots.extend(slots.slots);
        shown.slots.extend(tally.slots.iter().copied());
        let turn = Turn {
            slots: shown.slots,
            warm_up,
            queries,
            transactions: transactions.map(|(before, after)| after.saturating_sub(before)),
            tally,
            took,
        };
        Ok((Some(turn), is_ready(&stop)))
    }

    /// Shows how far a phase is until it ends.
    async fn shown<T>(&self, seconds: f64, phase: impl Future<Output = T>) -> T {
        let (began, before) = (Instant::now(), self.progress.position());
        let all = (10.0 * seconds) as u64;
        let mut looks = tokio::time::interval(LOOK);
        tokio::pin!(phase);
        loop {
            tokio::select! {
                outcome = &mut phase => {
                    self.progress.set_position(before + all);
                    return outcome;
                }
                _ = looks.tick() => {
                    let tenths = (began.elapsed().as_millis() / 100) as u64;
                    self.progress.set_position(before + tenths.min(all));
                }
            }
        }
    }

    async fn counters(&self, replicas: &[Replica]) -> Option<Counters> {
        let admins: Vec<_> = replicas
            .iter()
            .filter_map(|replica| replica.admin)
            .collect();
        if admins.len() < replicas.len() {
            return None;
        }
        let counters = scrape::all(&admins).await;
        counters
            .inspect_err(|error| {
                tracing::warn!(error = ?error, "database queries are not in the report");
            })
            .ok()
    }

    async fn transactions(&self) -> Option<u64> {
        match self.settings.target.is_empty() {
            true => machine::transactions(&self.seams.database).await,
            false => None,
        }
    }
}

fn is_ready(stop: &(impl Future<Output = ()> + Clone)) -> bool {
    use futures_util::FutureExt as _;
    std::pin::pin!(stop.clone()).now_or_never().is_some()
}
