//! What the suite's user may do to a Redis server, as `deploy/redis/users.acl` says, and what it may
//! not. That nothing is missing is shown by all other tests of Redis, which come as that user. And
//! what an operator may.

use anyhow::{Result, ensure};
use larder_testkit::redis::{self, Redis};
use std::thread;
use std::time::{Duration, Instant};

const SUITE: Option<(&str, &str)> = Some(("larder", "larder"));
const OPERATOR: Option<(&str, &str)> = Some(("operator", "operator"));

/// The answer's error, if the server would not do it.
fn refusal(server: &Redis, words: &[&str]) -> Option<String> {
    let answer = server.command_as(SUITE, words);
    answer.err().map(|error| format!("{error:#}"))
}

fn is_denied(server: &Redis, words: &[&str]) -> Result<()> {
    let said = refusal(server, words).unwrap_or_default();
    ensure!(said.contains("NOPERM"), "{words:?}: {said:?}");
    Ok(())
}

const SCRIPT: &str =
    "redis.call('TIME') redis.call('SET', KEYS[1], 1) return redis.call('GET', KEYS[1])";

#[test]
fn each_command_that_the_cache_uses_is_let_through() -> Result<()> {
    let server = redis::start()?;
    for words in [
        &["SET", "larder:a", "x", "PX", "60000"][..],
        &["SET", "larder:lock:a", "1", "NX", "PX", "60000"],
        &["GET", "larder:a"],
        &["MGET", "larder:a", "larder:b"],
        &["PTTL", "larder:a"],
        &["DEL", "larder:a"],
        &["EVAL", SCRIPT, "1", "larder:a"],
        &["PUBLISH", "larder:hints:products", "x"],
        &["SUBSCRIBE", "larder:hints:products"],
        &["UNSUBSCRIBE", "larder:hints:products"],
        &["PING"],
        &["ROLE"],
    ] {
        ensure!(refusal(&server, words).is_none(), "{words:?}");
    }
    let hash = server.command(&["SCRIPT", "LOAD", SCRIPT])?;
    assert_eq!(
        server.command_as(SUITE, &["EVALSHA", &hash, "1", "larder:a"])?,
        "1"
    );
    // Only a cluster does these; a server that is none says so, which the rules come before.
    for words in [
        &["READONLY"][..],
        &["ASKING"],
        &["CLUSTER", "SLOTS"],
        &["CLUSTER", "INFO"],
    ] {
        let said = refusal(&server, words).unwrap_or_default();
        ensure!(
            said.contains("cluster support disabled"),
            "{words:?}: {said}"
        );
    }
    Ok(())
}

#[test]
fn one_command_of_each_kind_that_it_does_not_use_is_refused() -> Result<()> {
    let server = redis::start()?;
    for words in [
        &["FLUSHALL"][..],
        &["FLUSHDB"],
        &["CONFIG", "GET", "*"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["RANDOMKEY"],
        &["DBSIZE"],
        &["SELECT", "1"],
        &["SWAPDB", "0", "1"],
        &["RENAME", "larder:a", "larder:b"],
        &["COPY", "larder:a", "larder:b"],
        &["DUMP", "larder:a"],
        &["EXPIRE", "larder:a", "1"],
        &["APPEND", "larder:a", "x"],
        &["INCR", "larder:a"],
        &["SETRANGE", "larder:a", "1", "x"],
        &["LPUSH", "larder:a", "x"],
        &["BLPOP", "larder:a", "1"],
        &["SADD", "larder:a", "x"],
        &["ZADD", "larder:a", "1", "x"],
        &["HSET", "larder:a", "f", "x"],
        &["XADD", "larder:a", "*", "f", "x"],
        &["PFADD", "larder:a", "x"],
        &["SETBIT", "larder:a", "1", "1"],
        &["GEOADD", "larder:a", "1", "1", "x"],
        &["SORT", "larder:a"],
        &["MULTI"],
        &["PSUBSCRIBE", "*"],
        &["PUBSUB", "CHANNELS"],
        &["SCRIPT", "FLUSH"],
        &["FUNCTION", "LIST"],
        &["CLIENT", "LIST"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
        &["ACL", "SETUSER", "larder", "+@all"],
        &["ACL", "LIST"],
        &["MONITOR"],
        &["INFO"],
        &["MODULE", "LIST"],
        &["SAVE"],
        &["SHUTDOWN"],
        &["REPLICAOF", "NO", "ONE"],
        &["CLUSTER", "RESET"],
        &["CLUSTER", "NODES"],
        &["MIGRATE", "127.0.0.1", "1", "larder:a", "0", "1"],
        &["SLOWLOG", "GET"],
        &["LATENCY", "LATEST"],
    ] {
        is_denied(&server, words)?;
    }
    Ok(())
}

#[test]
fn other_keys_and_channels_are_refused_also_to_scripts() -> Result<()> {
    let server = redis::start()?;
    server.command(&["SET", "other:a", "secret"])?;
    for words in [
        &["GET", "other:a"][..],
        &["GET", "larder"],
        &["GET", "larders:a"],
        &["MGET", "larder:a", "other:a"],
        &["SET", "other:a", "x", "PX", "1"],
        &["DEL", "larder:a", "other:a"],
        &["PTTL", "other:a"],
        &["EVAL", "return 1", "1", "other:a"],
        &["PUBLISH", "other", "x"],
        &["PUBLISH", "__keyspace@0__:larder:a", "x"],
        &["SUBSCRIBE", "other"],
        &["SUBSCRIBE", "larder:hints:products", "other"],
    ] {
        is_denied(&server, words)?;
    }
    // A script that hides what it touches, and ones that call what its caller may not.
    for call in ["'GET', 'other:a'", "'FLUSHALL'", "'PUBLISH', 'other', 'x'"] {
        let script = format!("return redis.call({call})");
        let said = refusal(&server, &["EVAL", &script, "0"]).unwrap_or_default();
        // Servers word it in different ways; what they must not do is do it.
        let denied = ["ACL", "NOPERM", "can't"].map(|why| said.contains(why));
        ensure!(denied.contains(&true), "{call}: {said:?}");
    }
    assert_eq!(server.command(&["GET", "other:a"])?, "secret");
    Ok(())
}

#[test]
fn whoever_does_not_log_in_can_do_nothing() -> Result<()> {
    let server = redis::start()?;
    for login in [None, Some(("default", "")), Some(("larder", "wrong"))] {
        let refused = server.command_as(login, &["GET", "larder:a"]);
        let said = format!(
            "{:#}",
            refused.err().unwrap_or_else(|| anyhow::anyhow!("let in"))
        );
        let denied = said.contains("NOAUTH") || said.contains("WRONGPASS");
        ensure!(denied, "{login:?}: {said}");
    }
    Ok(())
}

#[test]
fn an_operator_sees_how_the_server_is_and_touches_no_value() -> Result<()> {
    let server = redis::start()?;
    is_denied(&server, &["FLUSHALL"])?;
    let refused = server.command_as(OPERATOR, &["ACL", "LOG"])?;
    ensure!(refused.contains("flushall"), "{refused}");
    let memory = server.command_as(OPERATOR, &["INFO", "memory"])?;
    ensure!(memory.contains("used_memory:"), "{memory}");
    server.command_as(OPERATOR, &["PING"])?;
    for words in [
        &["GET", "larder:a"][..],
        &["SET", "larder:a", "x"],
        &["SUBSCRIBE", "larder:hints:products"],
        &["PUBLISH", "larder:hints:products", "x"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["MONITOR"],
        &["SHUTDOWN"],
    ] {
        let said = server.command_as(OPERATOR, words).err();
        let said = said.map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("NOPERM"), "{words:?}: {said:?}");
    }
    Ok(())
}

#[test]
fn an_operator_replaces_the_suites_password_with_both_good_in_between() -> Result<()> {
    let server = redis::start()?;
    let operator = |words: &[&str]| server.command_as(OPERATOR, words);
    let let_in = |password| {
        let asked = server.command_as(Some(("larder", password)), &["PING"]);
        asked.is_ok()
    };
    operator(&["ACL", "SETUSER", "larder", ">another"])?;
    ensure!(let_in("larder") && let_in("another"));
    operator(&["ACL", "SETUSER", "larder", "<larder"])?;
    ensure!(!let_in("larder") && let_in("another"));
    Ok(())
}

#[test]
fn an_operator_ends_a_script_that_does_not_end() -> Result<()> {
    let server = redis::start()?;
    server.command(&["CONFIG", "SET", "lua-time-limit", "50"])?;
    let ends = Instant::now() + Duration::from_secs(4);
    thread::scope(|threads| {
        let endless = threads.spawn(|| refusal(&server, &["EVAL", "while true do end", "0"]));
        let kill = || server.command_as(OPERATOR, &["SCRIPT", "KILL"]);
        while let Err(error) = kill() {
            ensure!(Instant::now() < ends, "{error:#}");
            thread::sleep(Duration::from_millis(20));
        }
        let said = endless.join().expect("no panic").unwrap_or_default();
        ensure!(said.contains("killed"), "{said:?}");
        ensure!(refusal(&server, &["PING"]).is_none());
        Ok(())
    })
}
