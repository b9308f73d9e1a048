//! Opening a database: what is created, and what a failure is called.

use crate::support;

use anyhow::Result;
use larder_db::{Database, Error, Options, Schema, args};
use larder_testkit::postgres;
use support::{Source, history, impatient};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scheme_is_named() {
    let refused = Database::open("mysql://somewhere/db").await;
    assert!(matches!(refused, Err(Error::UnknownScheme { scheme }) if scheme == "mysql"));
    assert!(matches!(
        Database::open("notes.db").await,
        Err(Error::Address(_))
    ));
    assert!(matches!(
        Database::open("sqlite://:memory:").await,
        Err(Error::Address(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_address_does_not_repeat_its_password() -> Result<()> {
    let refused = Database::open("postgres://me:sesame@[bad/db").await.err();
    assert!(!format!("{refused:?}").contains("sesame"), "{refused:?}");
    assert!(matches!(refused, Some(Error::Address(_))), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_and_its_folder_are_created() -> Result<()> {
    let source = Source::sqlite()?;
    let db = source.open().await?;
    assert_eq!(db.fetch_one("SELECT 1", args![]).await?.get::<i64>(0)?, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_is_opened_by_many_at_once() -> Result<()> {
    for _ in 0..20 {
        let source = Source::sqlite()?;
        let mut openers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let url = source.url();
            openers.spawn(async move { Database::open(&url).await });
        }
        while let Some(opened) = openers.join_next().await {
            opened??;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_database_is_created_by_whichever_replica_comes_first() -> Result<()> {
    let server = postgres::start()?;
    let url = server
        .url_of("it \"is\" new")
        .replace(' ', "%20")
        .replace('"', "%22");
    let opened = tokio::join!(
        Database::open(&url),
        Database::open(&url),
        Database::open(&url)
    );
    for db in [opened.0?, opened.1?, opened.2?] {
        let name = db
            .fetch_one("SELECT current_database()::text", args![])
            .await?;
        assert_eq!(name.get::<&str>(0)?, "it \"is\" new");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_and_can_be_retried() -> Result<()> {
    let server = postgres::start()?;
    server.stop()?;
    let away = Database::open_with(&server.url(), impatient()).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    server.restart()?;
    Database::open_with(&server.url(), impatient()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_unavailable_in_bounded_time() -> Result<()> {
    let server = postgres::start()?;
    server.pause()?;
    let away = Database::open_with(&server.url(), impatient()).await;
    server.resume()?;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_recover_after_the_server_restarted() -> Result<()> {
    let server = postgres::start()?;
    let db = Database::open_with(&server.url(), impatient()).await?;
    db.fetch_one("SELECT 1", args![]).await?;
    server.stop()?;
    let away = db.fetch_one("SELECT 1", args![]).await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    server.restart()?;
    let limit = std::time::Duration::from_secs(10);
    larder_testkit::wait_until("an answer", limit, async || {
        db.fetch_one("SELECT 1", args![]).await.is_ok()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_reported_as_such() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("bad.db");
    std::fs::write(
        &path,
        "this is not a database, though it is long enough to be one".repeat(99),
    )?;
    let refused = Database::open(&format!("sqlite://{}", path.display())).await;
    match refused {
        Err(Error::Corrupt {
            path: Some(named), ..
        }) => assert_eq!(named, path),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_lives_beside_what_a_later_one_applied() -> Result<()> {
    for source in Source::both()? {
        let db = source.open().await?;
        let newest = db.migrate(&history(3), &history(3)).await?;
        assert_eq!(newest, Schema::default());
        for schema in [
            db.migrate(&history(1), &history(1)).await?,
            db.migrated(&history(1), &history(1)).await?,
        ] {
            assert_eq!((schema.missing, schema.newer), (None, Some(3)));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_that_have_parted_are_refused() -> Result<()> {
    let second = "ALTER TABLE notes ADD COLUMN colour TEXT";
    let changed = || larder_db::migrator(&[(1, "notes", "SELECT 1"), (2, "colour", second)]);
    let gap = || larder_db::migrator(&[(1, "notes", support::NOTES), (3, "later", second)]);
    let late = || larder_db::migrator(&[(0, "early", second), (1, "notes", support::NOTES)]);
    for source in Source::both()? {
        let db = source.open().await?;
        db.migrate(&history(2), &history(2)).await?;
        for parted in [changed(), gap()] {
            let refused = db.migrate(&parted, &parted).await;
            assert!(matches!(refused, Err(Error::Migration(_))), "{refused:?}");
        }
        let refused = db.migrate(&late(), &late()).await;
        let expected = matches!(refused, Err(Error::NewerSchema { version: 2 }));
        assert!(expected, "{refused:?}");
        let still = db.schema(&history(2), &history(2)).await?;
        assert_eq!(still, Schema::default(), "nothing was applied");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_schema_makes_nothing() -> Result<()> {
    let waits = Options {
        create: false,
        ..impatient()
    };
    let server = postgres::start()?;
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite://{}/deep/test.db", folder.path().display());
    for url in [server.url_of("not_yet"), file] {
        for _ in 0..2 {
            let absent = Database::open_with(&url, waits.clone()).await;
            assert!(matches!(absent, Err(Error::Absent)), "{absent:?}");
        }
        let made = Database::open(&url).await?;
        let db = Database::open_with(&url, waits.clone()).await?;
        for (applied, version) in [(0, 1), (1, 2)] {
            made.migrate(&history(applied), &history(applied)).await?;
            let behind = db.migrated(&history(2), &history(2)).await;
            let expected = matches!(behind, Err(Error::Behind { version: one }) if one == version);
            assert!(expected, "{behind:?}");
        }
        made.migrate(&history(2), &history(2)).await?;
        let schema = db.migrated(&history(2), &history(2)).await?;
        assert_eq!(schema, Schema::default());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_migrate_once() -> Result<()> {
    for source in Source::both()? {
        let mut replicas = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let url = source.url();
            replicas.spawn(async move {
                let db = Database::open(&url).await?;
                db.migrate(&history(3), &history(3)).await.map(drop)
            });
        }
        while let Some(replica) = replicas.join_next().await {
            replica??;
        }
        let db = source.open().await?;
        let count = db
            .fetch_one("SELECT count(*) FROM _sqlx_migrations", args![])
            .await?;
        assert_eq!(count.get::<i64>(0)?, 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_leaves_nothing_behind() -> Result<()> {
    for source in Source::both()? {
        let db = source.open().await?;
        let broken = || {
            let files = [(
                1,
                "half",
                "CREATE TABLE half (id BIGINT); CREATE TABLE half (id BIGINT)",
            )];
            larder_db::migrator(&files)
        };
        let failed = db.migrate(&broken(), &broken()).await;
        assert!(matches!(failed, Err(Error::Migration(_))), "{failed:?}");
        db.migrate(&history(1), &history(1)).await?;
    }
    Ok(())
}
