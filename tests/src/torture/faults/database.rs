//! What happens to PostgreSQL.

use super::super::world::World;
use crate::Kind;
use anyhow::Result;
use larder_testkit::{postgres, wait_until};
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tokio::time::sleep;

/// How long a standby may take to have what its primary has.
const SOON: Duration = Duration::from_secs(20);
const BULK: u32 = 100_000;

pub(crate) async fn down(world: &World, span: Duration) -> Result<()> {
    let _away = world.primary_up.write().await;
    let primary = world.primary();
    block_in_place(|| primary.stop())?;
    sleep(span).await;
    block_in_place(|| primary.restart())?;
    recovered(world).await
}

/// 1. A session begins, and waits.
/// 2. The database takes no more connections, and loses all others.
/// 3. The session that stayed changes rows, so that what others hold becomes old.
pub(crate) async fn profiles_away(world: &World, span: Duration) -> Result<()> {
    const STAYS: &str = "SET application_name = 'stays';
        DO $$ BEGIN
            WHILE (SELECT datallowconn FROM pg_database WHERE datname = current_database()) LOOP
                PERFORM pg_sleep(0.05);
            END LOOP;
        END $$;
        SELECT pg_sleep(0.2);";
    let away = format!(
        "DO $$ BEGIN
            WHILE NOT EXISTS \
                (SELECT FROM pg_stat_activity WHERE application_name = 'stays') LOOP
                PERFORM pg_sleep(0.05);
                PERFORM pg_stat_clear_snapshot();
            END LOOP;
        END $$;
        UPDATE pg_database SET datallowconn = false WHERE datname = current_database();
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid() \
            AND application_name <> 'stays';
        SELECT pg_sleep({});
        UPDATE pg_database SET datallowconn = true WHERE datname = current_database();",
        span.as_secs_f64()
    );
    let mut held = world.hold(world.rows_of(Kind::Profiles)).await;
    let (updated, away) = tokio::join!(
        world.update_by_hand(&mut held, (STAYS, "")),
        world.psql(Kind::Profiles, &away),
    );
    drop(held);
    updated.and(away.map(drop))?;
    recovered(world).await
}

/// How long it takes until every process has a proof again.
async fn recovered(world: &World) -> Result<()> {
    let begun = Instant::now();
    for node in &world.nodes {
        wait_until("a proof", SOON, async || {
            let age = node.proven_age().await;
            // One that was made since.
            age.is_some_and(|age| age < begun.elapsed())
        })
        .await?;
    }
    world.note(format!(
        "proofs went on {:.0?} after PostgreSQL was back",
        begun.elapsed()
    ));
    Ok(())
}

/// Nothing that was acknowledged is lost: the processes lose the primary first, and the standby
/// takes over when it has all.
pub(crate) async fn promoted(world: &World, span: Duration) -> Result<()> {
    let primary = world.primary();
    let standby = block_in_place(|| primary.standby())?;
    sleep(span / 2).await;
    let away = world.primary_up.write().await;
    world.nodes.iter().for_each(|node| node.database.cut());
    let handed_over = hand_over(&primary, &standby).await;
    let next = if handed_over.is_ok() {
        standby
    } else {
        primary
    };
    for node in &world.nodes {
        node.database.aim(next.address());
        node.database.pass();
    }
    world.set_primary(next);
    drop(away);
    sleep(span / 2).await;
    handed_over
}

async fn hand_over(primary: &postgres::Postgres, standby: &postgres::Postgres) -> Result<()> {
    const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    wait_until("the end of all sessions", SOON, async || {
        let others = block_in_place(|| primary.psql(OTHERS));
        others.is_ok_and(|others| others.trim() == "0")
    })
    .await?;
    let end = block_in_place(|| primary.psql("SELECT pg_current_wal_lsn()"))?;
    let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", end.trim());
    wait_until("a standby that has all", SOON, async || {
        let said = block_in_place(|| standby.psql(&caught_up));
        said.is_ok_and(|said| said.trim() == "t")
    })
    .await?;
    block_in_place(|| primary.stop())?;
    block_in_place(|| standby.promote())
}

/// With the bulk, in the same transaction, the rows that are watched.
pub(crate) async fn bulk_write(world: &World, span: Duration) -> Result<()> {
    let fill = format!(
        "INSERT INTO products (id, title, category) \
         SELECT 'bulk-' || n, 'v1', 'bulk' FROM generate_series(1, {BULK}) n"
    );
    world.psql(Kind::Products, &fill).await?;
    let mut held = world.hold(world.rows_of(Kind::Products)).await;
    let bulk = "BEGIN; UPDATE products SET stock = stock + 1 WHERE category = 'bulk';";
    let updated = world.update_by_hand(&mut held, (bulk, "COMMIT;")).await;
    drop(held);
    sleep(span).await;
    let emptied = world.psql(
        Kind::Products,
        "DELETE FROM products WHERE category = 'bulk'",
    );
    emptied.await?;
    updated
}
