//! What only PostgreSQL can do to a journal.

use crate::support;

use anyhow::Result;
use larder::feed::{Error as FeedError, Feed as _};
use larder::remote::hub::Hub;
use larder::snapshot::Snapshot;
use larder::{Larder, Tag};
use larder_db::{Database, args};
use larder_journal::{Error, Journal, Standing};
use larder_testkit::{postgres, wait_until};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Home, Source, coverage, named, open, small, tags, watches};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_low_number_that_commits_late_is_in_the_next_round_and_only_once() -> Result<()> {
    let source = Source::postgres().await?;
    let before = source.coverage().await?;
    let mut low = source.journal.begin().await?;
    low.execute(
        "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'low')",
        args![],
    )
    .await?;
    let high = source.write("INSERT INTO comments (id, product_id, text) VALUES (2, 8, 'high')");
    let high = high.await?.unwrap();

    let first = source.journal.round(Some(&before)).await?;
    let highs = named(&["comments/2", "comments.product/8", "comments.all/*"]);
    assert_eq!(tags(&first), highs);
    let low = low.commit().await?.unwrap();
    assert!(low.xid < high.xid && first.snapshot.in_progress().contains(&low.xid));

    let second = source.journal.round(Some(&coverage(&first))).await?;
    let lows = named(&["comments/1", "comments.product/7", "comments.all/*"]);
    assert_eq!(tags(&second), lows);
    assert!(second.changes.iter().all(|change| change.xid == low.xid));
    let third = source.journal.round(Some(&coverage(&second))).await?;
    assert_eq!(third.changes, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_touches_the_keyspaces_whole() -> Result<()> {
    let source = Source::postgres().await?;
    let touched = source
        .tags_of(|home| home.shell("TRUNCATE comments CASCADE"))
        .await?;
    assert_eq!(
        touched,
        named(&["comments/*", "comments.list/*", "replies/*"])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_counts_like_a_service() -> Result<()> {
    let source = Source::postgres().await?;
    let copy = "COPY comments (id, product_id, text) FROM STDIN;\n1\t7\tone\n2\t8\ttwo\n\\.\n";
    let touched = source.tags_of(|home| home.shell(copy)).await?;
    let both = [
        "comments/1",
        "comments/2",
        "comments.product/7",
        "comments.product/8",
        "comments.all/*",
    ];
    assert_eq!(touched, named(&both));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_role_and_an_empty_search_path_count_too() -> Result<()> {
    let source = Source::postgres().await?;
    let script = "SET session_replication_role = replica; SET search_path = ''; \
        INSERT INTO public.comments (id, product_id, text) VALUES (1, 7, 'x')";
    let touched = source.tags_of(|home| home.shell(script)).await?;
    assert_eq!(
        touched,
        named(&["comments/1", "comments.product/7", "comments.all/*"])
    );
    Ok(())
}

/// Each number below is under way, or between two that are.
#[tokio::test(flavor = "multi_thread")]
async fn what_commits_between_transactions_that_are_under_way_is_in_the_round() -> Result<()> {
    let source = Source::postgres().await?;
    let before = source.coverage().await?;
    let insert = "INSERT INTO comments (id, product_id, text) VALUES ($1, 1, '')";
    let mut all = Vec::new();
    for id in 0_i64..4 {
        let mut under_way = source.journal.begin().await?;
        under_way.execute(insert, args![2 * id]).await?;
        all.push(under_way);
        let mut done = source.journal.begin().await?;
        done.execute(insert, args![2 * id + 1]).await?;
        done.commit().await?;
    }
    let row = |id: i64| Tag::of("comments", &id.to_string());
    let shown = source.journal.round(Some(&before)).await?;
    let rows = |shown: &BTreeSet<Tag>| (0..8).filter(|&id| shown.contains(&row(id))).collect();
    let ids: Vec<i64> = rows(&tags(&shown));
    assert_eq!(ids, [1, 3, 5, 7]);
    // Those at the ends and in the middle end in another order than they began.
    let mut since = coverage(&shown);
    for (place, id) in [(3, 6), (1, 2), (0, 0), (0, 4)] {
        all.remove(place).commit().await?;
        let shown = source.journal.round(Some(&since)).await?;
        let ids: Vec<i64> = rows(&tags(&shown));
        assert_eq!(ids, [id]);
        since = coverage(&shown);
    }
    Ok(())
}

/// Transactions begin, end and are given up in any order; what a round brings is held against the
/// definition of what it must.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_what_is_visible_and_was_not_before() -> Result<()> {
    let source = Source::postgres().await?;
    let mut seen = source.coverage().await?;
    let (mut under_way, mut id, mut random) = (Vec::new(), 0_i64, 1_u64);
    for step in 0..400 {
        random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
        let choice = (random >> 33) as usize;
        match choice % 4 {
            0 if under_way.len() < 5 => {
                let mut write = source.journal.begin().await?;
                let insert = "INSERT INTO comments (id, product_id, text) VALUES ($1, $1, '')";
                write.execute(insert, args![id]).await?;
                under_way.push(write);
                id += 1;
            }
            1 if !under_way.is_empty() => {
                let write = under_way.remove(choice / 4 % under_way.len());
                match choice / 64 % 4 {
                    0 => write.rollback().await?,
                    _ => write.commit().await.map(drop)?,
                }
            }
            2 => {
                let round = source.journal.round(Some(&seen)).await?;
                let wanted = "SELECT DISTINCT tag, key FROM journal \
                    WHERE NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)";
                let snapshot = seen.snapshot.to_string();
                let wanted = source.db().fetch_all(wanted, args![&snapshot]).await?;
                let tag = |row: &larder_db::Row| anyhow::Ok(Tag::of(row.get(0)?, row.get(1)?));
                let wanted: BTreeSet<Tag> = wanted.iter().map(tag).collect::<Result<_>>()?;
                assert_eq!(tags(&round), wanted, "step {step}, since {snapshot}");
                seen = coverage(&round);
            }
            _ => {}
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_makes_no_round_read_all_that_came_after_it() -> Result<()> {
    let source = Source::postgres().await?;
    let mut open = source.journal.begin().await?;
    let insert = "INSERT INTO comments (id, product_id, text) VALUES (1, 1, '')";
    open.execute(insert, args![]).await?;
    source.home.shell(
        "INSERT INTO comments (id, product_id, text) SELECT i, i, '' FROM generate_series(2, 5000) i",
    )?;
    let seen = source.coverage().await?;
    source.home.shell("DELETE FROM comments WHERE id = 2")?;
    let read = || -> Result<i64> {
        let read = "SELECT t.seq_tup_read + i.idx_tup_read \
            FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid) \
            WHERE t.relname = 'journal'";
        Ok(source.home.shell(read)?.parse()?)
    };
    // A session that has ended has told what it read.
    let a_round = async || {
        let options = larder_db::Options {
            read_connections: 1,
            ..larder_db::Options::default()
        };
        let db = Database::open_with(&source.home.url(), options).await?;
        let backend = db.fetch_one("SELECT pg_backend_pid()", args![]).await?;
        let journal = Journal::attach(db.clone(), watches(), small());
        let round = journal.round(Some(&seen)).await?;
        db.close().await;
        let alive = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {}",
            backend.get::<i64>(0)?
        );
        let ended = async || source.home.shell(&alive).is_ok_and(|alive| alive == "0");
        wait_until("its session has ended", DEADLINE, ended).await?;
        anyhow::Ok(round)
    };
    drop(a_round().await?);
    let before = read()?;
    let round = a_round().await?;
    let two = named(&["comments/2", "comments.product/2", "comments.all/*"]);
    assert_eq!(tags(&round), two);
    let read = read()? - before;
    assert!(read < 100, "{read} rows");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deferred_trigger_writes_belongs_to_the_commit() -> Result<()> {
    let source = Source::postgres().await?;
    source.home.shell(
        "CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         UPDATE comments SET product_id = 9 WHERE id = NEW.id AND product_id <> 9; RETURN NULL; \
         END $$; \
         CREATE CONSTRAINT TRIGGER echo AFTER INSERT ON comments \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION echo()",
    )?;
    let written = source.write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')");
    let tags = written.await?.unwrap().tags.into_iter().collect();
    let all = [
        "comments/1",
        "comments.product/7",
        "comments.product/9",
        "comments.all/*",
    ];
    assert_eq!(named(&all), tags);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_savepoint_writes_belongs_to_the_commit() -> Result<()> {
    let source = Source::postgres().await?;
    let before = source.coverage().await?;
    let mut write = source.journal.begin().await?;
    write.execute("SAVEPOINT inner_one", args![]).await?;
    write
        .execute(
            "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')",
            args![],
        )
        .await?;
    write
        .execute("RELEASE SAVEPOINT inner_one", args![])
        .await?;
    write.execute("SAVEPOINT inner_two", args![]).await?;
    write
        .execute(
            "INSERT INTO comments (id, product_id, text) VALUES (2, 8, 'x')",
            args![],
        )
        .await?;
    write
        .execute("ROLLBACK TO SAVEPOINT inner_two", args![])
        .await?;
    let written = write.commit().await?.unwrap();
    let one = named(&["comments/1", "comments.product/7", "comments.all/*"]);
    assert_eq!(source.tags_since(&before).await?, one);
    assert_eq!(
        written
            .tags
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>(),
        one
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_knows_what_was_in_progress() -> Result<()> {
    let source = Source::postgres().await?;
    let mut open = source.journal.begin().await?;
    open.execute("INSERT INTO comments (id, text) VALUES (1, 'x')", args![])
        .await?;
    let other = source
        .write("INSERT INTO comments (id, text) VALUES (2, 'y')")
        .await?
        .unwrap();
    let read = source
        .journal
        .read("SELECT id FROM comments", args![])
        .await?;
    let open = open.commit().await?.unwrap();
    let label = read.label.unwrap();
    assert_eq!(read.rows.len(), 1);
    assert!(label.snapshot.sees(other.xid) && !label.snapshot.sees(open.xid));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_our_setting_gets_the_same_epoch() -> Result<()> {
    let source = Source::postgres().await?;
    let epoch = source.journal.epoch().await?;
    let label = larder_journal_label();
    let foreign = source.home.shell(&format!("SELECT {label}"))?;
    assert_eq!(foreign.parse::<u64>()?, epoch.system);
    let mut tx = source.db().begin_read().await?;
    tx.execute("SELECT set_config('larder.system', '', true)", args![])
        .await?;
    let read = source.journal.read_in(&mut tx, "SELECT 1", args![]).await?;
    assert_eq!(read.label.unwrap().epoch, epoch);
    Ok(())
}

fn larder_journal_label() -> &'static str {
    "(SELECT system_identifier::text FROM pg_control_system())"
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_from_a_dump_of_another_server_are_forgotten() -> Result<()> {
    let source = Source::postgres().await?;
    source.home.shell(
        "INSERT INTO journal (xid, tag, key) VALUES ('99999999999', 'comments', 'foreign'); \
         UPDATE journal_state SET system = '1', low_marked = '5', low_dropped = '5'",
    )?;
    let before = source.coverage().await?;
    assert!(
        !source
            .tags_since(&before)
            .await?
            .contains(&larder::key::Tag::of("comments", "foreign"))
    );
    Journal::install(open(&source.home.url()).await?, watches()).await?;
    let round = source.journal.round(None).await?;
    assert_eq!((round.low_marked, round.low_dropped), (0, 0));
    assert_eq!(tags(&round), named(&["*/*"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_gives_no_round_and_labels_below_its_xmin() -> Result<()> {
    let primary = postgres::start()?;
    let source = Source::at(Home::Postgres(primary.fresh_database()?), small()).await?;
    let first = source
        .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
        .await?
        .unwrap();
    let Home::Postgres(database) = &source.home else {
        unreachable!("opened above")
    };
    let standby = primary.standby()?;
    let db = Database::open(&standby.url_of(database.name())).await?;
    let journal = Journal::attach(db, watches(), small());
    let sql = "SELECT text FROM comments WHERE id = 1";
    larder_testkit::wait_until("a labelled row from the standby", DEADLINE, async || {
        let read = journal.read(sql, args![]).await;
        read.is_ok_and(|read| read.rows.len() == 1 && read.label.is_some())
    })
    .await?;

    // A transaction in progress on the primary is not in the standby's list.
    let mut open = source.journal.begin().await?;
    open.execute("UPDATE comments SET text = 'open' WHERE id = 1", args![])
        .await?;
    let after = source
        .write("INSERT INTO comments (id, text) VALUES (2, 'y')")
        .await?
        .unwrap();
    larder_testkit::wait_until("the second row on the standby", DEADLINE, async || {
        let read = journal
            .read("SELECT id FROM comments WHERE id = 2", args![])
            .await;
        read.is_ok_and(|read| read.rows.len() == 1)
    })
    .await?;
    let read = journal.read(sql, args![]).await?;
    let label = read.label.unwrap();
    assert_eq!(read.standing, Standing::Standby);
    assert_eq!(label.epoch, first.epoch);
    assert!(label.snapshot.sees(first.xid));
    let open = open.commit().await?.unwrap();
    assert!(!label.snapshot.sees(open.xid) && !label.snapshot.sees(after.xid));
    assert_eq!(
        label.snapshot,
        Snapshot::new(label.snapshot.xmin(), label.snapshot.xmin(), vec![])?
    );

    let refused = journal.round(None).await;
    assert!(
        matches!(refused, Err(FeedError::Unusable(_))),
        "{refused:?}"
    );
    let refused = journal.round(Some(&source.coverage().await?)).await;
    assert!(
        matches!(refused, Err(FeedError::Unusable(_))),
        "{refused:?}"
    );
    let refused = Journal::install(journal.database().clone(), watches()).await;
    assert!(
        matches!(
            refused,
            Err(Error::Database(larder_db::Error::Unavailable(_)))
        ),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_begins_a_new_epoch() -> Result<()> {
    let primary = postgres::start()?;
    let source = Source::at(Home::Postgres(primary.fresh_database()?), small()).await?;
    let written = source.write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')");
    let written = written.await?.unwrap();
    let before = source.coverage().await?;
    let Home::Postgres(database) = &source.home else {
        unreachable!("opened above")
    };
    let standby = primary.standby()?;
    primary.stop()?;
    standby.promote()?;
    let db = Database::open(&standby.url_of(database.name())).await?;
    let journal = Journal::attach(db, watches(), small());
    let round = journal.round(Some(&before)).await?;
    assert_eq!(round.epoch.system, written.epoch.system);
    assert_eq!(round.epoch.timeline, written.epoch.timeline + 1);
    assert!(
        tags(&round).contains(&larder::key::Tag::of("comments", "1")),
        "the whole journal"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_makes_the_feed_unavailable() -> Result<()> {
    let server = postgres::start()?;
    let source = Source::at(Home::Postgres(server.fresh_database()?), small()).await?;
    server.stop()?;
    let away = source.journal.round(None).await;
    assert!(matches!(away, Err(FeedError::Unavailable(_))), "{away:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stays_open_after_a_write_is_told_with_its_age_until_it_ends()
-> Result<()> {
    let source = Source::postgres().await?;
    let larder = Larder::builder(Hub::new()).build();
    let feed = Arc::new(source.journal.clone());
    let known = larder.source("comments").feed(feed).poll_by_hand().open();
    let oldest = async || {
        known.prove().await?;
        anyhow::Ok(known.stats().oldest_writer)
    };
    // A reader, however long it takes, is none.
    let reader = source.db().begin_read().await?;
    assert_eq!(oldest().await?, None);
    let mut writer = source.journal.begin().await?;
    writer
        .execute(
            "INSERT INTO comments (id, product_id, text) VALUES (1, 7, '')",
            args![],
        )
        .await?;
    let began = Instant::now();
    // While nobody has written after it, it keeps nobody from anything.
    assert_eq!(oldest().await?, None);
    let later = source.write("INSERT INTO comments (id, product_id, text) VALUES (2, 7, '')");
    later.await?;
    let first = oldest().await?;
    assert!(first.is_some_and(|age| age <= began.elapsed()), "{first:?}");
    wait_until("it is told how old it is", DEADLINE, async || {
        let age = oldest().await.ok().flatten().unwrap_or_default();
        age >= Duration::from_millis(50) && age <= began.elapsed()
    })
    .await?;
    writer.commit().await?;
    assert_eq!(oldest().await?, None);
    drop(reader);
    Ok(())
}
