//! One life of PostgreSQL and the next: crashes, promotions, and dumps that are restored.

use crate::support::{Home, Source, coverage, named, open, small, tags, watches};
use anyhow::{Context, Result, ensure};
use larder::feed::{Coverage, Error as FeedError, Feed as _, Round};
use larder::snapshot::Snapshot;
use larder_db::{Database, args};
use larder_journal::{Error, Journal, Settings};
use larder_testkit::postgres::{self, Postgres};
use larder_testkit::{program, wait_until};
use std::process::Command;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
const WRITE: &str = "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')";

/// A server of its own, and a source on it.
async fn alone(setup: postgres::Setup) -> Result<(Postgres, Source)> {
    let server = setup.start()?;
    let source = Source::at(Home::Postgres(server.fresh_database()?), small()).await?;
    Ok((server, source))
}

fn name(source: &Source) -> &str {
    match &source.home {
        Home::Postgres(database) => database.name(),
        Home::Sqlite(_) => unreachable!("only PostgreSQL is asked for"),
    }
}

/// The journal at `url`, over connections that know nothing of what was before.
async fn anew(url: &str) -> Result<Journal> {
    Ok(Journal::attach(
        Database::open(url).await?,
        watches(),
        small(),
    ))
}

fn signal(signal: &str, pid: &str) -> Result<()> {
    let sent = Command::new("kill").args([signal, pid.trim()]).status()?;
    ensure!(sent.success(), "kill {signal} {pid}");
    Ok(())
}

fn run(program_name: &str, arguments: &[&str]) -> Result<()> {
    let found = program::find(&[program_name], "apt-get install postgresql")?;
    let ran = Command::new(found).args(arguments).output()?;
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.success(), "{program_name}: {told}");
    Ok(())
}

/// Whether who had seen `seen` learns from `round` that comment 1 was written.
fn tells(round: &Round, seen: &Coverage) -> bool {
    round.epoch != seen.epoch || named(&["comments/1"]).is_subset(&tags(round))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_crash_took_back_is_not_taken_for_seen() -> Result<()> {
    let setup = postgres::Setup::default().setting("autovacuum", "off");
    let (server, source) = alone(setup).await?;
    server.psql("CHECKPOINT")?;
    // Nobody writes to the disk what the transaction below leaves in memory.
    let find = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
    let wal_writer = server.psql(find)?;
    signal("-STOP", &wal_writer)?;
    let mut lost = source.journal.begin().await?;
    lost.execute(WRITE, args![]).await?;
    let number = lost.fetch_one("SELECT pg_current_xact_id()::text::int8", args![]);
    let number = u64::try_from(number.await?.get::<i64>(0)?)?;
    lost.rollback().await?;
    let seen = source.coverage().await?;
    assert!(seen.snapshot.sees(number));

    signal("-KILL", &wal_writer)?;
    wait_until("it has recovered", DEADLINE, async || {
        let up = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
        server
            .psql(up)
            .is_ok_and(|pid| !pid.is_empty() && pid != wal_writer)
    })
    .await?;
    let journal = anew(&source.home.url()).await?;
    let mut write = journal.begin().await?;
    write.execute(WRITE, args![]).await?;
    let written = write.commit().await?.context("it wrote")?;
    assert_eq!(written.xid, number, "the number is given again");
    let round = journal.round(Some(&seen)).await?;
    assert!(tells(&round, &seen), "{round:?}");
    // What a token says of it must not be taken for known, though its number is.
    assert_ne!(written.epoch, seen.epoch);
    assert_ne!(written.epoch, round.epoch);
    // From here on it is a life like any other.
    let mut write = journal.begin().await?;
    write.execute("DELETE FROM comments", args![]).await?;
    let written = write.commit().await?.context("it wrote")?;
    let next = journal.round(Some(&coverage(&round))).await?;
    assert_eq!(written.epoch, round.epoch);
    assert_eq!(next.epoch, round.epoch);
    assert!(tells(&next, &coverage(&round)));
    let label = journal.read("SELECT 1", args![]).await?.label;
    assert_eq!(label.map(|label| label.epoch), Some(round.epoch));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_peace_keeps_the_epoch() -> Result<()> {
    let (server, source) = alone(postgres::Setup::default()).await?;
    let seen = source.coverage().await?;
    let folder = server.psql("SHOW data_directory")?;
    let status = std::path::Path::new(&folder).join("postmaster.pid");
    let text = std::fs::read_to_string(&status)?;
    signal("-INT", text.lines().next().context("a pid")?)?;
    wait_until("it has shut down", DEADLINE, async || !status.exists()).await?;
    server.restart()?;
    let journal = anew(&source.home.url()).await?;
    let mut write = journal.begin().await?;
    write.execute(WRITE, args![]).await?;
    let written = write.commit().await?.context("it wrote")?;
    assert_eq!(written.epoch, seen.epoch);
    let round = journal.round(Some(&seen)).await?;
    assert_eq!(round.epoch, seen.epoch);
    assert!(tells(&round, &seen));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_standbys_that_are_promoted_live_two_lives() -> Result<()> {
    let (primary, source) = alone(postgres::Setup::default()).await?;
    source.write(WRITE).await?;
    let seen = source.coverage().await?;
    let standbys = [primary.standby()?, primary.standby()?];
    primary.stop()?;
    let mut epochs = vec![seen.epoch];
    for standby in &standbys {
        standby.promote()?;
        let journal = anew(&standby.url_of(name(&source))).await?;
        let round = journal.round(Some(&seen)).await?;
        assert_eq!(round.epoch.timeline, seen.epoch.timeline + 1);
        epochs.push(round.epoch);
    }
    epochs.sort_unstable_by_key(|epoch| epoch.system);
    epochs.dedup_by_key(|epoch| epoch.system);
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_a_life_at_once_begin_the_same() -> Result<()> {
    let source = Source::postgres().await?;
    let seen = source.coverage().await?;
    // What a crash does.
    source.home.shell("TRUNCATE journal_pulse")?;
    let mut processes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (journal, seen) = (anew(&source.home.url()).await?, seen.clone());
        processes.spawn(async move { journal.round(Some(&seen)).await });
    }
    let mut epochs = Vec::new();
    while let Some(round) = processes.join_next().await {
        epochs.push(round??.epoch);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1, "{epochs:?}");
    assert_ne!(epochs[0], seen.epoch);
    assert_eq!(source.journal.round(None).await?.epoch, epochs[0]);
    Ok(())
}

/// A dump is taken, a comment written, the dump restored: nobody journals that the comment went.
async fn restored(dump_options: &[&str], restore_options: &[&str]) -> Result<()> {
    let (source, folder) = (Source::postgres().await?, tempfile::tempdir()?);
    let (url, file) = (source.home.url(), folder.path().join("dump"));
    let file = file.to_str().context("a path")?;
    source
        .write("INSERT INTO comments (id, text) VALUES (2, 'y')")
        .await?;
    run(
        "pg_dump",
        &[&["-Fc", "-f", file, &url], dump_options].concat(),
    )?;
    source.write(WRITE).await?;
    let seen = source.coverage().await?;
    let restore = |options: &[&str]| {
        let always = [
            &["--clean", "--if-exists", "-d", &url, file],
            restore_options,
        ]
        .concat();
        run("pg_restore", &[&always, options].concat())
    };
    // Tables are filled before they have triggers: no life begins in between.
    restore(&["--section=pre-data", "--section=data"])?;
    let half = source.journal.round(Some(&seen)).await;
    assert!(matches!(half, Err(FeedError::Unusable(_))), "{half:?}");
    let label = source.journal.read("SELECT 1", args![]).await?.label;
    run("pg_restore", &["--section=post-data", "-d", &url, file])?;
    let round = source.journal.round(Some(&seen)).await?;
    assert_ne!(round.epoch, seen.epoch);
    assert_ne!(label.map(|label| label.epoch), Some(round.epoch));
    assert_eq!(round.low_dropped, 0);
    let next = source.write(WRITE).await?.context("it wrote")?;
    assert_eq!(next.epoch, round.epoch);
    let since = coverage(&round);
    assert!(tells(&source.journal.round(Some(&since)).await?, &since));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_in_place_begins_a_life() -> Result<()> {
    restored(&[], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_without_our_tables_restored_in_place_begins_a_life() -> Result<()> {
    let without = [
        "--exclude-table=journal_life",
        "--exclude-table=journal_pulse",
    ];
    restored(&without, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_renamed_into_place_begins_a_life() -> Result<()> {
    let (server, source) = alone(postgres::Setup::default()).await?;
    let seen = source.coverage().await?;
    source.db().close().await;
    let own = name(&source);
    for copy in [
        format!("CREATE DATABASE other TEMPLATE {own}"),
        format!("ALTER DATABASE {own} RENAME TO gone"),
        format!("ALTER DATABASE other RENAME TO {own}"),
    ] {
        // Sessions that were closed a moment ago may be counted still.
        let done = async || server.psql(&copy).is_ok();
        wait_until(&copy, DEADLINE, done).await?;
    }
    let journal = anew(&source.home.url()).await?;
    assert_ne!(journal.round(Some(&seen)).await?.epoch, seen.epoch);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_back_begins_a_life() -> Result<()> {
    for source in Source::both().await? {
        let mut seen = source.coverage().await?;
        let ahead = seen.snapshot.xmax() + 1_000;
        seen.snapshot = Snapshot::new(ahead, ahead, vec![])?;
        // Another process may say so without any harm.
        let told = source.journal.round_for(Some(&seen)).await?;
        assert_eq!(told.epoch, seen.epoch);
        let round = source.journal.round(Some(&seen)).await?;
        assert_ne!(round.epoch, seen.epoch);
        let since = coverage(&round);
        assert_eq!(source.journal.round(Some(&since)).await?.epoch, round.epoch);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_begun_by_hand_and_a_standby_follows_it() -> Result<()> {
    let (primary, source) = alone(postgres::Setup::default()).await?;
    let before = source.journal.epoch().await?;
    let standby = primary.standby()?;
    let standby = anew(&standby.url_of(name(&source))).await?;
    let next = source.journal.new_epoch().await?;
    assert_ne!(next, before);
    wait_until("the standby's labels are of it", DEADLINE, async || {
        let read = standby.read("SELECT 1", args![]).await;
        read.is_ok_and(|read| read.label.is_some_and(|label| label.epoch == next))
    })
    .await?;
    assert_eq!(source.coverage().await?.epoch, next);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_release_installed_is_added_to_for_all_who_may_use_it() -> Result<()> {
    let (server, source) = alone(postgres::Setup::default()).await?;
    source.home.shell(
        "DROP TABLE journal_life, journal_pulse; CREATE ROLE \"some Service\" LOGIN; \
         GRANT SELECT, INSERT, DELETE ON journal TO \"some Service\"; \
         GRANT SELECT, UPDATE ON journal_state TO \"some Service\"; \
         GRANT SELECT, INSERT ON comments TO \"some Service\"",
    )?;
    let missing = Journal::find(source.db().clone(), watches(), Settings::default()).await;
    assert!(
        matches!(missing, Err(Error::NotInstalled { .. })),
        "{missing:?}"
    );
    assert!(source.journal.round(None).await.is_err());

    let lines = "SELECT count(*) FROM journal";
    let before = source.home.shell(lines)?;
    Journal::install(open(&source.home.url()).await?, watches()).await?;
    assert_eq!(source.home.shell(lines)?, before, "its triggers stay");
    let url = format!(
        "postgres://some%20Service@{}/{}",
        server.address(),
        name(&source)
    );
    let found = Journal::find(Database::open(&url).await?, watches(), small()).await?;
    let seen = coverage(&found.round(None).await?);
    source.home.shell("TRUNCATE journal_pulse")?;
    let round = found.round(Some(&seen)).await?;
    assert_ne!(round.epoch, seen.epoch);
    let mut write = found.begin().await?;
    write.execute(WRITE, args![]).await?;
    let written = write.commit().await?.context("it wrote")?;
    assert_eq!(written.epoch, round.epoch);
    Ok(())
}
