//! The end: everything healed, nothing writes, and every copy in every tier equals the database.

use super::cast::{COLLECTIONS, PEOPLE, collection, table};
use super::node::Node;
use super::reads::{Asker, Question, ask};
use super::world::{BOUND, World};
use crate::Kind;
use anyhow::{Context as _, Result, ensure};
use larder_testkit::history::{Collection, Origin, Tally};
use larder_testkit::wait_until;
use std::time::Duration;

/// How long it may take until all is well.
const SOON: Duration = Duration::from_secs(60);
/// Reads of each row at each process: the first may come from anywhere, the later ones come from
/// memory.
const ROUNDS: u32 = 3;

/// Ends readers and writers, waits until all is well, and compares everything with the database.
/// A process that has just been started takes what Redis holds.
pub async fn finale(world: &World, binary: &std::path::Path) -> Result<Tally> {
    world.rest().await;
    world.history.take_tally();
    for node in &world.nodes {
        if let Ok(redis) = node.redis() {
            redis.pass();
        }
        node.database.pass();
        node.ready().await?;
        node.proving().await?;
    }
    let ended = world.now();
    for kind in [Kind::Profiles, Kind::Products, Kind::Comments] {
        held(world, kind).await?;
    }
    // Until Δ is over, an older copy is right.
    tokio::time::sleep((ended + BOUND + BOUND / 10).saturating_sub(world.now())).await;
    let fresh = Node::new(
        world.nodes.len() as u16,
        binary,
        world.bus.way(),
        world.primary().address(),
    )?;
    for _ in 0..ROUNDS {
        for node in &world.nodes {
            everything(world, node).await?;
        }
    }
    fresh.launch()?;
    fresh.ready().await?;
    fresh.proving().await?;
    for _ in 0..ROUNDS {
        everything(world, &fresh).await?;
    }
    let tally = world.history.take_tally();
    ensure!(tally.of(Origin::L1) > 0, "nothing was read from memory");
    ensure!(tally.of(Origin::L2) > 0, "nothing was read from Redis");
    ensure!(
        tally.of(Origin::Stale) == 0,
        "all is well, and an answer is marked stale"
    );
    Ok(tally)
}

/// Tells the judge what the database holds.
async fn held(world: &World, kind: Kind) -> Result<()> {
    let (table, _, place) = table(kind);
    let mut printed = String::new();
    let sql = format!("SELECT id, version, {place} FROM {table}");
    wait_until("the database", SOON, async || {
        let said = world.psql(kind, &sql).await;
        said.map(|said| printed = said).is_ok()
    })
    .await?;
    let at = world.now();
    for row in world.rows_of(kind) {
        let line = printed.lines().find_map(|line| {
            let mut columns = line.split('|');
            (columns.next()? == row.role.id).then_some(())?;
            Some((columns.next()?.parse().ok()?, collection(columns.next()?)))
        });
        world.history.at_end(row.place, at, line);
    }
    Ok(())
}

/// Every row and every list, at one process.
pub(crate) async fn everything(world: &World, node: &Node) -> Result<()> {
    let running = node.running().context("the process does not run")?;
    let ones = world.rows.iter();
    let mut questions: Vec<Question> = ones
        .map(|row| Question::One(row.role.kind, row.role.id.clone()))
        .collect();
    questions.push(Question::List(Kind::Profiles, PEOPLE));
    for group in (1..=COLLECTIONS).map(Collection) {
        questions.push(Question::List(Kind::Products, group));
        questions.push(Question::List(Kind::Comments, group));
    }
    let asker = Asker {
        session: u32::MAX,
        ..Asker::default()
    };
    for question in questions {
        // A breaker may be open for a moment more.
        wait_until("an answer", SOON, async || {
            let asked = ask(world, (node.number, &running), &asker, &question).await;
            asked.is_ok_and(|answered| answered.origin != Origin::Stale)
        })
        .await
        .with_context(|| format!("{question:?} at process {}", node.number))?;
    }
    Ok(())
}
