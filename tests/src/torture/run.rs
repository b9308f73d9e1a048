//! A fault between two calm spells, and what was measured.

use super::fault::Fault;
use super::report::Line;
use super::sample::{Sample, quantile, watch_proofs};
use super::world::{World, locked};
use anyhow::{Context as _, Result};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::sleep;

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    /// Before, and again after.
    pub calm: Duration,
    /// The fault.
    pub fault: Duration,
}

/// The second after a fault, in which a stampede would be.
const AFTERMATH: Duration = Duration::from_secs(1);
/// No fault takes longer than this beside its own time.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lets a fault happen.
pub async fn under(world: &World, fault: Fault, spell: Spell, seed: u64) -> Result<Line> {
    let mut random = SmallRng::seed_from_u64(seed);
    world.history.take_tally();
    locked(&world.errors).clear();
    std::mem::take(&mut *locked(&world.latencies));

    let start = Sample::take(world).await;
    sleep(spell.calm).await;
    let began = Sample::take(world).await;
    let before = world.history.take_tally();
    let calm_errors = std::mem::take(&mut *locked(&world.errors));

    let proof = Mutex::default();
    let happened = fault.happen(world, spell.fault, &mut random);
    let happened = tokio::time::timeout(spell.fault + PATIENCE, happened);
    let happened = tokio::select! {
        happened = happened => happened,
        () = watch_proofs(world, &proof) => return Err(anyhow::Error::msg("it never ends")),
    };
    happened
        .with_context(|| format!("{} does not end", fault.name()))?
        .with_context(|| fault.name())?;
    let healed = Sample::take(world).await;
    let during = world.history.take_tally();

    sleep(AFTERMATH.min(spell.calm)).await;
    let second = Sample::take(world).await;
    sleep(spell.calm).await;
    let after = world.history.take_tally();
    let mut latencies = std::mem::take(&mut *locked(&world.latencies));
    let mut errors = std::mem::take(&mut *locked(&world.errors));
    for (what, count) in calm_errors {
        *errors.entry(what).or_default() += count;
    }
    Ok(Line {
        name: fault.name(),
        loads: [
            Some(began.since(&start).0),
            Some(healed.since(&began).0),
            Some(second.since(&healed).0),
        ],
        statements: [
            began.since(&start).1,
            healed.since(&began).1,
            second.since(&healed).1,
        ],
        proof: *locked(&proof),
        lines: healed.lines_since(&began),
        notes: std::mem::take(&mut *locked(&world.notes)),
        stale: quantile(&mut latencies.stale, 0.99),
        unavailable: quantile(&mut latencies.unavailable, 0.99),
        before,
        during,
        after,
        errors,
    })
}
