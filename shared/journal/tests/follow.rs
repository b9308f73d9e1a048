//! Following a collection: each new key once, whoever wrote it and whenever it commits.

use crate::support;

use anyhow::Result;
use larder_db::args;
use larder_journal::News;
use support::Source;

const INSERT: &str = "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')";

fn news(keys: &[&str]) -> News {
    News {
        keys: keys.iter().map(|&key| key.to_owned()).collect(),
        ..News::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_new_once_and_what_was_before_the_first_look_never() -> Result<()> {
    for source in Source::both().await? {
        source.write(INSERT).await?;
        let mut follower = source.journal.follow("comments.product", 10);
        assert_eq!(follower.look().await?, news(&[]));
        source
            .home
            .shell("INSERT INTO comments (id, product_id, text) VALUES (2, 8, 'by hand')")?;
        source.write("UPDATE comments SET product_id = 9").await?;
        let mut found = follower.look().await?;
        found.keys.sort_unstable();
        assert_eq!(found, news(&["7", "8", "9"]));
        assert_eq!(follower.look().await?, news(&[]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_the_newest_are_kept_and_the_rest_is_told_of() -> Result<()> {
    for source in Source::both().await? {
        let mut follower = source.journal.follow("comments", 2);
        follower.look().await?;
        for id in 1..=3_i64 {
            let mut write = source.journal.begin().await?;
            write
                .execute(
                    "INSERT INTO comments (id, text) VALUES ($1, 'x')",
                    args![id],
                )
                .await?;
            write.commit().await?;
        }
        let found = follower.look().await?;
        let cut = true;
        assert_eq!(
            found,
            News {
                cut,
                ..news(&["3", "2"])
            }
        );
        assert_eq!(follower.look().await?, news(&[]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_gap_it_begins_from_there() -> Result<()> {
    for source in Source::both().await? {
        let mut follower = source.journal.follow("comments", 10);
        follower.look().await?;
        source.write(INSERT).await?;
        source.home.shell(
            "UPDATE journal_state SET low_dropped = '1000000000', low_marked = '1000000000'",
        )?;
        let gap = true;
        assert_eq!(follower.look().await?, News { gap, ..news(&[]) });
        source.write("UPDATE comments SET text = 'y'").await?;
        assert_eq!(follower.look().await?, news(&["1"]));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_begun_from_there() -> Result<()> {
    let source = Source::sqlite().await?;
    let mut follower = source.journal.follow("comments", 10);
    follower.look().await?;
    source.write(INSERT).await?;
    source.journal.new_epoch().await?;
    let gap = true;
    assert_eq!(follower.look().await?, News { gap, ..news(&[]) });
    source.write("UPDATE comments SET text = 'y'").await?;
    assert_eq!(follower.look().await?, news(&["1"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_after_a_later_one_is_not_lost() -> Result<()> {
    // On SQLite there is one writer at a time.
    let source = Source::postgres().await?;
    let mut follower = source.journal.follow("comments", 10);
    follower.look().await?;
    let mut low = source.journal.begin().await?;
    low.execute(INSERT, args![]).await?;
    let high = source.write("INSERT INTO comments (id, product_id, text) VALUES (2, 8, 'high')");
    high.await?;
    assert_eq!(follower.look().await?, news(&["2"]));
    low.commit().await?;
    assert_eq!(follower.look().await?, news(&["1"]));
    assert_eq!(follower.look().await?, news(&[]));
    Ok(())
}
