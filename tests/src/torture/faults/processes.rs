//! What happens to a process.

use super::super::cast::value;
use super::super::world::{Belief, World};
use super::{sql, victim};
use crate::{Kind, asking};
use anyhow::{Context as _, Result};
use larder_proto::profiles::v1::{Profile, UpdateProfileRequest};
use larder_testkit::history::State;
use larder_testkit::wait_until;
use prost_types::FieldMask;
use rand::rngs::SmallRng;
use std::time::Duration;
use tokio::time::sleep;

/// How long a write may take to be seen in the database.
const SOON: Duration = Duration::from_secs(10);

pub(crate) async fn stopped(world: &World, span: Duration, random: &mut SmallRng) -> Result<()> {
    let running = victim(world, random).running().context("no process")?;
    running.suite.process().pause()?;
    sleep(span).await;
    running.suite.process().resume()
}

/// 1. The process's way to Redis falls silent.
/// 2. A write through it commits, and its hint cannot leave.
/// 3. It is killed.
pub(crate) async fn killed_before_hint(
    world: &World,
    span: Duration,
    random: &mut SmallRng,
) -> Result<()> {
    let node = victim(world, random);
    let running = node.running().context("no process")?;
    let row = world.row(Kind::Profiles, "person-0").context("no row")?;
    let mut held = world.hold([row]).await;
    world.update_by_hand(&mut held, ("", "")).await?;
    let Belief::Held(version, place) = *held[0].1 else {
        return Ok(());
    };
    node.redis()?.stall();
    let (next, invoked) = (State::version(version + 1), world.now());
    world.history.attempt(row.place, invoked, next, place);
    let request = UpdateProfileRequest {
        profile: Some(Profile {
            id: row.role.id.clone(),
            display_name: value(version + 1),
            ..Profile::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["display_name".to_owned()],
        }),
        expected_version: Some(version),
    };
    let mut client = running.profiles.clone();
    let write = tokio::spawn(async move { client.update_profile(asking(request, &[])).await });
    let committed = format!(
        "SELECT count(*) FROM profiles WHERE id = '{}' AND version > {version}",
        row.role.id
    );
    let seen = wait_until("the commit", SOON, async || {
        let count = world.psql(Kind::Profiles, &committed).await;
        count.is_ok_and(|count| count.trim() == "1")
    });
    let seen = seen.await;
    let killed = node.kill();
    node.redis()?.pass();
    write.abort();
    *held[0].1 = Belief::Unknown;
    seen?;
    killed?;
    world
        .history
        .wrote(row.place, invoked, world.now(), (next, place));
    drop(held);
    sleep(span).await;
    node.launch()?;
    node.ready().await
}

/// While a process is stopped, all that the journal holds becomes old and is pruned.
pub(crate) async fn silent_too_long(
    world: &World,
    span: Duration,
    random: &mut SmallRng,
) -> Result<()> {
    let running = victim(world, random).running().context("no process")?;
    running.suite.process().pause()?;
    let pruned = async {
        sleep(span / 2).await;
        for kind in [Kind::Profiles, Kind::Products, Kind::Comments] {
            let mut held = world.hold(world.rows_of(kind).take(4)).await;
            world.update_by_hand(&mut held, ("", "")).await?;
            sql::prune(world, kind).await?;
        }
        sleep(span / 2).await;
        anyhow::Ok(())
    };
    let pruned = pruned.await;
    running.suite.process().resume()?;
    pruned
}
