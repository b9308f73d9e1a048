//! What cannot work is refused with a sentence that names it; what may still come is waited for.

use anyhow::Result;
use larder_proto::products::v1::GetProductRequest;
use larder_testkit::process::Signal;
use larder_testkit::{postgres, redis, wait_until};
use larder_tests::command::{self, Finished};
use larder_tests::{Kind, Setup, asking};
use std::net::TcpListener;
use std::time::Duration;
use tonic::Code;

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// A start that is refused is over at once; this is for a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Runs a command that must fail, without a panic, and tell why.
async fn refused(args: &[&str]) -> Result<Finished> {
    let folder = tempfile::tempdir()?;
    let finished = command::run(LARDER, folder.path(), args, SOON).await?;
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    assert!(!finished.said.contains("panicked"), "{finished:?}");
    Ok(finished)
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() -> Result<()> {
    // Far above what other tests use: 7101 moved by this is the port.
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let address = taken.local_addr()?;
    let offset = (address.port() - 7101).to_string();
    let finished = refused(&["up", "--port-offset", &offset]).await?;
    assert!(
        finished
            .said
            .contains(&format!("cannot listen on {address}")),
        "{finished:?}"
    );
    assert!(finished.said.contains("--port-offset"), "{finished:?}");
    Ok(())
}

#[tokio::test]
async fn an_address_of_an_unknown_scheme_is_refused_with_its_setting() -> Result<()> {
    let finished = refused(&["up", "--remote", "memcached://there"]).await?;
    assert!(finished.said.contains("--remote"), "{finished:?}");
    assert!(finished.said.contains("redis://"), "{finished:?}");
    let finished = refused(&["up", "--database", "mysql://ada:hush@there"]).await?;
    assert!(finished.said.contains("--database"), "{finished:?}");
    assert!(finished.said.contains("postgres://"), "{finished:?}");
    assert!(!finished.said.contains("hush"), "{finished:?}");
    Ok(())
}

#[tokio::test]
async fn what_the_command_line_does_not_know_is_refused_by_name() -> Result<()> {
    for (args, named) in [
        (&["up", "--replica", "2"][..], "--replica"),
        (&["up", "--replicas", "0"], "--replicas"),
        (&["up", "--port-offset", "70000"], "--port-offset"),
        (&["replay"], "<FILE>"),
        (&["replay", "x", "--write-share", "1.5"], "--write-share"),
        (&["replay", "x", "--targets", "nowhere"], "--targets"),
        (&["load", "--profiles", "-1"], "-1"),
        (&["dump"], "dump"),
    ] {
        let finished = refused(args).await?;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.said.contains(named), "{finished:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_embedded_seam_is_refused_where_it_must_not_be() -> Result<()> {
    let finished = refused(&["up", "--embedded", "deny"]).await?;
    assert!(
        finished.said.contains("--remote (REDIS_URL) is hub:"),
        "{finished:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_seal_key_that_is_none_is_refused_with_its_setting_and_not_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    let named = file.display().to_string();
    for written in [None, Some("hush")] {
        if let Some(text) = written {
            std::fs::write(&file, text)?;
        }
        let finished = refused(&["serve", "products", "--seal-key-file", &named]).await?;
        let said = &finished.said;
        assert!(
            said.contains("--seal-key-file (LARDER_SEAL_KEY_FILE)"),
            "{said}"
        );
        assert!(said.contains(&named) && !said.contains("hush"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn settings_are_printed_with_their_secrets_starred() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let args = [
        "up",
        "--print-config",
        "--remote",
        "redis://:hush@there:6379",
    ];
    let finished = command::run(LARDER, folder.path(), &args, SOON).await?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(
        finished
            .printed
            .contains("remote = redis://:***@there:6379\n"),
        "{finished:?}"
    );
    assert!(finished.printed.contains("replicas = 2\n"), "{finished:?}");
    assert!(!finished.printed.contains("hush"), "{finished:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let garbage: Vec<u8> = (0..8192_u32).map(|n| (n * 31 % 251) as u8).collect();
    std::fs::write(folder.path().join("products.db"), garbage)?;
    let database = format!("sqlite://{}", folder.path().display());
    // Its ports are reserved, so that nothing but the file is in its way.
    let suite = Setup::new(LARDER).database(database).launch()?;
    wait_until("the end of the suite", SOON, async || {
        !suite.process().is_alive()
    })
    .await?;
    let log = suite.process().log();
    assert!(log.contains("products.db"), "{log}");
    assert!(log.contains("damaged or no database"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_later_release_are_lived_with_and_those_of_another_are_not() -> Result<()> {
    let database = postgres::fresh_database()?;
    let suite = Setup::new(LARDER).database(database.url()).start().await?;
    suite.process().end()?;
    psql(
        &database,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', true, '\\x00', 0)",
    )?;
    let suite = Setup::new(LARDER).database(database.url()).start().await?;
    let ahead = suite
        .replica(Kind::Profiles, 1)
        .count("larder_schema_ahead", &["source=\"profiles\""])
        .await?;
    assert_eq!(ahead, 9999);
    suite.process().end()?;
    let log = suite.process().log();
    assert!(
        log.contains("later release") && log.contains("9999"),
        "{log}"
    );

    psql(
        &database,
        "UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1",
    )?;
    let suite = Setup::new(LARDER).database(database.url()).launch()?;
    wait_until("the end of the suite", SOON, async || {
        !suite.process().is_alive()
    })
    .await?;
    let log = suite.process().log();
    assert!(
        log.contains("migration 1 was applied with other words"),
        "{log}"
    );
    Ok(())
}

/// Runs SQL in the database of profiles.
fn psql(database: &postgres::Database, sql: &str) -> Result<String> {
    let name = format!("{}_profiles", database.name());
    database.server().psql(&format!("\\connect {name}\n{sql}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_late_is_waited_for() -> Result<()> {
    let server = postgres::start()?;
    server.stop()?;
    let suite = Setup::new(LARDER).database(server.url()).launch()?;
    let replica = suite.replica(Kind::Products, 1);
    wait_until("a reason at /ready", SOON, async || {
        let said = replica.readiness().await;
        said.is_ok_and(|(status, why)| status == 503 && why.contains("cannot be reached"))
    })
    .await?;
    // It answers in the meantime, with what it has: nothing.
    let asked = asking(GetProductRequest { id: "a".to_owned() }, &[]);
    let status = suite
        .products(1)
        .get_product(asked)
        .await
        .expect_err("not ready");
    assert_eq!(status.code(), Code::Unavailable);
    server.restart()?;
    suite.ready().await?;
    let asked = asking(GetProductRequest { id: "a".to_owned() }, &[]);
    let status = suite
        .products(1)
        .get_product(asked)
        .await
        .expect_err("there is none");
    assert_eq!(status.code(), Code::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_late_is_done_without() -> Result<()> {
    let redis = redis::Setup::default().reserve()?;
    let suite = Setup::new(LARDER).remote(redis.url()).start().await?;
    let log = suite.process().log();
    assert!(log.contains("remote tier"), "it does not say so: {log}");
    let asked = asking(GetProductRequest { id: "a".to_owned() }, &[]);
    let status = suite
        .products(1)
        .get_product(asked)
        .await
        .expect_err("there is none");
    assert_eq!(status.code(), Code::NotFound);
    redis.restart()?;
    wait_until("a value in Redis", SOON, async || {
        let asked = asking(
            GetProductRequest { id: "b".to_owned() },
            &[("larder-freshness", "strong")],
        );
        let _ = suite.products(1).get_product(asked).await;
        redis.command(&["DBSIZE"]).is_ok_and(|size| size != "0")
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_waits_for_its_database_ends_when_it_is_asked_to() -> Result<()> {
    let server = postgres::start()?;
    server.stop()?;
    let suite = Setup::new(LARDER).database(server.url()).launch()?;
    let replica = suite.last();
    wait_until("an admin port", SOON, async || {
        replica.readiness().await.is_ok()
    })
    .await?;
    suite.process().signal(Signal::INT)?;
    wait_until("its end", SOON, async || !suite.process().is_alive()).await?;
    assert!(
        suite.process().end()?.success(),
        "{}",
        suite.process().log()
    );
    Ok(())
}
