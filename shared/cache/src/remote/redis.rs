//! Redis, or what speaks its language: one node, for now.
//!
//! Two connections with a supervisor each, since they fail apart and are asked different things:
//! a command must be answered at once or not at all, while a subscription must come back however
//! long the outage was. Neither the supervisors of the `redis` crate do (they give up after some
//! attempts, and keep a connection whose peer is silent), so both are ours: `commands` and
//! `subscription`.

mod commands;
mod subscription;

use super::{Error, Event, Item, Remote};
use bytes::Bytes;
use commands::{Commands, Request};
use futures_util::future::BoxFuture;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion, Value};
use std::sync::Arc;
use std::time::Duration;
use subscription::Subscription;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long opening a connection may take, greetings included.
const CONNECT: Duration = Duration::from_millis(200);
/// How long an answer may take when nobody is less patient.
const RESPONSE: Duration = Duration::from_millis(500);
/// Each connection is asked for a sign of life this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A sign of life that takes longer is a miss. Two in a row, and the connection is given up.
const SIGN_OF_LIFE: Duration = Duration::from_millis(750);
const MISSES: u32 = 2;
/// The first and the longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A Redis server as the remote tier. Its tasks end when it is dropped.
pub struct Redis {
    name: String,
    commands: Commands,
    subscription: Subscription,
    _tasks: DropGuard,
}

impl Redis {
    /// Begins to connect to `redis://` or `rediss://` and returns at once: a server that is away
    /// costs the remote tier, not the start. Must be called on a tokio runtime.
    pub fn open(url: &str) -> Result<Self, Error> {
        let info = address(url)?;
        let name = name(&info);
        let client = Client::open(info).map_err(|error| Error::Failed(Arc::new(error)))?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| Error::Failed(Arc::new(error)))?;
        let token = CancellationToken::new();
        let (commands, connecting) = Commands::new(client.clone(), name.clone());
        let (subscription, listening) = Subscription::new(client, name.clone());
        runtime.spawn(token.clone().run_until_cancelled_owned(connecting));
        runtime.spawn(token.clone().run_until_cancelled_owned(listening));
        Ok(Self {
            name,
            commands,
            subscription,
            _tasks: token.drop_guard(),
        })
    }
}

/// What the address says, with our own settings of the connection. No error repeats the address:
/// there may be a password in it.
fn address(url: &str) -> Result<ConnectionInfo, Error> {
    let info = url.into_connection_info().map_err(|error| {
        let why = error.detail().unwrap_or("it cannot be read").to_owned();
        Error::Address(format!(
            "redis://[user:password@]host[:port][/db] was expected: {why}"
        ))
    })?;
    // TLS needs a provider of cryptography, and nobody may have chosen one yet. If somebody has,
    // theirs stays.
    if url.starts_with("rediss:") {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(2))
        .with_interval(Duration::from_secs(1));
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(Duration::from_secs(3));
    // The older protocol: every server and every proxy speaks it, and nothing here needs more.
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP2);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

/// For logs: host and port, and neither user nor password.
fn name(info: &ConnectionInfo) -> String {
    let scheme = match info.addr() {
        redis::ConnectionAddr::TcpTls { .. } => "rediss",
        _ => "redis",
    };
    match info.redis_settings().db() {
        0 => format!("{scheme}://{}", info.addr()),
        db => format!("{scheme}://{}/{db}", info.addr()),
    }
}

impl Remote for Redis {
    fn get<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, Error>> {
        Box::pin(async move {
            match keys {
                [] => Ok(Vec::new()),
                [key] => {
                    let value = self.commands.ask(one(command("GET").arg(key))).await?;
                    Ok(vec![bytes(value)?])
                }
                keys => {
                    let value = self.commands.ask(one(command("MGET").arg(keys))).await?;
                    let values = list(value, keys.len())?;
                    values.into_iter().map(bytes).collect()
                }
            }
        })
    }

    fn set<'a>(&'a self, items: &'a [Item]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut pipeline = Pipeline::with_capacity(items.len());
            for item in items {
                let set = pipeline.cmd("SET").arg(&item.key).arg(&item.value[..]);
                set.arg("PX").arg(millis(item.ttl));
            }
            self.many(pipeline).await.map(drop)
        })
    }

    fn remove<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            // UNLINK would free large values elsewhere, but Redis before 4 and some of its
            // relatives do not know it.
            self.commands
                .ask(one(command("DEL").arg(keys)))
                .await
                .map(drop)
        })
    }

    fn lock<'a>(
        &'a self,
        keys: &'a [String],
        owner: u64,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<Vec<bool>, Error>> {
        Box::pin(async move {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                pipeline
                    .cmd("SET")
                    .arg(key)
                    .arg(owner)
                    .arg("NX")
                    .arg("PX")
                    .arg(millis(ttl));
            }
            let answers = self.many(pipeline).await?;
            Ok(answers
                .into_iter()
                .map(|answer| answer != Value::Nil)
                .collect())
        })
    }

    fn unlock<'a>(&'a self, keys: &'a [String], owner: u64) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            // EVAL rather than EVALSHA: the script is short, and a restart forgets hashes.
            let mut script = command("EVAL");
            script.arg(UNLOCK).arg(keys.len()).arg(keys).arg(owner);
            self.commands.ask(Request::One(script)).await.map(drop)
        })
    }

    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let publish = one(command("PUBLISH").arg(channel).arg(&message[..]));
            self.commands.ask(publish).await.map(drop)
        })
    }

    fn subscribe(&self, channel: &str) -> mpsc::Receiver<Event> {
        self.subscription.subscribe(channel)
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// A lock that ran out may be somebody else's by now: only its owner's name opens it.
const UNLOCK: &str = "for _, key in ipairs(KEYS) do \
    if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end end";

impl Redis {
    async fn many(&self, pipeline: Pipeline) -> Result<Vec<Value>, Error> {
        let count = pipeline.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        list(self.commands.ask(Request::Many(pipeline)).await?, count)
    }
}

fn command(name: &'static str) -> Cmd {
    redis::cmd(name)
}

fn one(command: &mut Cmd) -> Request {
    Request::One(std::mem::take(command))
}

/// Redis refuses a life of zero.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn bytes(value: Value) -> Result<Option<Bytes>, Error> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        other => Err(unexpected(&other)),
    }
}

fn list(value: Value, length: usize) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(values) if values.len() == length => Ok(values),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(value: &Value) -> Error {
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
