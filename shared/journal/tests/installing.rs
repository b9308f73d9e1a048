//! Installing and checking: one suite, run against both engines.

use crate::support;

use anyhow::Result;
use larder::feed::Feed as _;
use larder::key::Tag;
use larder_journal::{Error, Flaw, Journal, Problem, Settings, Watch, Watches};
use support::{Home, Source, open, watches};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_at_once_install_once() -> Result<()> {
    for home in [Home::sqlite()?, Home::postgres()?] {
        let mut replicas = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let url = home.url();
            replicas.spawn(async move {
                Ok::<_, anyhow::Error>(Journal::install(open(&url).await?, watches()).await?)
            });
        }
        while let Some(journal) = replicas.join_next().await {
            assert_eq!(journal??.check().await?, []);
        }
        // One line says that everything was touched: one of them has installed.
        assert_eq!(home.shell("SELECT count(*) FROM journal")?, "1");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn installing_again_changes_nothing() -> Result<()> {
    for source in Source::both().await? {
        let before = source.coverage().await?;
        Journal::install(open(&source.home.url()).await?, watches()).await?;
        assert_eq!(source.journal.round(Some(&before)).await?.changes, []);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_release_leaves_what_a_newer_one_installed_and_sees_what_it_lacks() -> Result<()> {
    for source in Source::both().await? {
        let db = open(&source.home.url()).await?;
        let newer = Watches::revision(2).watch(Watch::table("replies").row("replies", "id"));
        let before = source.coverage().await?;
        Journal::install(db.clone(), newer).await?;
        assert!(source.tags_since(&before).await?.contains(&Tag::all()));
        let older = Journal::install(db.clone(), watches()).await?;
        let problems = older.check().await?;
        let lacks = |problem: &Problem| {
            (problem.table.as_str(), problem.flaw) == ("comments", Flaw::Missing)
        };
        assert!(problems.iter().any(lacks), "{problems:?}");
        let found = Journal::find(db, watches(), Settings::default()).await?;
        assert!(!found.check().await?.is_empty());
        // What is watched no more has no triggers any more.
        let before = source.coverage().await?;
        source
            .home
            .shell("INSERT INTO comments (id, text) VALUES (1, 'x')")?;
        assert_eq!(source.journal.round(Some(&before)).await?.changes, []);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_found_when_others_have_installed_it_and_never_made() -> Result<()> {
    for home in [Home::sqlite()?, Home::postgres()?] {
        let db = open(&home.url()).await?;
        let find = || Journal::find(db.clone(), watches(), Settings::default());
        for _ in 0..2 {
            let missing = find().await;
            let expected = matches!(missing, Err(Error::NotInstalled { revision: 1 }));
            assert!(expected, "{missing:?}");
        }
        Journal::install(db.clone(), watches()).await?;
        assert_eq!(find().await?.check().await?, []);
        home.shell("UPDATE journal_state SET version = 2")?;
        for newer in [find().await, Journal::install(db.clone(), watches()).await] {
            assert!(
                matches!(newer, Err(Error::Newer { version: 2 })),
                "{newer:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_do_not_change_under_their_revision() -> Result<()> {
    for source in Source::both().await? {
        let db = open(&source.home.url()).await?;
        let other = Watches::revision(1).watch(Watch::table("replies").row("replies", "id"));
        let refused = Journal::install(db, other).await;
        assert!(
            matches!(refused, Err(Error::Unrevised { revision: 1 })),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_gone_is_reported_and_repaired() -> Result<()> {
    for source in Source::both().await? {
        assert_eq!(source.journal.check().await?, []);
        source.home.shell(match source.home {
            Home::Sqlite(_) => "DROP TRIGGER larder_journal_comments_update",
            Home::Postgres(_) => "DROP TRIGGER larder_journal_rows ON comments",
        })?;
        let problems = source.journal.check().await?;
        assert_eq!(problems.len(), 1);
        assert_eq!(
            (problems[0].table.as_str(), problems[0].flaw),
            ("comments", Flaw::Missing)
        );
        assert_eq!(problems[0].keyspaces, ["comments", "comments.list"]);

        let before = source.coverage().await?;
        Journal::install(open(&source.home.url()).await?, watches()).await?;
        assert_eq!(source.journal.check().await?, []);
        assert!(source.tags_since(&before).await?.contains(&Tag::all()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_trigger_is_reported_by_table() -> Result<()> {
    let source = Source::postgres().await?;
    for disable in [
        "DISABLE TRIGGER ALL",
        "ENABLE TRIGGER larder_journal_truncate",
    ] {
        let disable = format!("ALTER TABLE replies {disable}");
        source.home.shell(&disable)?;
        let problems = source.journal.check().await?;
        assert!(!problems.is_empty());
        for problem in problems {
            assert_eq!(
                (problem.table.as_str(), problem.flaw),
                ("replies", Flaw::Disabled)
            );
            assert_eq!(problem.keyspaces, ["replies"]);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_does_something_else_is_reported() -> Result<()> {
    for source in Source::both().await? {
        source.home.shell(match source.home {
            Home::Sqlite(_) => {
                "DROP TRIGGER larder_journal_comments_delete; \
                 CREATE TRIGGER larder_journal_comments_delete AFTER DELETE ON comments \
                 BEGIN SELECT 1; END"
            }
            Home::Postgres(_) => {
                "CREATE OR REPLACE FUNCTION larder_journal_comments() RETURNS trigger \
                 LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            }
        })?;
        let problems = source.journal.check().await?;
        assert!(
            problems
                .iter()
                .all(|problem| problem.flaw == Flaw::Different)
        );
        assert!(!problems.is_empty());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_need_quotes_are_quoted() -> Result<()> {
    for home in [Home::sqlite()?, Home::postgres()?] {
        let db = open(&home.url()).await?;
        home.shell("CREATE TABLE \"Odd 'Table\" (\"the \"\"Id\" BIGINT)")?;
        let odd = Watch::table("Odd 'Table")
            .row("o'dd", "the \"Id")
            .keyspaces(&["o'dd"]);
        let journal = Journal::install(db, Watches::revision(1).watch(odd)).await?;
        assert_eq!(journal.check().await?, []);
        let source = Source { home, journal };
        let insert = "INSERT INTO \"Odd 'Table\" VALUES (3)";
        let touched = source.tags_of(|home| home.shell(insert)).await?;
        assert_eq!(touched, support::named(&["o'dd/3"]));
    }
    Ok(())
}
