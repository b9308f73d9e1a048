//! What a thousand broken connections leave behind in the processes and at the servers: nothing.

use super::world::World;
use anyhow::{Context as _, Result, ensure};
use larder_testkit::wait_until;
use std::fmt;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::sleep;

/// Between two cuts: connections come back and are broken at all ages.
const BETWEEN: Duration = Duration::from_millis(30);
/// How long it may take until everything is as it was.
const SOON: Duration = Duration::from_secs(60);

/// Sessions that a service may have at PostgreSQL, to read and to write.
const POOLS: u64 = 16;
const SERVICES: u64 = 3;

/// What the processes hold, together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Holding {
    memory_kib: u64,
    threads: u64,
    files: u64,
    /// At PostgreSQL and at Redis.
    sessions: u64,
    clients: u64,
}

/// What was held before and after.
#[derive(Clone, Copy, Debug)]
pub struct Flat {
    cuts: u32,
    /// What all pools together may hold.
    most_sessions: u64,
    before: Holding,
    after: Holding,
}

/// Breaks all connections to both servers so many times, at one process after the other.
pub async fn link_cuts(world: &World, cuts: u32) -> Result<Flat> {
    // Some first: pools grow to what they may hold, which is no leak.
    let clients = holding(world).await?.clients;
    sever(world, cuts / 4).await?;
    back(world, clients).await?;
    let before = holding(world).await?;
    sever(world, cuts).await?;
    back(world, clients).await?;
    let mut after = holding(world).await?;
    // Connections that were just broken take a moment to go.
    let most_sessions = POOLS * SERVICES * world.nodes.len() as u64;
    let settled = wait_until("what was held before", SOON, async || {
        if let Ok(held) = holding(world).await {
            after = held;
        }
        let flat = Flat {
            cuts,
            most_sessions,
            before,
            after,
        };
        flat.check().is_ok()
    });
    // The caller judges.
    let _ = settled.await;
    Ok(Flat {
        cuts,
        most_sessions,
        before,
        after,
    })
}

async fn sever(world: &World, cuts: u32) -> Result<()> {
    for cut in 0..cuts as usize {
        let node = &world.nodes[cut % world.nodes.len()];
        match cut / world.nodes.len() % 2 {
            0 => node.redis()?.sever(),
            _ => node.database.sever(),
        }
        sleep(BETWEEN).await;
    }
    Ok(())
}

impl Flat {
    /// An error, if more is held than before.
    pub fn check(&self) -> Result<()> {
        let (before, after) = (&self.before, &self.after);
        ensure!(after.threads <= before.threads + 6, "threads: {self}");
        ensure!(after.clients <= before.clients + 3, "clients: {self}");
        ensure!(after.sessions <= self.most_sessions, "sessions: {self}");
        // Every one of them belongs to a connection that is counted at its other end.
        let sessions = after.sessions.saturating_sub(before.sessions);
        ensure!(
            after.files <= before.files + sessions + before.files / 4,
            "files: {self}"
        );
        // An allocator returns nothing at once, and caches fill.
        ensure!(
            after.memory_kib <= before.memory_kib + before.memory_kib / 4 + 32 * 1024,
            "memory: {self}"
        );
        Ok(())
    }
}

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (&self.before, &self.after);
        writeln!(f, "| {} link cuts | before | after |", self.cuts)?;
        writeln!(f, "|---|---:|---:|")?;
        for (what, before, after) in [
            ("memory (KiB)", before.memory_kib, after.memory_kib),
            ("threads", before.threads, after.threads),
            ("open files and sockets", before.files, after.files),
            ("sessions at PostgreSQL", before.sessions, after.sessions),
            ("clients of Redis", before.clients, after.clients),
        ] {
            writeln!(f, "| {what} | {before} | {after} |")?;
        }
        Ok(())
    }
}

/// Waits until every process has proofs again, and as many connections to Redis as it had.
async fn back(world: &World, clients: u64) -> Result<()> {
    for node in &world.nodes {
        node.proving().await?;
    }
    wait_until("connections to Redis", SOON, async || {
        let held = holding(world).await;
        held.is_ok_and(|held| held.clients >= clients)
    })
    .await
}

async fn holding(world: &World) -> Result<Holding> {
    let (mut memory_kib, mut threads, mut files) = (0, 0, 0);
    for node in &world.nodes {
        let running = node.running().context("the process does not run")?;
        let folder = format!("/proc/{}", running.suite.process().id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.with_context(|| format!("{name} of a process"))
        };
        memory_kib += field("VmRSS:")?;
        threads += field("Threads:")?;
        files += std::fs::read_dir(format!("{folder}/fd"))?.count() as u64;
    }
    let primary = world.primary();
    let sessions = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let sessions = block_in_place(|| primary.psql(sessions))?.trim().parse()?;
    let clients = block_in_place(|| world.bus.single()?.command(&["INFO", "clients"]))?;
    let clients = clients
        .lines()
        .find_map(|line| line.strip_prefix("connected_clients:"));
    let clients = clients.context("Redis counts no clients")?.trim().parse()?;
    Ok(Holding {
        memory_kib,
        threads,
        files,
        sessions,
        clients,
    })
}
