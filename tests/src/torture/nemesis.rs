//! All faults at random, by a seed: one lane for what happens to servers, processes and links, and
//! one for what is done in SQL meanwhile.

use super::fault::Fault;
use super::report::Line;
use super::sample::{Sample, quantile};
use super::world::{World, locked};
use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SHORTEST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(6);
/// A fault that is not over then is a finding.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lets faults happen at random for so long. `say` is told of each as it begins.
pub async fn nemesis(
    world: &World,
    seed: u64,
    span: Duration,
    say: impl Fn(&str) + Sync,
) -> Result<Line> {
    world.history.take_tally();
    locked(&world.errors).clear();
    let start = Sample::take(world).await;
    let end = Instant::now() + span;
    let hard = |fault: &Fault| {
        !fault.is_sql() && *fault != Fault::Healthy && fault.fleet() == world.fleet()
    };
    let hard: Vec<Fault> = Fault::ALL.into_iter().filter(hard).collect();
    let soft: Vec<Fault> = Fault::ALL
        .into_iter()
        .filter(|fault| fault.is_sql())
        .collect();
    tokio::try_join!(
        lane(world, &hard, (seed, end), &say),
        lane(world, &soft, (!seed, end), &say),
    )?;
    let stop = Sample::take(world).await;
    let mut latencies = std::mem::take(&mut *locked(&world.latencies));
    let (loads, statements) = stop.since(&start);
    Ok(Line {
        name: format!("nemesis, seed {seed}, {} s", span.as_secs()),
        before: Default::default(),
        during: world.history.take_tally(),
        after: Default::default(),
        loads: [None, Some(loads), None],
        statements: [None, statements, None],
        errors: std::mem::take(&mut *locked(&world.errors)),
        proof: Duration::ZERO,
        lines: stop.lines_since(&start),
        notes: std::mem::take(&mut *locked(&world.notes)),
        stale: quantile(&mut latencies.stale, 0.99),
        unavailable: quantile(&mut latencies.unavailable, 0.99),
    })
}

async fn lane(
    world: &World,
    faults: &[Fault],
    (seed, end): (u64, Instant),
    say: &impl Fn(&str),
) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(seed);
    while Instant::now() < end {
        let fault = faults[random.random_range(0..faults.len())];
        let span = random.random_range(SHORTEST..LONGEST);
        // Of its own, so that what one fault draws does not change which one comes next.
        let mut own = SmallRng::seed_from_u64(random.random());
        let pause = random.random_range(Duration::ZERO..Duration::from_secs(2));
        say(&format!(
            "{:8.1} s  {} for {span:.1?}",
            world.now().as_secs_f64(),
            fault.name()
        ));
        let happened = tokio::time::timeout(PATIENCE, fault.happen(world, span, &mut own)).await;
        let happened = happened.with_context(|| format!("{} does not end", fault.name()))?;
        if let Err(error) = happened {
            // One fault may hinder another, as when a server is away that it needs.
            say(&format!(
                "            {} was hindered: {error:#}",
                fault.name()
            ));
            world.note_error(&format!("hindered: {}", fault.name()));
        }
        sleep(pause).await;
    }
    Ok(())
}
