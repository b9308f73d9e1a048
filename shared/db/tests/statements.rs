//! Statements and transactions: one suite, run against both engines.

use crate::support;

use anyhow::Result;
use larder_db::{Database, Engine, Error, Value, args};
use larder_testkit::wait_until;
use support::{NOTES, Source, impatient};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_comes_back_as_it_went_in() -> Result<()> {
    for source in Source::both()? {
        let db = source.open().await?;
        let mut tx = db.begin_write().await?;
        let bytes = match tx.engine() {
            Engine::Sqlite => "BLOB",
            Engine::Postgres => "BYTEA",
        };
        let table =
            format!("CREATE TABLE kinds (t TEXT, i BIGINT, s INTEGER, b BOOLEAN, y {bytes})");
        tx.execute(larder_db::AssertSqlSafe(table), args![]).await?;
        let insert = "INSERT INTO kinds (t, i, s, b, y) VALUES ($1, $2, $3, $4, $5)";
        tx.execute(
            insert,
            args!["täxt", i64::MIN, 7, true, b"\0\xff".as_slice()],
        )
        .await?;
        let nothing = args![
            None::<&str>,
            None::<i64>,
            None::<i64>,
            None::<bool>,
            None::<&[u8]>
        ];
        tx.execute(insert, nothing).await?;
        tx.commit().await?;

        let rows = db
            .fetch_all(
                "SELECT t, i, s, b, y FROM kinds WHERE i IS NOT NULL",
                args![],
            )
            .await?;
        assert_eq!(rows[0].get::<&str>(0)?, "täxt");
        assert_eq!(rows[0].get::<i64>(1)?, i64::MIN);
        assert_eq!(rows[0].get::<i64>(2)?, 7);
        assert!(rows[0].get::<bool>(3)?);
        assert_eq!(rows[0].get::<&[u8]>(4)?, b"\0\xff");
        let rows = db
            .fetch_all("SELECT t, i, s, b, y FROM kinds WHERE i IS NULL", args![])
            .await?;
        assert_eq!(rows[0].get::<Option<String>>(0)?, None);
        assert_eq!(rows[0].get::<Option<i64>>(1)?, None);
        assert_eq!(rows[0].get::<Option<bool>>(3)?, None);
        assert_eq!(rows[0].get::<Option<Vec<u8>>>(4)?, None);
        assert!(matches!(
            rows[0].get::<i64>(1),
            Err(Error::Column { index: 1, .. })
        ));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_is_an_error() -> Result<()> {
    for source in Source::both()? {
        let db = source.open().await?;
        let row = db.fetch_one("SELECT 'text', 1", args![]).await?;
        assert!(matches!(
            row.get::<i64>(0),
            Err(Error::Column { index: 0, .. })
        ));
        assert!(matches!(
            row.get::<String>(1),
            Err(Error::Column { index: 1, .. })
        ));
        assert!(matches!(
            row.get::<i64>(2),
            Err(Error::Column { index: 2, .. })
        ));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_violation_has_its_name() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        insert(&db, 1, "one").await?;
        let unique = insert(&db, 1, "again").await;
        assert!(matches!(unique, Err(Error::Unique { .. })), "{unique:?}");
        let check = insert(&db, 2, "forbidden").await;
        assert!(matches!(check, Err(Error::Check { .. })), "{check:?}");
        let mut tx = db.begin_write().await?;
        let orphan = tx
            .execute("UPDATE notes SET parent = 9 WHERE id = 1", args![])
            .await;
        assert!(
            matches!(orphan, Err(Error::ForeignKey { .. })),
            "{orphan:?}"
        );
        let mut tx = db.begin_write().await?;
        let null = tx
            .execute("UPDATE notes SET done = NULL WHERE id = 1", args![])
            .await;
        assert!(matches!(null, Err(Error::Check { .. })), "{null:?}");
        let mistake = db.fetch_all("SELECT nothing FROM nowhere", args![]).await;
        assert!(matches!(mistake, Err(Error::Refused(_))), "{mistake:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_statement_ends_its_transaction() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        let mut tx = db.begin_write().await?;
        tx.execute("INSERT INTO notes (id, text) VALUES (1, 'one')", args![])
            .await?;
        let failed = tx
            .execute("INSERT INTO notes (id, text) VALUES (1, 'one')", args![])
            .await;
        assert!(matches!(failed, Err(Error::Unique { .. })), "{failed:?}");
        let ended = tx
            .execute("INSERT INTO notes (id, text) VALUES (2, 'two')", args![])
            .await;
        assert!(matches!(ended, Err(Error::Ended)), "{ended:?}");
        assert!(matches!(tx.commit().await, Err(Error::Ended)));
        assert_eq!(count(&db).await?, 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_transaction_is_rolled_back_and_holds_no_lock() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        insert(&db, 1, "one").await?;
        let mut tx = db.begin_write().await?;
        tx.execute("UPDATE notes SET text = 'lost' WHERE id = 1", args![])
            .await?;
        drop(tx);
        let mut tx = db.begin_write().await?;
        tx.execute("UPDATE notes SET done = TRUE WHERE id = 1", args![])
            .await?;
        tx.commit().await?;
        let row = db
            .fetch_one("SELECT text, done FROM notes WHERE id = 1", args![])
            .await?;
        assert_eq!((row.get::<&str>(0)?, row.get::<bool>(1)?), ("one", true));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_cannot_write() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        let insert = "INSERT INTO notes (id, text) VALUES (1, 'x') RETURNING id";
        assert!(db.fetch_all(insert, args![]).await.is_err());
        let mut tx = db.begin_read().await?;
        assert!(tx.execute("DELETE FROM notes", args![]).await.is_err());
        assert_eq!(count(&db).await?, 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_transaction_sees_one_state() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        let sql = "SELECT count(*) FROM notes";
        let mut tx = db.begin_read().await?;
        assert_eq!(tx.fetch_one(sql, args![]).await?.get::<i64>(0)?, 0);
        insert(&db, 1, "one").await?;
        assert_eq!(tx.fetch_one(sql, args![]).await?.get::<i64>(0)?, 0);
        assert_eq!(count(&db).await?, 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_queue_up_and_none_is_turned_away() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        insert(&db, 1, "").await?;
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let db = db.clone();
            writers.spawn(async move {
                let mut tx = db.begin_write().await?;
                tx.execute(
                    "UPDATE notes SET text = text || 'x' WHERE id = $1",
                    args![1],
                )
                .await?;
                tx.commit().await
            });
        }
        while let Some(writer) = writers.join_next().await {
            writer??;
        }
        let row = db
            .fetch_one("SELECT text FROM notes WHERE id = 1", args![])
            .await?;
        assert_eq!(row.get::<&str>(0)?.len(), 20);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_connection_is_bounded() -> Result<()> {
    let source = Source::sqlite()?;
    let db = Database::open_with(&source.url(), impatient()).await?;
    let _held = db.begin_write().await?;
    let refused = db.begin_write().await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    // Another process meets SQLite's own lock.
    let other = Database::open_with(&source.url(), impatient()).await?;
    let refused = other.begin_write().await;
    assert!(matches!(refused, Err(Error::Busy(_))), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended() -> Result<()> {
    let source = Source::postgres()?;
    let mut options = impatient();
    options.statement_timeout = std::time::Duration::from_millis(200);
    let db = Database::open_with(&source.url(), options).await?;
    let slow = db.fetch_all("SELECT pg_sleep(60)::text", args![]).await;
    assert!(matches!(slow, Err(Error::TimedOut(_))), "{slow:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_statement_was_abandoned_is_not_lent_again() -> Result<()> {
    let source = Source::postgres()?;
    let mut options = impatient();
    options.read_connections = 1;
    let db = Database::open_with(&source.url(), options).await?;
    let backend = "SELECT pg_backend_pid()";
    let before = db.fetch_one(backend, args![]).await?.get::<i64>(0)?;
    let abandoned = std::time::Duration::from_millis(50);
    let slow = db.fetch_all("SELECT pg_sleep(60)::text", args![]);
    assert!(tokio::time::timeout(abandoned, slow).await.is_err());
    assert_ne!(db.fetch_one(backend, args![]).await?.get::<i64>(0)?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_ends_at_the_server_too() -> Result<()> {
    let source = Source::postgres()?;
    let db = source.open().await?;
    let Source::Postgres(database) = &source else {
        unreachable!("opened above")
    };
    let sleeping = async || {
        let count = "SELECT count(*) FROM pg_stat_activity \
            WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'";
        database.psql(count).unwrap_or_default()
    };
    let abandoned = {
        let db = db.clone();
        tokio::spawn(async move { db.fetch_all("SELECT pg_sleep(30)::text", args![]).await })
    };
    let deadline = std::time::Duration::from_secs(10);
    wait_until("it runs", deadline, async || sleeping().await == "1").await?;
    abandoned.abort();
    wait_until("it has ended", deadline, async || sleeping().await == "0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_unknown() -> Result<()> {
    let source = Source::postgres()?;
    let db = source.notes().await?;
    let Source::Postgres(database) = &source else {
        unreachable!("opened above")
    };
    let mut tx = db.begin_write().await?;
    tx.execute("INSERT INTO notes (id, text) VALUES (1, 'one')", args![])
        .await?;
    database.server().stop()?;
    let lost = tx.commit().await;
    assert!(matches!(lost, Err(Error::CommitUnknown(_))), "{lost:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_server_refuses_is_certain() -> Result<()> {
    for source in Source::both()? {
        let db = source.open().await?;
        let mut tx = db.begin_write().await?;
        let deferred = NOTES.replace("(id),", "(id) DEFERRABLE INITIALLY DEFERRED,");
        tx.execute(larder_db::AssertSqlSafe(deferred), args![])
            .await?;
        tx.commit().await?;
        let mut tx = db.begin_write().await?;
        tx.execute("INSERT INTO notes (id, parent) VALUES (1, 9)", args![])
            .await?;
        let refused = tx.commit().await;
        assert!(
            matches!(refused, Err(Error::ForeignKey { .. })),
            "{refused:?}"
        );
        assert_eq!(count(&db).await?, 0);
        insert(&db, 2, "the connection still works").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_inserted_in_few_statements() -> Result<()> {
    for source in Source::both()? {
        let db = source.notes().await?;
        let texts: Vec<_> = (0..12_345).map(|id| format!("note {id}")).collect();
        let rows: Vec<[Value<'_>; 3]> = (0_i64..)
            .zip(&texts)
            .map(|(id, text)| {
                [
                    id.into(),
                    Value::Text((id % 7 > 0).then_some(text)),
                    (id % 2 == 0).into(),
                ]
            })
            .collect();
        let mut tx = db.begin_write().await?;
        assert_eq!(
            tx.insert_many("notes (id, text, done)", "", &rows).await?,
            12_345
        );
        let again = tx
            .insert_many("notes (id, text, done)", "ON CONFLICT DO NOTHING", &rows)
            .await?;
        assert_eq!(again, 0);
        tx.commit().await?;
        let sql = "SELECT text, done FROM notes WHERE id = $1";
        let row = db.fetch_one(sql, args![12_343]).await?;
        assert_eq!(
            (row.get::<&str>(0)?, row.get::<bool>(1)?),
            ("note 12343", false)
        );
        let row = db.fetch_one(sql, args![7]).await?;
        assert_eq!(row.get::<Option<&str>>(0)?, None);
    }
    Ok(())
}

async fn insert(db: &Database, id: i64, text: &str) -> Result<(), Error> {
    let mut tx = db.begin_write().await?;
    tx.execute(
        "INSERT INTO notes (id, text) VALUES ($1, $2)",
        args![id, text],
    )
    .await?;
    tx.commit().await
}

async fn count(db: &Database) -> Result<i64, Error> {
    db.fetch_one("SELECT count(*) FROM notes", args![])
        .await?
        .get(0)
}
