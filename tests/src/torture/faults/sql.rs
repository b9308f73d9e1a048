//! What is done in SQL, again and again for as long as it lasts.

use super::super::byhand::ids;
use super::super::cast::{COLLECTIONS, table};
use super::super::fault::Fault;
use super::super::world::{Belief, Held, Row, World};
use crate::Kind;
use anyhow::Result;
use larder_testkit::history::Collection;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom as _;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Rows that are changed together.
const FEW: usize = 4;
const KINDS: [Kind; 3] = [Kind::Profiles, Kind::Products, Kind::Comments];
/// How long a transaction stays open that later ones overtake.
const LONG: Duration = Duration::from_millis(1500);

pub(crate) async fn again_and_again(
    fault: Fault,
    world: &World,
    span: Duration,
    random: &mut SmallRng,
) -> Result<()> {
    let end = Instant::now() + span;
    loop {
        once(fault, world, random).await?;
        if Instant::now() >= end {
            return Ok(());
        }
        sleep(Duration::from_millis(random.random_range(50..400))).await;
    }
}

async fn once(fault: Fault, world: &World, random: &mut SmallRng) -> Result<()> {
    let kind = KINDS[random.random_range(0..KINDS.len())];
    let mut held = match fault {
        // It takes its own.
        Fault::Cascade => Vec::new(),
        Fault::Truncate => world.hold(world.rows_of(kind)).await,
        Fault::AbsenceThenInsert => some(world, kind, random, |row| row.role.comes_and_goes).await,
        _ => some(world, kind, random, |_| true).await,
    };
    match fault {
        Fault::HandUpdate => world.update_by_hand(&mut held, ("", "")).await,
        Fault::ReplicaRole => {
            let role = "SET session_replication_role = replica;";
            world.update_by_hand(&mut held, (role, "")).await
        }
        Fault::LongWriter => {
            let sleep = format!("SELECT pg_sleep({}); COMMIT;", LONG.as_secs_f64());
            world.update_by_hand(&mut held, ("BEGIN;", &sleep)).await
        }
        Fault::PrunedLate => {
            let sleep = format!("SELECT pg_sleep({}); COMMIT;", LONG.as_secs_f64());
            world.update_by_hand(&mut held, ("BEGIN;", &sleep)).await?;
            prune(world, kind).await
        }
        Fault::HandCopy => {
            delete(world, &mut held).await?;
            world.insert_by_hand(kind, &mut held, "COPY").await
        }
        Fault::Truncate => {
            let sql = format!("TRUNCATE {}", table(kind).0);
            world.delete_by_hand(&mut held, &sql).await?;
            // Others have a chance to see the empty table.
            sleep(Duration::from_millis(random.random_range(0..1500))).await;
            restore(world, kind, held).await
        }
        Fault::Cascade => cascade(world, random).await,
        Fault::Moves => {
            let into = Collection(random.random_range(1..=COLLECTIONS));
            match kind {
                Kind::Profiles => Ok(()),
                _ => world.move_by_hand(&mut held, into).await,
            }
        }
        Fault::AbsenceThenInsert => {
            delete(world, &mut held).await?;
            sleep(Duration::from_millis(random.random_range(0..1500))).await;
            world.insert_by_hand(kind, &mut held, "INSERT").await
        }
        Fault::DeleteInsert => {
            delete(world, &mut held).await?;
            world.insert_by_hand(kind, &mut held, "INSERT").await
        }
        Fault::RolledBack => rolled_back(world, &held).await,
        _ => Ok(()),
    }
}

/// Some rows of a kind, that nobody else has.
async fn some<'a>(
    world: &'a World,
    kind: Kind,
    random: &mut SmallRng,
    fits: impl Fn(&Row) -> bool,
) -> Vec<Held<'a>> {
    let rows = world.rows_of(kind).filter(|row| fits(row));
    let mut rows = rows.choose_multiple(random, FEW);
    // In the order of their places, as everybody takes them.
    rows.sort_by_key(|row| row.place);
    world.hold(rows).await
}

async fn delete(world: &World, held: &mut [Held<'_>]) -> Result<()> {
    let Some((row, _)) = held.first() else {
        return Ok(());
    };
    let sql = format!(
        "DELETE FROM {} WHERE id IN ({})",
        table(row.role.kind).0,
        ids(held)
    );
    world.delete_by_hand(held, &sql).await
}

/// Those that stay come back; the others may come back by themselves.
async fn restore(world: &World, kind: Kind, held: Vec<Held<'_>>) -> Result<()> {
    let (_, mut steady): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|(row, _)| row.role.comes_and_goes);
    world.insert_by_hand(kind, &mut steady, "COPY").await
}

/// Categories become rows of their own, and one of them is deleted with all its products.
async fn cascade(world: &World, random: &mut SmallRng) -> Result<()> {
    let mut held = world.hold(world.rows_of(Kind::Products)).await;
    world.update_by_hand(&mut held, ("", "")).await?;
    let doomed = Collection(random.random_range(1..=COLLECTIONS));
    let is_in = |(_, belief): &Held<'_>| matches!(**belief, Belief::Held(_, at) if at == doomed);
    let (mut members, others): (Vec<_>, Vec<_>) = held.into_iter().partition(is_in);
    // Writers at those would stand before a table that is being altered.
    let name = super::super::cast::collection_name(doomed);
    let sql = format!(
        "CREATE TABLE shelves AS SELECT DISTINCT category AS id FROM products;
         ALTER TABLE shelves ADD PRIMARY KEY (id);
         ALTER TABLE products ADD CONSTRAINT on_shelf FOREIGN KEY (category) \
             REFERENCES shelves (id) ON DELETE CASCADE;
         DELETE FROM shelves WHERE id = '{name}';
         ALTER TABLE products DROP CONSTRAINT on_shelf;
         DROP TABLE shelves;"
    );
    let deleted = world.delete_by_hand(&mut members, &sql).await;
    drop(others);
    if deleted.is_err() {
        let undo = "ALTER TABLE products DROP CONSTRAINT IF EXISTS on_shelf; \
            DROP TABLE IF EXISTS shelves;";
        world.psql(Kind::Products, undo).await?;
        return deleted;
    }
    restore(world, Kind::Products, members).await
}

async fn rolled_back(world: &World, held: &[Held<'_>]) -> Result<()> {
    let Some((row, _)) = held.first() else {
        return Ok(());
    };
    let (table, value, _) = table(row.role.kind);
    let sql = format!(
        "BEGIN; UPDATE {table} SET {value} = 'aborted' WHERE id IN ({}); \
         SELECT pg_sleep(0.3); ROLLBACK;",
        ids(held)
    );
    world.psql(row.role.kind, &sql).await.map(drop)
}

/// Makes all lines of a service's journal look old, marks them, and drops them at once: as the
/// services do, but without giving anybody time to see the mark.
pub(crate) async fn prune(world: &World, kind: Kind) -> Result<()> {
    const PRUNE: &str = "UPDATE journal SET at = at - interval '1 hour';
        UPDATE journal_state SET marked_at = clock_timestamp(), \
            low_marked = old.next::text::xid8 FROM (SELECT 1 + max(xid::text::int8) AS next \
            FROM journal WHERE xid < pg_snapshot_xmin(pg_current_snapshot())) old \
            WHERE low_marked < old.next::text::xid8;
        BEGIN;
        UPDATE journal_state SET low_dropped = low_marked;
        DELETE FROM journal WHERE xid < (SELECT low_dropped FROM journal_state);
        COMMIT;";
    world.psql(kind, PRUNE).await.map(drop)
}
