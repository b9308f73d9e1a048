//! The servers start, can be hurt in the ways that they promise, and end.

use anyhow::Result;
use larder_testkit::{postgres, process, program, redis};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn a_missing_program_is_an_error_that_says_what_to_install() {
    let error =
        program::find(&["no-such-server"], "apt-get install it").expect_err("there is none");
    assert!(error.to_string().contains("apt-get install it"), "{error}");
}

#[test]
fn redis_restarts_empty_or_from_its_dump_on_the_same_port() -> Result<()> {
    let redis = redis::start()?;
    let address = redis.address();
    redis.command(&["SET", "a", "1"])?;
    redis.dump()?;
    redis.command(&["SET", "b", "2"])?;
    redis.restart_from_dump()?;
    assert_eq!(redis.command(&["MGET", "a", "b"])?, "1\n");
    redis.restart()?;
    assert_eq!(redis.command(&["DBSIZE"])?, "0");
    assert_eq!(redis.address(), address);
    Ok(())
}

#[test]
fn redis_wants_its_password() -> Result<()> {
    let redis = redis::Setup::default().password("hunter2").start()?;
    assert_eq!(redis.command(&["PING"])?, "PONG");
    assert!(redis.url().contains("hunter2"));
    Ok(())
}

#[test]
fn a_dropped_server_is_gone() -> Result<()> {
    let redis = redis::start()?;
    let address = redis.address();
    drop(redis);
    assert!(TcpStream::connect(address).is_err());
    Ok(())
}

#[test]
fn a_paused_child_is_ended_all_the_same() -> Result<()> {
    let sleep = program::find(&["sleep"], "coreutils")?;
    let child = process::Program::new(sleep).arg("600").spawn()?;
    child.pause()?;
    assert!(child.is_alive());
    assert!(!child.end()?.success());
    Ok(())
}

#[test]
fn a_fresh_database_is_empty_and_its_own() -> Result<()> {
    let (one, other) = (postgres::fresh_database()?, postgres::fresh_database()?);
    one.psql("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y')")?;
    assert_eq!(one.psql("SELECT * FROM t ORDER BY a")?, "1|x\n2|y");
    assert!(other.psql("SELECT * FROM t").is_err());
    assert_eq!(one.server().address(), other.server().address());
    Ok(())
}

#[test]
fn what_postgres_committed_survives_a_stop() -> Result<()> {
    let server = postgres::start()?;
    let database = server.fresh_database()?;
    database.psql("CREATE TABLE t AS SELECT 1 AS a")?;
    server.stop()?;
    assert!(database.psql("SELECT 1").is_err());
    server.restart()?;
    assert_eq!(database.psql("SELECT a FROM t")?, "1");
    Ok(())
}

#[tokio::test]
async fn a_standby_follows_until_it_is_promoted() -> Result<()> {
    let primary = postgres::start()?;
    let standby = primary.standby()?;
    assert_eq!(standby.psql("SELECT pg_is_in_recovery()")?, "t");
    primary.psql("CREATE TABLE t AS SELECT 1 AS a")?;
    larder_testkit::wait_until(
        "the row on the standby",
        Duration::from_secs(10),
        async || {
            standby
                .psql("SELECT a FROM t")
                .is_ok_and(|rows| rows == "1")
        },
    )
    .await?;
    standby.promote()?;
    standby.psql("INSERT INTO t VALUES (2)")?;
    assert_eq!(primary.psql("SELECT count(*) FROM t")?, "1");
    Ok(())
}

#[test]
fn a_trace_is_read_whole_where_there_is_one() {
    if let Some(keys) = larder_testkit::data::trace("web12.trace.xz") {
        assert_eq!(keys.len(), 95_607);
    }
}

#[tokio::test]
async fn a_child_that_ends_instead_of_getting_ready_is_reported_with_its_log() -> Result<()> {
    let shell = program::find(&["sh"], "a shell")?;
    let child = process::Program::new(shell)
        .args(["-c", "echo no config; exit 3"])
        .spawn()?;
    let nobody = larder_testkit::port::Port::reserve()?;
    let waited = child
        .wait_ready(nobody.address(), Duration::from_secs(10))
        .await;
    let error = waited.expect_err("it has ended");
    assert!(error.to_string().contains("no config"), "{error}");
    Ok(())
}
