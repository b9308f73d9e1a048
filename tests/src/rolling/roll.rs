//! What is done to the processes, and what came of it.

use super::callers::{Pace, caller};
use super::fleet::{Fleet, Part, Replica, Start};
use super::ratio::Recovery;
use super::stage::Stage;
use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use larder_testkit::history::{Tally, Violation};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long it takes until a list has heard that a process is gone.
const HEARD: Duration = Duration::from_secs(1);

/// How a process is made to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Its successor is ready; it leaves the list and is asked to end, in the same moment.
    Asked,
    /// It is killed, and the list hears of it a second later. Its successor comes after it.
    Killed,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How processes end.
    pub how: How,
    /// Of what there are replicas, and how many of each.
    pub parts: Vec<Part>,
    /// See `parts`.
    pub replicas: usize,
    /// All replicas are replaced, again and again until there were so many requests.
    pub requests: u64,
    /// Callers over HTTP, and as many over gRPC.
    pub callers: u32,
    /// What each rests after a request.
    pub rest: Duration,
    /// The share of writes, of 1.
    pub writes: f64,
    /// How long nothing is done before and after a replacement.
    pub calm: Duration,
    /// Settings of all processes.
    pub args: Vec<String>,
    /// Further settings of all but the gateway.
    pub of_services: Vec<String>,
}

/// A process was replaced.
#[derive(Clone, Debug)]
pub struct Step {
    /// Of what.
    pub part: Part,
    /// From SIGTERM until its end.
    pub drained: Option<Duration>,
    /// What it did to the share of reads that came from a cache: of that service, or of all where a
    /// gateway was replaced.
    pub recovery: Option<Recovery>,
    /// Requests since the step before.
    pub requests: u64,
    /// What of these failed.
    pub failed: u64,
}

/// What came of all of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Requests, be they reads or writes.
    pub requests: u64,
    /// What failed, by how.
    pub failures: BTreeMap<String, u64>,
    /// Requests that callers made again, as they may: on another connection, or at another replica.
    pub again: u64,
    /// Writes of which nobody knows what became of them.
    pub ambiguous: u64,
    /// What was judged.
    pub tally: Tally,
    /// Broken promises, with their histories.
    pub violations: Vec<Violation>,
    /// The replacements.
    pub steps: Vec<Step>,
}

/// Starts everything, replaces every replica as the plan has it, and tells each step.
pub async fn roll(binary: &Path, plan: &Plan, mut told: impl FnMut(&Step)) -> Result<Outcome> {
    let start = Start {
        binary: binary.to_owned(),
        args: plan.args.clone(),
        of_services: plan.of_services.clone(),
    };
    let fleet = Arc::new(Fleet::new(start)?);
    let all = plan
        .parts
        .iter()
        .flat_map(|part| std::iter::repeat_n(*part, plan.replicas));
    try_join_all(all.map(|part| fleet.add(part))).await?;
    let stage = Stage::set(fleet).await?;
    let pace = Pace {
        writes: plan.writes,
        rest: plan.rest,
    };
    let mut callers = JoinSet::new();
    for session in 0..plan.callers * 2 {
        callers.spawn(caller(stage.clone(), session, session % 2 == 0, pace));
    }
    let steps = replace_all(&stage, plan, &mut told).await;
    stage.stop();
    while let Some(ended) = callers.join_next().await {
        ended?;
    }
    let steps = steps?;
    stage.close().await?;
    Ok(Outcome {
        requests: stage.asked(),
        failures: stage.failures(),
        again: stage.again.load(Ordering::Relaxed),
        ambiguous: stage.ambiguous.load(Ordering::Relaxed),
        tally: stage.history.take_tally(),
        violations: stage.history.violations(),
        steps,
    })
}

async fn replace_all(
    stage: &Stage,
    plan: &Plan,
    told: &mut impl FnMut(&Step),
) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    tokio::time::sleep(plan.calm * 2).await;
    loop {
        for &part in &plan.parts {
            for old in stage.fleet.of(part) {
                let step = replace(stage, plan, part, old, &steps).await?;
                told(&step);
                steps.push(step);
            }
        }
        if stage.asked() >= plan.requests {
            return Ok(steps);
        }
    }
}

async fn replace(
    stage: &Stage,
    plan: &Plan,
    part: Part,
    old: Arc<Replica>,
    before: &[Step],
) -> Result<Step> {
    let fleet = &stage.fleet;
    let (begun, drained) = match plan.how {
        How::Asked => {
            // Readers of the list hear of the new one and of the old one at the same time.
            fleet.add(part).await?;
            let begun = stage.now();
            fleet.remove(&old)?;
            (begun, Some(old.drain().await?))
        }
        How::Killed => {
            let begun = stage.now();
            old.kill()?;
            let heard = async {
                tokio::time::sleep(HEARD).await;
                fleet.remove(&old)
            };
            let (heard, added) = tokio::join!(heard, fleet.add(part));
            heard?;
            added?;
            (begun, None)
        }
    };
    tokio::time::sleep(plan.calm).await;
    let of = Some(part).filter(|part| *part != Part::Gateway);
    let requests: u64 = before.iter().map(|step| step.requests).sum();
    let failed: u64 = before.iter().map(|step| step.failed).sum();
    Ok(Step {
        part,
        drained,
        recovery: stage.ratios.recovery(of, plan.calm, begun, stage.now()),
        requests: stage.asked() - requests,
        failed: stage.failures().values().sum::<u64>() - failed,
    })
}

impl Outcome {
    /// The longest time from SIGTERM until the end of a process.
    pub fn longest_drain(&self) -> Option<Duration> {
        self.steps.iter().filter_map(|step| step.drained).max()
    }

    /// The longest time until the share from caches was back; `None` if one never was.
    pub fn slowest_recovery(&self) -> Option<Duration> {
        let measured = self.steps.iter().filter_map(|step| step.recovery);
        let back: Option<Vec<Duration>> = measured.map(|recovery| recovery.back).collect();
        back?.into_iter().max()
    }

    /// Fails unless nothing did: no read failed and none was stale, and no write failed but those
    /// whose process was killed.
    pub fn check(&self, how: How) -> Result<()> {
        let excused = |what: &str| how == How::Killed && what.contains(" write of ");
        let failed: Vec<_> = self
            .failures
            .iter()
            .filter(|(what, _)| !excused(what))
            .collect();
        ensure!(failed.is_empty(), "requests failed: {failed:?}");
        ensure!(
            self.violations.is_empty() && self.tally.violations == 0,
            "{} promises were broken: {}",
            self.tally.violations,
            self.violations
                .iter()
                .map(ToString::to_string)
                .collect::<String>()
        );
        Ok(())
    }
}

/// The head of the table of steps, in Markdown.
pub fn header() -> &'static str {
    "| replaced | requests | failed | drain | from cache before, lowest second, after | back after |\n\
     |---|---:|---:|---:|---|---:|"
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |span: Option<Duration>| {
            span.map_or_else(
                || "–".to_owned(),
                |span| format!("{:.1} s", span.as_secs_f64()),
            )
        };
        let (ratios, back) = match self.recovery {
            None => ("–".to_owned(), "–".to_owned()),
            Some(now) => {
                let ratios = [now.before, now.lowest, now.after];
                let ratios = ratios.map(|ratio| format!("{:.1} %", ratio * 100.0));
                let back = now.back.map(|back| seconds(Some(back)));
                (
                    ratios.join(", "),
                    back.unwrap_or_else(|| "not yet".to_owned()),
                )
            }
        };
        write!(
            f,
            "| {} | {} | {} | {} | {ratios} | {back} |",
            self.part,
            self.requests,
            self.failed,
            seconds(self.drained),
        )
    }
}
