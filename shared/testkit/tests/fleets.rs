//! Sentinels and clusters do what the tests that use them rely on.

use anyhow::{Context, Result};
use larder_testkit::{cluster, sentinel, wait_until};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_failover_loses_what_replicas_did_not_get_and_nothing_else() -> Result<()> {
    let fleet = sentinel::start()?;
    let primary = fleet.primary()?;
    primary.command(&["SET", "early", "x"])?;
    assert_eq!(primary.command(&["WAIT", "2", "5000"])?, "2");
    fleet.cut_replication()?;
    primary.command(&["SET", "late", "x"])?;
    let begun = Instant::now();
    let old = fleet.kill_primary()?;
    fleet.wait_for_another(old, LONG).await?;
    println!("another primary after {:?}", begun.elapsed());
    let new = fleet.primary()?;
    assert_eq!(new.command(&["GET", "early"])?, "x");
    assert_eq!(new.command(&["GET", "late"])?, "");
    // All of them come back as what they are now.
    fleet.restart()?;
    assert_eq!(fleet.primary()?.address(), new.address());
    Ok(())
}

#[tokio::test]
async fn a_cluster_replaces_a_killed_primary_and_gives_slots_to_a_new_shard() -> Result<()> {
    let cluster = cluster::start()?;
    let slot = cluster.slot("key")?;
    cluster.owner(slot)?.command(&["SET", "key", "x"])?;
    let new = cluster.add_shard()?;
    cluster.move_slot(slot, &new)?;
    assert_eq!(new.command(&["GET", "key"])?, "x");
    assert_eq!(cluster.owner(slot)?.address(), new.address());
    cluster.wait_well(LONG).await?;

    let other = (0..).find(|slot| {
        cluster
            .owner(*slot)
            .is_ok_and(|o| o.address() != new.address())
    });
    let other = other.context("another slot")?;
    let begun = Instant::now();
    let killed = cluster.kill_owner(other)?;
    wait_until("another owner", LONG, async || cluster.owner(other).is_ok()).await?;
    cluster.wait_well(LONG).await?;
    println!("another owner after {:?}", begun.elapsed());
    killed.restart()?;
    cluster.wait_well(LONG).await
}

#[tokio::test]
async fn a_cluster_comes_back_from_the_death_of_all_nodes() -> Result<()> {
    let cluster = cluster::start()?;
    cluster.stop()?;
    assert!(cluster.owner(0).is_err());
    cluster.restart()?;
    assert!(cluster.owner(0).is_ok());
    cluster.pause()?;
    cluster.resume()?;
    cluster.wait_well(LONG).await
}
