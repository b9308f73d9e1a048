//! Every fault, shortly, on real processes, with everything that they answer judged.
//!
//! Longer, and with a table of what was measured: `cargo run --release -p larder-tests --bin
//! torture`; see RESULTS.md.

use anyhow::{Result, ensure};
use larder_tests::torture::{
    Fault, Fleet, Load, Spell, World, finale, link_cuts, loose_bound, nemesis, print_violations,
    silent_triggers, under,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const SPELL: Spell = Spell {
    calm: Duration::from_millis(200),
    fault: Duration::from_millis(1200),
};

/// Two processes, and so little load that other tests have room beside it.
async fn world(fleet: Fleet) -> Result<Arc<World>> {
    let load = Load {
        processes: 2,
        readers: 3,
        rest: Duration::from_millis(3),
        writers: 4,
        write_rest: Duration::from_millis(50),
    };
    World::start(Path::new(LARDER), load, fleet).await
}

/// None of these breaks a promise, and when all is healed every copy equals the database.
async fn survives(faults: &[Fault]) -> Result<()> {
    let world = world(faults[0].fleet()).await?;
    for &fault in faults {
        let line = under(&world, fault, SPELL, 1).await?;
        eprintln!("{line}");
        ensure!(print_violations(&world) == 0, "{}", fault.name());
        ensure!(
            line.total().share_cached() > 0.3,
            "{}: {line}",
            fault.name()
        );
    }
    healed(&world).await
}

async fn healed(world: &World) -> Result<()> {
    let last = finale(world, Path::new(LARDER)).await?;
    ensure!(print_violations(world) == 0, "after all was healed");
    ensure!(last.reads > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_bus_breaks_no_promise() -> Result<()> {
    survives(&[Fault::Healthy, Fault::BusCut, Fault::BusSilent]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_or_killed_process_breaks_no_promise() -> Result<()> {
    survives(&[
        Fault::Stopped,
        Fault::KilledBeforeHint,
        Fault::SilentTooLong,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_redis_forgets_or_repeats_breaks_no_promise() -> Result<()> {
    survives(&[
        Fault::RedisKilled,
        Fault::RedisOldDump,
        Fault::RedisFlushed,
        Fault::RedisFull,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_servers_that_disagree_break_no_promise() -> Result<()> {
    survives(&[Fault::RedisLagging, Fault::RedisFailover, Fault::RedisSplit]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_the_last_writes_breaks_no_promise() -> Result<()> {
    survives(&[Fault::SentinelFailover]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_and_gains_shards_breaks_no_promise() -> Result<()> {
    survives(&[Fault::ShardKilled, Fault::Resharded]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_by_hand_breaks_no_promise() -> Result<()> {
    survives(&[
        Fault::HandUpdate,
        Fault::HandCopy,
        Fault::Truncate,
        Fault::Cascade,
        Fault::ReplicaRole,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_go_and_move_break_no_promise() -> Result<()> {
    survives(&[Fault::Moves, Fault::AbsenceThenInsert, Fault::DeleteInsert]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_end_late_or_never_break_no_promise() -> Result<()> {
    survives(&[Fault::LongWriter, Fault::RolledBack, Fault::PrunedLate]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_absent_database_breaks_no_promise() -> Result<()> {
    survives(&[
        Fault::SlowLoader,
        Fault::DatabaseDown,
        Fault::DatabaseSilent,
        Fault::Promoted,
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_at_once_break_no_promise() -> Result<()> {
    survives(&[Fault::BulkWrite]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_faults_at_random_break_no_promise() -> Result<()> {
    let world = world(Fleet::Single).await?;
    let span = Duration::from_secs(10);
    nemesis(&world, 1, span, |fault| eprintln!("{fault}")).await?;
    ensure!(print_violations(&world) == 0, "under many faults");
    healed(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_leave_nothing_behind() -> Result<()> {
    let world = world(Fleet::Single).await?;
    let flat = link_cuts(&world, 100).await?;
    eprintln!("{flat}");
    flat.check()?;
    ensure!(print_violations(&world) == 0, "while connections broke");
    healed(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_behind_silent_triggers_are_found() -> Result<()> {
    let world = world(Fleet::Single).await?;
    silent_triggers(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_serves_older_than_the_bound_is_found() -> Result<()> {
    let world = world(Fleet::Single).await?;
    loose_bound(&world).await
}
