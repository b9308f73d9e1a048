//! What shows in a round, whoever wrote it: one suite, run against both engines.

use crate::support;

use anyhow::Result;
use larder::feed::{Change, Feed as _, Line};
use larder::key::Tag;
use larder::snapshot::Snapshot;
use larder_db::{Value, args};
use std::collections::BTreeSet;
use support::{Home, Source, coverage, named, tags};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_by_a_foreign_shell_shows_with_its_tags() -> Result<()> {
    for source in Source::both().await? {
        let all = named(&["comments/1", "comments.product/7", "comments.all/*"]);
        let insert = "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'hello')";
        assert_eq!(source.tags_of(|home| home.shell(insert)).await?, all);
        let update = "UPDATE comments SET text = 'by hand' WHERE id = 1";
        assert_eq!(source.tags_of(|home| home.shell(update)).await?, all);
        let delete = "DELETE FROM comments";
        assert_eq!(source.tags_of(|home| home.shell(delete)).await?, all);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_touches_both_collections() -> Result<()> {
    for source in Source::both().await? {
        source
            .home
            .shell("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'hello')")?;
        let moved = source.tags_of(|home| home.shell("UPDATE comments SET product_id = 8"));
        let both = [
            "comments/1",
            "comments.product/7",
            "comments.product/8",
            "comments.all/*",
        ];
        assert_eq!(moved.await?, named(&both));
        let renamed = source
            .tags_of(|home| home.shell("UPDATE comments SET id = 2"))
            .await?;
        let both = [
            "comments/1",
            "comments/2",
            "comments.product/8",
            "comments.all/*",
        ];
        assert_eq!(renamed, named(&both));
        let homeless = source.tags_of(|home| home.shell("UPDATE comments SET product_id = NULL"));
        let both = [
            "comments/2",
            "comments.product/8",
            "comments.product/",
            "comments.all/*",
        ];
        assert_eq!(homeless.await?, named(&both));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_in_place_writes_no_line_twice() -> Result<()> {
    for source in Source::both().await? {
        source
            .home
            .shell("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'hello')")?;
        let count = || source.home.shell("SELECT count(*) FROM journal");
        let before: i64 = count()?.parse()?;
        source.home.shell("UPDATE comments SET text = 'new'")?;
        assert_eq!(count()?.parse::<i64>()?, before + 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_deleted_by_a_cascade_show() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'hello')")
            .await?;
        source
            .write("INSERT INTO replies (id, comment_id) VALUES (5, 1)")
            .await?;
        let before = source.coverage().await?;
        source.write("DELETE FROM comments WHERE id = 1").await?;
        let touched = source.tags_since(&before).await?;
        assert!(
            touched.is_superset(&named(&["replies/1/5", "replies.comment/1"])),
            "{touched:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_row_touches_what_it_left() -> Result<()> {
    let source = Source::sqlite().await?;
    source
        .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'hello')")
        .await?;
    let before = source.coverage().await?;
    source
        .write("INSERT OR REPLACE INTO comments (id, product_id, text) VALUES (1, 8, 'new')")
        .await?;
    let touched = source.tags_since(&before).await?;
    assert!(touched.is_superset(&named(&["comments.product/7", "comments.product/8"])));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_yields_nothing() -> Result<()> {
    for source in Source::both().await? {
        let before = source.coverage().await?;
        let mut write = source.journal.begin().await?;
        write
            .execute(
                "INSERT INTO comments (id, text) VALUES (1, 'never')",
                args![],
            )
            .await?;
        write.rollback().await?;
        let mut write = source.journal.begin().await?;
        write
            .execute(
                "INSERT INTO comments (id, text) VALUES (2, 'dropped')",
                args![],
            )
            .await?;
        drop(write);
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (3, 7, 'kept')")
            .await?;
        let kept = named(&["comments/3", "comments.product/7", "comments.all/*"]);
        assert_eq!(source.tags_since(&before).await?, kept);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_shows_a_line_once() -> Result<()> {
    for source in Source::both().await? {
        let before = source.coverage().await?;
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')")
            .await?;
        let round = source.journal.round(Some(&before)).await?;
        assert_eq!(round.changes.len(), 3);
        assert!(before.snapshot.within(&round.snapshot));
        assert!(!round.snapshot.within(&before.snapshot));
        let next = source.journal.round(Some(&coverage(&round))).await?;
        assert_eq!(next.changes, []);
        assert_eq!(next.epoch, round.epoch);
        assert!(round.snapshot.within(&next.snapshot));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_touched_often_is_one_change_with_the_highest_number() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')")
            .await?;
        let before = source.coverage().await?;
        let mut last = None;
        for _ in 0..5 {
            last = source
                .write("UPDATE comments SET text = text || 'x'")
                .await?;
        }
        let last = last.unwrap();
        for since in [Some(&before), None] {
            let round = source.journal.round(since).await?;
            let row: Vec<_> = round
                .changes
                .iter()
                .filter(|c| c.tag == Tag::of("comments", "1"))
                .collect();
            assert_eq!(row.len(), 1);
            // On SQLite a line has a number of its own, and the transaction that of its last.
            assert!(
                row[0].xid <= last.xid && row[0].xid + 3 > last.xid,
                "{row:?} {last:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_the_whole_journal() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')")
            .await?;
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (2, 8, 'x')")
            .await?;
        let whole = tags(&source.journal.round(None).await?);
        let both = [
            "comments/1",
            "comments/2",
            "comments.product/7",
            "comments.product/8",
        ];
        assert!(whole.is_superset(&named(&both)));
        assert!(whole.contains(&Tag::all()), "installing touches everything");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_epoch_takes_the_whole_journal() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')")
            .await?;
        let mut since = source.coverage().await?;
        since.epoch.system ^= 1;
        assert!(
            source
                .tags_since(&since)
                .await?
                .contains(&Tag::of("comments", "1"))
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_file_lives_in_a_new_epoch() -> Result<()> {
    let source = Source::sqlite().await?;
    let before = source.journal.epoch().await?;
    let after = source.journal.new_epoch().await?;
    assert_ne!(before, after);
    assert_eq!(source.journal.round(None).await?.epoch, after);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_says_what_the_round_says() -> Result<()> {
    for source in Source::both().await? {
        source
            .write("INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')")
            .await?;
        let before = source.coverage().await?;
        let mut write = source.journal.begin().await?;
        write
            .execute(
                "UPDATE comments SET product_id = $2 WHERE id = $1",
                args![1, 8],
            )
            .await?;
        write
            .execute(
                "INSERT INTO replies (id, comment_id) VALUES (5, 1)",
                args![],
            )
            .await?;
        let written = write.commit().await?.unwrap();
        let round = source.journal.round(Some(&before)).await?;
        assert_eq!(
            written.tags.iter().copied().collect::<BTreeSet<_>>(),
            tags(&round)
        );
        assert_eq!(written.epoch, round.epoch);
        assert!(round.snapshot.sees(written.xid) && !before.snapshot.sees(written.xid));
        assert_eq!(
            round.changes.iter().map(|change| change.xid).max(),
            Some(written.xid)
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_touched_nothing_says_so() -> Result<()> {
    for source in Source::both().await? {
        assert_eq!(
            source
                .write("UPDATE comments SET text = 'none' WHERE id = 99")
                .await?,
            None
        );
        assert_eq!(source.write("SELECT 1").await?, None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_write_is_one_change_of_everything() -> Result<()> {
    for source in Source::both().await? {
        let before = source.coverage().await?;
        let rows: Vec<[Value<'_>; 3]> = (0_i64..1_000)
            .map(|id| [id.into(), (id % 3).into(), "x".into()])
            .collect();
        let mut write = source.journal.begin().await?;
        write
            .insert_many("comments (id, product_id, text)", "", &rows)
            .await?;
        let written = write.commit().await?.unwrap();
        assert_eq!(written.tags, [Tag::all()]);
        for since in [Some(&before), None] {
            let round = source.journal.round(since).await?;
            assert_eq!(tags(&round), BTreeSet::from([Tag::all()]));
            assert_eq!(round.changes.len(), 1);
            assert_eq!(round.changes[0].xid, written.xid);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_number_is_the_highest_as_a_number() -> Result<()> {
    for source in Source::both().await? {
        // Sixty lines up to 99, which as a text is more than 1234567.
        source.home.shell(match source.home {
            Home::Sqlite(_) => {
                "WITH RECURSIVE n (i) AS (SELECT 40 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
                 INSERT INTO journal (id, tag, key) SELECT i, 'old', i FROM n; \
                 INSERT INTO journal (id, tag, key) VALUES (1234567, 'new', 1)"
            }
            Home::Postgres(_) => {
                "INSERT INTO journal (xid, tag, key) \
                 SELECT i::text::xid8, 'old', i FROM generate_series(40, 99) i; \
                 INSERT INTO journal (tag, key) VALUES ('new', 1)"
            }
        })?;
        let mut since = source.coverage().await?;
        since.snapshot = Snapshot::up_to(10);
        let newest = source
            .write("INSERT INTO comments (id, text) VALUES (1, 'x')")
            .await?
            .unwrap();
        for since in [Some(&since), None] {
            let round = source.journal.round(since).await?;
            let everything = Change {
                tag: Tag::all(),
                xid: newest.xid,
            };
            match since {
                Some(_) => assert_eq!(round.changes, [everything]),
                None => assert!(round.changes.iter().any(|change| change.xid == newest.xid)),
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn touched_lines_reach_every_feeder() -> Result<()> {
    for source in Source::both().await? {
        let before = source.coverage().await?;
        let line = |collection: &str, key: &str| Line {
            collection: collection.to_owned(),
            key: key.to_owned(),
        };
        let lines = [line("comments", "*"), line("other", "it's")];
        let written = source.journal.touch(&lines).await?;
        let touched = source.tags_since(&before).await?;
        assert_eq!(touched, named(&["comments/*", "other/it's"]));
        assert_eq!(touched, written.tags.into_iter().collect());
        assert!(source.journal.touch(&[]).await.is_err());
    }
    Ok(())
}
