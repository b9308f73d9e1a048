//! What is said to a server, and what its answers mean.

use super::server::failure;
use crate::remote::{Error, Item};
use bytes::Bytes;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn get(key: &str) -> Cmd {
    command("GET", |get| get.arg(key))
}

/// Only for keys of one server.
pub(super) fn get_many(keys: &[String]) -> Cmd {
    command("MGET", |mget| mget.arg(keys))
}

pub(super) fn set(item: &Item) -> Cmd {
    command("SET", |set| {
        let set = set.arg(&item.key).arg(&item.value[..]);
        set.arg("PX").arg(millis(item.ttl))
    })
}

pub(super) fn life(key: &str) -> Cmd {
    command("PTTL", |pttl| pttl.arg(key))
}

/// UNLINK would free large values elsewhere, but Redis before 4 and some of its relatives do not
/// know it.
pub(super) fn remove(keys: &[String]) -> Cmd {
    command("DEL", |del| del.arg(keys))
}

pub(super) fn lock(key: &str, owner: u64, ttl: Duration) -> Cmd {
    command("SET", |set| {
        let set = set.arg(key).arg(owner);
        set.arg("NX").arg("PX").arg(millis(ttl))
    })
}

/// EVAL rather than EVALSHA: the script is short, and a restart forgets hashes.
pub(super) fn unlock(keys: &[String], owner: u64) -> Cmd {
    command("EVAL", |eval| {
        let eval = eval.arg(UNLOCK).arg(keys.len());
        eval.arg(keys).arg(owner)
    })
}

/// A lock that ran out may be somebody else's by now: only its owner's name opens it.
const UNLOCK: &str = "for _, key in ipairs(KEYS) do \
    if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end end";

pub(super) fn publish(channel: &str, message: &[u8]) -> Cmd {
    command("PUBLISH", |publish| publish.arg(channel).arg(message))
}

fn command(name: &'static str, say: impl FnOnce(&mut Cmd) -> &mut Cmd) -> Cmd {
    let mut command = redis::cmd(name);
    say(&mut command);
    command
}

/// Redis refuses a life of zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The answer, unless it is a refusal.
pub(super) fn accepted(answer: Value) -> Result<Value, Error> {
    match answer {
        Value::ServerError(error) => Err(failure(error.into())),
        answer => Ok(answer),
    }
}

/// What GET found.
pub(super) fn found(answer: Value) -> Result<Option<Bytes>, Error> {
    match accepted(answer)? {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        other => Err(unexpected(&other)),
    }
}

/// What MGET found.
pub(super) fn found_many(answer: Value, length: usize) -> Result<Vec<Option<Bytes>>, Error> {
    match accepted(answer)? {
        Value::Array(values) if values.len() == length => values.into_iter().map(found).collect(),
        other => Err(unexpected(&other)),
    }
}

/// What PTTL said; a negative number stands for a key that is not there or stays for ever.
pub(super) fn left(answer: Value) -> Result<Option<Duration>, Error> {
    match accepted(answer)? {
        Value::Int(millis) => Ok(u64::try_from(millis).ok().map(Duration::from_millis)),
        other => Err(unexpected(&other)),
    }
}

/// Whether a lock was taken.
pub(super) fn taken(answer: Value) -> Result<bool, Error> {
    Ok(accepted(answer)? != Value::Nil)
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

pub(super) fn unexpected(value: &Value) -> Error {
    // Its kind only: what it holds may be anything.
    let kind = match value {
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Nil => "nothing".to_owned(),
        _ => "a value of another kind".to_owned(),
    };
    Error::Failed(Arc::new(Unexpected(kind)))
}

#[derive(Debug, thiserror::Error)]
#[error("an answer that makes no sense: {0}")]
struct Unexpected(String);
