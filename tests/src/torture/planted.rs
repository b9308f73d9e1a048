//! Promises broken on purpose: the judge must find them through all that lies between.

use super::finale::everything;
use super::world::{World, locked};
use crate::Kind;
use anyhow::{Context as _, Result};
use larder_testkit::wait_until;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long it may take to be found.
const SOON: Duration = Duration::from_secs(40);

/// Rows are changed by hand while no trigger says so: copies of them become old, and nobody knows.
pub async fn silent_triggers(world: &World) -> Result<()> {
    // Those that number the versions go on.
    const SILENT: &str = "DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'profiles'::regclass
            AND NOT tgisinternal AND tgname NOT LIKE '%_version_%'
        LOOP EXECUTE format('ALTER TABLE profiles DISABLE TRIGGER %I', t.tgname); END LOOP;
        END $$;";
    world.psql(Kind::Profiles, SILENT).await?;
    let mut held = world.hold(world.rows_of(Kind::Profiles)).await;
    world.update_by_hand(&mut held, ("", "")).await?;
    found(world).await
}

/// Readers ask for a Δ of half a minute at a process that proves nothing, and are judged by one of
/// a second.
pub async fn loose_bound(world: &World) -> Result<()> {
    // It has copies of everything, or else it would have nothing to serve.
    everything(world, &world.nodes[0]).await?;
    world.loose.store(true, Ordering::Relaxed);
    world.nodes[0].database.stall();
    world.nodes[0].redis()?.stall();
    let found = found(world).await;
    world.nodes[0].database.pass();
    world.nodes[0].redis()?.pass();
    found
}

async fn found(world: &World) -> Result<()> {
    let found = wait_until("a violation that was planted", SOON, async || {
        !world.history().violations().is_empty()
    });
    let found = found.await;
    let tally = world.history().take_tally();
    found.with_context(|| {
        let errors = locked(&world.errors).clone();
        format!(
            "{} reads, the oldest {:?} behind, and if marked {:?}; errors {errors:?}",
            tally.reads, tally.longest, tally.longest_marked
        )
    })
}
