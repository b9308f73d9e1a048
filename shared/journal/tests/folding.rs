//! Tables whose lines are folded: each once in a transaction, and none lost by it.

use crate::support;

use anyhow::Result;
use larder::feed::Written;
use larder::key::Tag;
use larder_db::{Database, Migrator, Value, args, migrator};
use larder_journal::{Journal, Watch, Watches};
use std::collections::BTreeSet;
use support::{Home, Source, named, small};

fn tables() -> Migrator {
    let sql = "CREATE TABLE sales (id BIGINT PRIMARY KEY, region TEXT, month TEXT)";
    migrator(&[(1, "sales", sql)])
}

async fn at(home: Home) -> Result<Source> {
    let db = Database::open(&home.url()).await?;
    db.migrate(&tables(), &tables()).await?;
    let sales = Watch::table("sales")
        .collection("sales.region", ["region", "month"])
        .collection("sales.month", "month")
        .keyspaces(&["sales"])
        .folded();
    let watches = Watches::revision(1).watch(sales);
    let journal = Journal::install_with(db, watches, small()).await?;
    Ok(Source { home, journal })
}

async fn both() -> Result<[Source; 2]> {
    Ok([at(Home::sqlite()?).await?, at(Home::postgres()?).await?])
}

/// Rows with these ids, in turn in the north in May and in the south in June.
async fn insert(journal: &Journal, ids: std::ops::Range<i64>) -> Result<Option<Written>> {
    let row = |id: i64| -> [Value<'_>; 3] {
        match id % 2 {
            0 => [id.into(), "north".into(), "05".into()],
            _ => [id.into(), "south".into(), "06".into()],
        }
    };
    let rows: Vec<_> = ids.map(row).collect();
    let mut write = journal.begin_bulk().await?;
    write
        .insert_many("sales (id, region, month)", "", &rows)
        .await?;
    Ok(write.commit().await?)
}

async fn lines(source: &Source) -> Result<i64> {
    let count = "SELECT count(*) FROM journal WHERE tag LIKE 'sales%'";
    Ok(source.db().fetch_one(count, args![]).await?.get(0)?)
}

const NORTH: [&str; 2] = ["sales.region/north/05", "sales.month/05"];
const BOTH: [&str; 4] = [
    NORTH[0],
    NORTH[1],
    "sales.region/south/06",
    "sales.month/06",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_write_writes_each_line_once() -> Result<()> {
    for source in both().await? {
        let before = source.coverage().await?;
        let written = insert(&source.journal, 0..3_000).await?.expect("lines");
        let told: BTreeSet<Tag> = written.tags.into_iter().collect();
        assert_eq!(told, named(&BOTH), "and not everything");
        assert_eq!(source.tags_since(&before).await?, named(&BOTH));
        assert_eq!(lines(&source).await?, 4);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_another_transaction_is_not_taken_for_this_ones() -> Result<()> {
    for source in both().await? {
        insert(&source.journal, 0..10).await?;
        for round in 1..4_i64 {
            let before = source.coverage().await?;
            insert(&source.journal, 100 * round..100 * round + 10).await?;
            assert_eq!(source.tags_since(&before).await?, named(&BOTH));
            let by_hand = format!("INSERT INTO sales VALUES ({round}00000, 'north', '05')");
            let touched = source.tags_of(|home| home.shell(&by_hand)).await?;
            assert_eq!(touched, named(&NORTH));
            let touched = source
                .write("UPDATE sales SET id = id + 1000000 WHERE id = 0 OR id >= 1000000")
                .await?
                .expect("a line");
            assert_eq!(
                touched.tags.into_iter().collect::<BTreeSet<_>>(),
                named(&NORTH)
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_write_that_is_taken_back_leaves_nothing_folded() -> Result<()> {
    for source in both().await? {
        let before = source.coverage().await?;
        let mut write = source.journal.begin_bulk().await?;
        write
            .execute("INSERT INTO sales VALUES (1, 'north', '05')", args![])
            .await?;
        write.rollback().await?;
        assert!(source.tags_since(&before).await?.is_empty());
        for id in [1, 2] {
            let by_hand = format!("INSERT INTO sales VALUES ({id}, 'north', '05')");
            let touched = source.tags_of(|home| home.shell(&by_hand)).await?;
            assert_eq!(touched, named(&NORTH));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_move_in_bulk_touch_what_they_left() -> Result<()> {
    for source in both().await? {
        insert(&source.journal, 0..100).await?;
        let before = source.coverage().await?;
        let mut write = source.journal.begin_bulk().await?;
        let moved = "UPDATE sales SET month = '07' WHERE region = 'north'";
        write.execute(moved, args![]).await?;
        write.commit().await?;
        let touched = [
            NORTH[0],
            NORTH[1],
            "sales.region/north/07",
            "sales.month/07",
        ];
        assert_eq!(source.tags_since(&before).await?, named(&touched));
        assert_eq!(lines(&source).await?, 8);
        let before = source.coverage().await?;
        let mut write = source.journal.begin_bulk().await?;
        write.execute("DELETE FROM sales", args![]).await?;
        write.commit().await?;
        let touched = ["sales.region/north/07", "sales.month/07", BOTH[2], BOTH[3]];
        assert_eq!(source.tags_since(&before).await?, named(&touched));
        assert_eq!(lines(&source).await?, 12);
    }
    Ok(())
}
