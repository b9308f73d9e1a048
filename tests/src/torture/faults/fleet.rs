//! What happens to Redis where it is many servers.

use super::super::world::World;
use anyhow::Result;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

/// How long a fleet may take to agree on who is what.
const AGREED: Duration = Duration::from_secs(60);
/// The slots of a cluster.
const SLOTS: u16 = 16_384;
/// Slots that are moved.
const MOVED: u16 = 256;

/// The primary is killed after its replicas have missed what it was told last; the sentinels
/// promote one of them.
pub(crate) async fn sentinel_failover(world: &World, span: Duration) -> Result<()> {
    let fleet = world.bus.sentinel()?;
    block_in_place(|| fleet.cut_replication())?;
    sleep(span / 2).await;
    let killed = block_in_place(|| fleet.kill_primary())?;
    fleet.wait_for_another(killed, AGREED).await?;
    sleep(span / 2).await;
    block_in_place(|| fleet.bring_back(killed))?;
    fleet.wait_replicated(AGREED).await
}

/// A primary is killed, and its replica takes its slots.
pub(crate) async fn shard_killed(world: &World, span: Duration) -> Result<()> {
    let fleet = world.bus.cluster()?;
    let killed = block_in_place(|| fleet.kill_owner(0))?;
    fleet.wait_well(AGREED).await?;
    sleep(span).await;
    block_in_place(|| killed.restart())?;
    fleet.wait_well(AGREED).await
}

/// A shard is added, and takes slots from all others with what is in them.
pub(crate) async fn resharded(world: &World, span: Duration) -> Result<()> {
    let fleet = world.bus.cluster()?;
    let end = Instant::now() + span;
    let shard = block_in_place(|| fleet.add_shard())?;
    for slot in (0..SLOTS).step_by((SLOTS / MOVED) as usize) {
        block_in_place(|| fleet.move_slot(slot, &shard))?;
    }
    tokio::time::sleep_until(end).await;
    fleet.wait_well(AGREED).await
}
