//! Labelled reads: one suite, run against both engines.

use crate::support;

use anyhow::Result;
use larder::feed::Feed as _;
use larder_db::args;
use larder_journal::Standing;
use support::Source;

const BY_ID: &str = "SELECT id, text FROM comments WHERE id = $1";

#[tokio::test(flavor = "multi_thread")]
async fn a_label_covers_what_was_committed_before_and_nothing_after() -> Result<()> {
    for source in Source::both().await? {
        let first = source
            .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
            .await?
            .unwrap();
        let read = source.journal.read(BY_ID, args![1]).await?;
        let second = source
            .write("UPDATE comments SET text = 'y'")
            .await?
            .unwrap();
        let label = read.label.unwrap();
        assert_eq!(read.standing, Standing::Primary);
        assert_eq!(label.epoch, first.epoch);
        assert!(label.snapshot.sees(first.xid));
        assert!(!label.snapshot.sees(second.xid));
        assert_eq!(read.rows[0].get::<i64>(0)?, 1);
        assert_eq!(read.rows[0].get::<&str>(1)?, "x");
        assert_eq!(read.rows[0].len(), 2);
        let round = source.journal.round(None).await?;
        assert!(label.snapshot.within(&round.snapshot));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_nothing_has_a_label_too() -> Result<()> {
    for source in Source::both().await? {
        let written = source
            .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
            .await?;
        let read = source.journal.read(BY_ID, args![2]).await?;
        assert_eq!(read.rows.len(), 0);
        assert!(read.label.unwrap().snapshot.sees(written.unwrap().xid));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_nulls_is_a_row() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
            .await?;
        let read = source
            .journal
            .read("SELECT product_id FROM comments", args![])
            .await?;
        assert_eq!(read.rows.len(), 1);
        assert_eq!(read.rows[0].get::<Option<i64>>(0)?, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_keep_the_order_of_the_statement() -> Result<()> {
    for source in Source::both().await? {
        let mut write = source.journal.begin().await?;
        for id in 0_i64..500 {
            let insert = "INSERT INTO comments (id, product_id, text) VALUES ($1, $2, $3)";
            let text = format!("{:03}", (id * 7919) % 500);
            write.execute(insert, args![id, id % 10, &text]).await?;
        }
        write.commit().await?;
        let statements = [
            "SELECT text FROM comments ORDER BY text DESC",
            "SELECT text FROM comments ORDER BY text DESC LIMIT 300",
            "SELECT max(text) AS m FROM comments GROUP BY product_id ORDER BY m DESC",
            "SELECT DISTINCT c.text FROM comments c JOIN comments d ON d.product_id = c.product_id \
             ORDER BY c.text DESC",
            "SELECT text FROM comments UNION SELECT 'zzz' ORDER BY 1 DESC",
            "WITH few AS (SELECT text FROM comments WHERE product_id = 3) \
             SELECT text FROM few ORDER BY text DESC -- with a remark",
        ];
        for statement in statements {
            let read = source.journal.read(statement, args![]).await?;
            let texts: Vec<&str> = read
                .rows
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<_, _>>()?;
            let plain = source.db().fetch_all(statement, args![]).await?;
            let plain: Vec<&str> = plain
                .iter()
                .map(|row| row.get(0))
                .collect::<Result<_, _>>()?;
            assert!(
                plain.is_sorted_by(|a, b| a >= b) && plain.len() > 9,
                "{statement}"
            );
            assert_eq!(texts, plain, "{statement}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_one_name_stay_apart() -> Result<()> {
    for source in Source::both().await? {
        let sql = "SELECT 1 AS id, 2 AS id, 3 AS larder_row, 4 AS larder_label";
        let read = source.journal.read(sql, args![]).await?;
        let row = &read.rows[0];
        let numbers: Vec<i64> = (0..4).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writing_transaction_reads_has_no_label() -> Result<()> {
    for source in Source::both().await? {
        let mut write = source.journal.begin().await?;
        write
            .execute(
                "INSERT INTO comments (id, text) VALUES (1, 'mine')",
                args![],
            )
            .await?;
        let read = source.journal.read_in(&mut write, BY_ID, args![1]).await?;
        assert_eq!(read.rows[0].get::<&str>(1)?, "mine");
        assert_eq!(read.label, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_statements_of_a_reading_transaction_have_one_label() -> Result<()> {
    for source in Source::both().await? {
        let mut tx = source.db().begin_read().await?;
        let first = source.journal.read_in(&mut tx, BY_ID, args![1]).await?;
        source
            .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
            .await?;
        let second = source.journal.read_in(&mut tx, BY_ID, args![1]).await?;
        assert_eq!(second.rows.len(), 0);
        assert_eq!(first.label.unwrap(), second.label.unwrap());
    }
    Ok(())
}
