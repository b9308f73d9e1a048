//! What happens to connections.

use super::super::world::World;
use super::victim;
use anyhow::Result;
use rand::rngs::SmallRng;
use std::time::Duration;
use tokio::time::sleep;

/// How long a loader's statement takes each way.
const SLOW: Duration = Duration::from_millis(100);

pub(crate) async fn bus_cut(world: &World, span: Duration, random: &mut SmallRng) -> Result<()> {
    let node = victim(world, random);
    node.redis()?.cut();
    sleep(span).await;
    node.redis()?.pass();
    Ok(())
}

pub(crate) async fn bus_silent(world: &World, span: Duration, random: &mut SmallRng) -> Result<()> {
    let node = victim(world, random);
    node.redis()?.stall();
    sleep(span).await;
    // What was held back arrives now, all at once and late.
    node.redis()?.pass();
    Ok(())
}

pub(crate) async fn slow_loader(world: &World, span: Duration) -> Result<()> {
    world
        .nodes
        .iter()
        .for_each(|node| node.database.delay(SLOW));
    sleep(span).await;
    world.nodes.iter().for_each(|node| node.database.pass());
    Ok(())
}

pub(crate) async fn database_silent(
    world: &World,
    span: Duration,
    random: &mut SmallRng,
) -> Result<()> {
    let node = victim(world, random);
    node.database.stall();
    sleep(span).await;
    node.database.pass();
    Ok(())
}
