//! What happens to Redis. Failing over and splitting need no sentinel: the networks in front of
//! the processes say who the master is.

use super::super::world::World;
use super::victim;
use anyhow::{Context as _, Result};
use larder_testkit::proxy::Proxy;
use larder_testkit::{redis, wait_until};
use rand::rngs::SmallRng;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::sleep;

/// How long a replica may take to have what its master has.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn killed(world: &World, span: Duration) -> Result<()> {
    block_in_place(|| world.bus.single()?.stop())?;
    sleep(span).await;
    block_in_place(|| world.bus.single()?.restart())
}

pub(crate) async fn old_dump(world: &World, span: Duration) -> Result<()> {
    block_in_place(|| world.bus.single()?.dump())?;
    sleep(span).await;
    block_in_place(|| world.bus.single()?.restart_from_dump())
}

pub(crate) async fn flushed(world: &World, span: Duration) -> Result<()> {
    let end = tokio::time::Instant::now() + span;
    while tokio::time::Instant::now() < end {
        block_in_place(|| world.bus.single()?.command(&["FLUSHALL"]))?;
        sleep(span / 10).await;
    }
    Ok(())
}

pub(crate) async fn full(world: &World, span: Duration) -> Result<()> {
    let set = |name: &str, value: &str| {
        block_in_place(|| world.bus.single()?.command(&["CONFIG", "SET", name, value]))
    };
    let memory = block_in_place(|| world.bus.single()?.command(&["INFO", "memory"]))?;
    let used = memory
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    set("maxmemory-policy", "allkeys-random")?;
    set(
        "maxmemory",
        used.context("Redis does not say what it uses")?.trim(),
    )?;
    sleep(span).await;
    set("maxmemory", "0").map(drop)
}

/// A replica of Redis, and the network between the two.
struct Replica {
    server: redis::Redis,
    between: Proxy,
}

impl Replica {
    async fn start(world: &World) -> Result<Self> {
        let between = Proxy::start(world.bus.single()?.address())?;
        let port = between.address().port().to_string();
        let server = redis::Setup::default().args(["--replicaof", &format!("127.0.0.1 {port}")]);
        let server = block_in_place(|| server.start())?;
        wait_until("a replica of Redis", SOON, async || {
            let said = block_in_place(|| server.command(&["INFO", "replication"]));
            said.is_ok_and(|said| said.contains("master_link_status:up"))
        })
        .await?;
        Ok(Self { server, between })
    }

    fn promote(&self) -> Result<()> {
        block_in_place(|| self.server.command(&["REPLICAOF", "NO", "ONE"])).map(drop)
    }
}

fn aim(world: &World, target: SocketAddr, mut nodes: impl Iterator<Item = usize>) -> Result<()> {
    nodes.try_for_each(|node| {
        world.nodes[node].redis()?.aim(target);
        Ok(())
    })
}

/// A process reads what its writes, and those of others, have long replaced.
pub(crate) async fn lagging(world: &World, span: Duration, random: &mut SmallRng) -> Result<()> {
    let replica = Replica::start(world).await?;
    replica.between.stall();
    let node = victim(world, random);
    node.redis()?.aim(replica.server.address());
    sleep(span).await;
    node.redis()?.aim(world.bus.single()?.address());
    Ok(())
}

pub(crate) async fn failover(world: &World, span: Duration) -> Result<()> {
    let replica = Replica::start(world).await?;
    // The tail: what the master is told from here on is lost.
    replica.between.stall();
    sleep(span / 2).await;
    block_in_place(|| world.bus.single()?.stop())?;
    replica.promote()?;
    aim(world, replica.server.address(), 0..world.nodes.len())?;
    sleep(span / 2).await;
    block_in_place(|| world.bus.single()?.restart())?;
    aim(world, world.bus.single()?.address(), 0..world.nodes.len())?;
    Ok(())
}

pub(crate) async fn split(world: &World, span: Duration) -> Result<()> {
    let replica = Replica::start(world).await?;
    replica.between.cut();
    replica.promote()?;
    let half = 0..world.nodes.len().div_ceil(2);
    aim(world, replica.server.address(), half.clone())?;
    sleep(span).await;
    aim(world, world.bus.single()?.address(), half)?;
    Ok(())
}
