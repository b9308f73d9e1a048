//! The connection that commands take.

use super::{CONNECT, HEARTBEAT, MISSES, PAUSES, RESPONSE, SIGN_OF_LIFE};
use crate::remote::Error;
use crate::remote::backoff::Backoff;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// What is sent at once.
pub(super) enum Request {
    One(Cmd),
    Many(Pipeline),
}

/// Commands that may wait for an answer; the next fails at once. A server that is silent for the
/// seconds that it takes to notice must not fill our memory.
const MOST_WAITING: usize = 16_384;

/// Sends requests over whatever connection there is. It never waits for an outage to end.
pub(super) struct Commands {
    link: Arc<watch::Sender<Link>>,
    waiting: AtomicUsize,
}

#[derive(Clone)]
struct Link {
    /// Counts connections, so that the end of an old one is not taken for that of a new one.
    generation: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// The first attempt since the start or since the last connection broke: it ends within
    /// [`CONNECT`], and calls wait for it.
    Opening,
    Up(MultiplexedConnection),
    /// Why the last attempt failed; calls fail at once with it.
    Down(Error),
}

impl Commands {
    /// The second half is the supervisor, which runs until it is dropped.
    pub(super) fn new(client: Client, name: String) -> (Self, impl Future<Output = ()>) {
        let link = Link {
            generation: 0,
            state: State::Opening,
        };
        let link = Arc::new(watch::Sender::new(link));
        let supervisor = supervise(client, name, Arc::clone(&link));
        (
            Self {
                link,
                waiting: AtomicUsize::new(0),
            },
            supervisor,
        )
    }

    /// The answer. When the connection turns out to have been lost, and another can be had at
    /// once, the request is sent a second time: everything that is asked here may happen twice.
    pub(super) async fn ask(&self, request: Request) -> Result<Value, Error> {
        let _place = self.enter()?;
        let (generation, mut connection) = self.connection().await?;
        match send(&mut connection, &request).await {
            Err(error) if is_lost(&error) => {
                give_up(&self.link, generation);
                let (_, mut connection) = self.connection().await?;
                send(&mut connection, &request).await
            }
            answer => answer,
        }
        .map_err(failure)
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Error> {
        fn settled(link: &Link) -> Option<Result<(u64, MultiplexedConnection), Error>> {
            match &link.state {
                State::Opening => None,
                State::Up(connection) => Some(Ok((link.generation, connection.clone()))),
                State::Down(error) => Some(Err(error.clone())),
            }
        }
        if let Some(settled) = settled(&self.link.borrow()) {
            return settled;
        }
        let mut link = self.link.subscribe();
        let opened = link.wait_for(|link| !matches!(link.state, State::Opening));
        match tokio::time::timeout(2 * CONNECT, opened).await {
            Ok(Ok(link)) => settled(&link).unwrap_or(Err(Error::Timeout(2 * CONNECT))),
            _ => Err(Error::Timeout(2 * CONNECT)),
        }
    }

    fn enter(&self) -> Result<Place<'_>, Error> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(Error::Failed(Arc::new(Crowded)));
        }
        Ok(place)
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many commands wait for an answer")]
struct Crowded;

#[derive(Debug, thiserror::Error)]
#[error("connections break as soon as they stand")]
struct Unstable;

async fn send(connection: &mut MultiplexedConnection, request: &Request) -> RedisResult<Value> {
    match request {
        Request::One(command) => match connection.send_packed_command(command).await? {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        },
        Request::Many(pipeline) => {
            let values = connection
                .send_packed_commands(pipeline, 0, pipeline.len())
                .await?;
            for value in &values {
                if let Value::ServerError(error) = value {
                    return Err(error.clone().into());
                }
            }
            Ok(Value::Array(values))
        }
    }
}

fn failure(error: RedisError) -> Error {
    if error.is_timeout() {
        return Error::Timeout(RESPONSE);
    }
    Error::Failed(Arc::new(error))
}

/// Whether the connection is of no more use. An answer that is merely late says nothing of it;
/// the heartbeat does.
fn is_lost(error: &RedisError) -> bool {
    !error.is_timeout() && (error.is_unrecoverable_error() || error.is_io_error())
}

fn give_up(link: &watch::Sender<Link>, generation: u64) {
    link.send_if_modified(|link| {
        let ours = link.generation == generation && matches!(link.state, State::Up(_));
        if ours {
            link.state = State::Opening;
        }
        ours
    });
}

/// Keeps a connection as long as there is a server, and tries for ever to get one. Logs what
/// changes, once.
async fn supervise(client: Client, name: String, link: Arc<watch::Sender<Link>>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    let mut away = false;
    loop {
        match connect(&client).await {
            Ok(connection) => {
                if std::mem::take(&mut away) {
                    tracing::info!(remote.name = name, "the remote tier is back");
                }
                let begun = Instant::now();
                keep(connection, &link).await;
                if begun.elapsed() >= HEARTBEAT {
                    backoff.reset();
                    continue;
                }
                // Once is an accident. Connections that go on breaking as soon as they stand
                // must not be rebuilt in a tight loop, nor calls wait for them.
                let is_accident = backoff.is_fresh();
                let pause = backoff.pause();
                if !is_accident {
                    let down = State::Down(Error::Failed(Arc::new(Unstable)));
                    link.send_modify(|link| link.state = down);
                    tokio::time::sleep(pause).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(
                        remote.name = name,
                        error = &error as &dyn std::error::Error,
                        "the remote tier is away; going on without it"
                    );
                }
                link.send_modify(|link| link.state = State::Down(error));
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, Error> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(RESPONSE))
        .set_pipeline_buffer_size(256);
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(failure(error)),
        Err(_) => Err(Error::Timeout(CONNECT)),
    }
}

/// Offers the connection until somebody finds it broken or it gives no sign of life.
async fn keep(connection: MultiplexedConnection, link: &watch::Sender<Link>) {
    let generation = link.borrow().generation + 1;
    link.send_replace(Link {
        generation,
        state: State::Up(connection.clone()),
    });
    let mut watched = link.subscribe();
    tokio::select! {
        _ = watched.wait_for(|link| !matches!(link.state, State::Up(_))) => {}
        () = silence(connection) => give_up(link, generation),
    }
}

/// Returns when the peer has been silent for too long.
async fn silence(mut connection: MultiplexedConnection) {
    let ping = redis::cmd("PING");
    let mut misses = 0;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    while misses < MISSES {
        beat.tick().await;
        let sign = tokio::time::timeout(SIGN_OF_LIFE, connection.send_packed_command(&ping)).await;
        match sign {
            Ok(Ok(_)) => misses = 0,
            Ok(Err(error)) if is_lost(&error) => return,
            Ok(Err(_)) | Err(_) => misses += 1,
        }
    }
}
