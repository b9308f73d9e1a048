//! Forgetting, and how a feeder notices: one suite, run against both engines.

use crate::support;

use anyhow::Result;
use larder::feed::Feed as _;
use larder_db::args;
use larder_journal::{Pruned, Settings};
use std::time::Duration;
use support::{Home, Source, coverage, named, small};

const INSERT: &str = "INSERT INTO comments (id, product_id, text) VALUES (1, 7, 'x')";
const UPDATE: &str = "UPDATE comments SET text = text || 'x'";

/// Settings under which a line is old at once, also by a clock that counts whole seconds.
fn at_once() -> Settings {
    small()
}

/// Makes every line look an hour older.
fn age(home: &Home) -> Result<()> {
    home.shell(match home {
        Home::Sqlite(_) => "UPDATE journal SET at = at - 3600",
        Home::Postgres(_) => "UPDATE journal SET at = at - interval '1 hour'",
    })?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_marked_first_and_dropped_later() -> Result<()> {
    for source in Source::both().await? {
        let written = source.write(INSERT).await?.unwrap();
        age(&source.home)?;
        let marked = source.journal.prune().await?;
        assert_eq!(
            marked,
            Pruned {
                marked: Some(written.xid + 1),
                dropped: 0
            }
        );
        let round = source.journal.round(None).await?;
        assert_eq!((round.low_marked, round.low_dropped), (written.xid + 1, 0));
        assert!(!round.changes.is_empty());

        assert_eq!(source.journal.prune().await?.dropped, 4);
        let round = source.journal.round(None).await?;
        assert_eq!(
            (round.low_marked, round.low_dropped),
            (written.xid + 1, written.xid + 1)
        );
        assert_eq!(round.changes, []);
        assert_eq!(source.journal.prune().await?, Pruned::default());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feeder_that_was_silent_sees_the_gap() -> Result<()> {
    for source in Source::both().await? {
        source.write(INSERT).await?;
        let silent = source.coverage().await?;
        source.write(UPDATE).await?;
        age(&source.home)?;
        source.journal.prune().await?;
        let attentive = source.coverage().await?;
        source.journal.prune().await?;

        let round = source.journal.round(Some(&silent)).await?;
        assert!(
            round.low_dropped > silent.low_marked,
            "it has missed lines, and can tell"
        );
        let round = source.journal.round(Some(&attentive)).await?;
        assert!(
            round.low_dropped <= attentive.low_marked,
            "it has missed nothing"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_do_not_start_again_after_pruning() -> Result<()> {
    for source in Source::both().await? {
        let first = source.write(INSERT).await?.unwrap();
        let before = source.coverage().await?;
        age(&source.home)?;
        source.journal.prune().await?;
        source.journal.prune().await?;
        let round = source.journal.round(Some(&before)).await?;
        assert!(
            before.snapshot.within(&round.snapshot),
            "the empty journal is no step back"
        );
        let second = source.write(UPDATE).await?.unwrap();
        assert!(second.xid > first.xid);
        let all = named(&["comments/1", "comments.product/7", "comments.all/*"]);
        assert_eq!(source.tags_since(&coverage(&round)).await?, all);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn young_lines_stay() -> Result<()> {
    let settings = Settings {
        keep: Duration::from_secs(900),
        ..at_once()
    };
    for home in [Home::sqlite()?, Home::postgres()?] {
        let source = Source::at(home, settings.clone()).await?;
        source.write(INSERT).await?;
        assert_eq!(source.journal.prune().await?, Pruned::default());
        age(&source.home)?;
        source.write(UPDATE).await?;
        assert!(source.journal.prune().await?.marked.is_some());
        assert_eq!(source.journal.prune().await?.dropped, 4);
        assert_eq!(source.journal.round(None).await?.changes.len(), 3);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_stands_for_a_while_before_its_lines_go() -> Result<()> {
    let settings = Settings {
        settle: Duration::from_secs(600),
        ..at_once()
    };
    for home in [Home::sqlite()?, Home::postgres()?] {
        let source = Source::at(home, settings.clone()).await?;
        age(&source.home)?;
        assert!(source.journal.prune().await?.marked.is_some());
        assert_eq!(source.journal.prune().await?, Pruned::default());
        assert_eq!(source.journal.round(None).await?.low_dropped, 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_backlog_goes_in_steps() -> Result<()> {
    let settings = Settings {
        drop_at_most: 5,
        ..at_once()
    };
    for home in [Home::sqlite()?, Home::postgres()?] {
        let source = Source::at(home, settings.clone()).await?;
        source.write(INSERT).await?;
        for _ in 0..9 {
            source.write(UPDATE).await?;
        }
        age(&source.home)?;
        let (mut steps, mut dropped) = (0, 0);
        while source.journal.prune().await?.marked.is_some() {
            dropped += source.journal.prune().await?.dropped;
            steps += 1;
        }
        assert_eq!(dropped, 31);
        assert!(steps > 3, "{steps}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_prune_at_once_do_not_fail() -> Result<()> {
    for source in Source::both().await? {
        source.write(INSERT).await?;
        age(&source.home)?;
        let mut processes = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let journal = source.journal.clone();
            processes.spawn(async move { journal.prune().await });
        }
        while let Some(pruned) = processes.join_next().await {
            pruned??;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_does_not_pass_a_transaction_that_is_still_open() -> Result<()> {
    let source = Source::postgres().await?;
    let mut long = source.journal.begin().await?;
    long.execute(INSERT, args![]).await?;
    let later = source
        .write("INSERT INTO comments (id, text) VALUES (2, 'y')")
        .await?
        .unwrap();
    age(&source.home)?;
    let marked = source.journal.prune().await?.marked;
    let long = long.commit().await?.unwrap();
    assert!(long.xid < later.xid);
    assert!(
        marked.is_none_or(|marked| marked <= long.xid),
        "{marked:?} {long:?}"
    );
    Ok(())
}
