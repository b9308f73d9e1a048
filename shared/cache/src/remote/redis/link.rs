//! A connection for commands, kept up for as long as there is a server.

use super::server::{Server, failure, is_lost};
use super::tasks::Tasks;
use super::whereabouts::Whereabouts;
use super::{CONNECT, HEARTBEAT, MISSES, PAUSES, SIGN_OF_LIFE};
use crate::remote::Error;
use crate::remote::backoff::Backoff;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisResult, ServerErrorKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// Requests that may wait for an answer; the next fails at once. A server that is silent for the
/// seconds that it takes to notice must not fill our memory.
const MOST_WAITING: usize = 16_384;

/// Sends requests over whatever connection there is. It never waits for an outage to end.
pub(super) struct Link {
    whereabouts: Whereabouts<Server>,
    line: Arc<watch::Sender<Line>>,
    waiting: AtomicUsize,
    /// Somebody lost their patience, and no answer has come since.
    doubted: Arc<AtomicBool>,
    _tasks: Tasks,
}

#[derive(Clone)]
struct Line {
    /// Counts connections, so that the end of an old one is not taken for that of a new one.
    generation: u64,
    state: State,
}

#[derive(Clone)]
enum State {
    /// The first attempt since the start or since the last connection broke: it ends within
    /// twice [`CONNECT`], and calls wait for it.
    Opening,
    Up(MultiplexedConnection),
    /// Why the last attempt failed; calls fail at once with it.
    Down(Error),
}

impl Link {
    /// Begins to connect. `name` is that of the remote tier, for the log.
    pub(super) fn open(whereabouts: Whereabouts<Server>, name: &str) -> Result<Self, Error> {
        let line = Arc::new(watch::Sender::new(Line {
            generation: 0,
            state: State::Opening,
        }));
        let doubted = Arc::<AtomicBool>::default();
        let supervisor = Supervisor {
            whereabouts: whereabouts.clone(),
            name: name.to_owned(),
            line: Arc::clone(&line),
            doubted: Arc::clone(&doubted),
        };
        let tasks = Tasks::here()?;
        tasks.run(supervisor.run());
        Ok(Self {
            whereabouts,
            line,
            waiting: AtomicUsize::new(0),
            doubted,
            _tasks: tasks,
        })
    }

    /// The answers, refusals among them. When the connection turns out to have been lost, and
    /// another can be had at once, the request is sent a second time: everything that is asked
    /// here may happen twice.
    pub(super) async fn ask(&self, request: &Pipeline) -> Result<Vec<Value>, Error> {
        if request.is_empty() {
            return Ok(Vec::new());
        }
        let place = self.enter()?;
        let (generation, mut connection) = self.connection().await?;
        let answers = match send(&mut connection, request).await {
            Err(error) if is_lost(&error) => {
                self.give_up(generation);
                let (_, mut connection) = self.connection().await?;
                send(&mut connection, request).await
            }
            answers => answers,
        }
        .map_err(failure)?;
        place.leave_content();
        if answers.iter().any(is_demotion) {
            self.doubt(generation).await;
        }
        Ok(answers)
    }

    /// Whether somebody else had better be asked: calls fail at once now, or were in vain.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubted.load(Ordering::Relaxed) || matches!(self.line.borrow().state, State::Down(_))
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Error> {
        fn settled(line: &Line) -> Option<Result<(u64, MultiplexedConnection), Error>> {
            match &line.state {
                State::Opening => None,
                State::Up(connection) => Some(Ok((line.generation, connection.clone()))),
                State::Down(error) => Some(Err(error.clone())),
            }
        }
        if let Some(settled) = settled(&self.line.borrow()) {
            return settled;
        }
        let mut line = self.line.subscribe();
        let opened = line.wait_for(|line| !matches!(line.state, State::Opening));
        match tokio::time::timeout(2 * CONNECT, opened).await {
            Ok(Ok(line)) => settled(&line).unwrap_or(Err(Error::Timeout(2 * CONNECT))),
            _ => Err(Error::Timeout(2 * CONNECT)),
        }
    }

    /// A server that refuses to write is no primary. Where one is needed, it is looked for again.
    async fn doubt(&self, generation: u64) {
        if self
            .whereabouts
            .look()
            .await
            .is_ok_and(|server| server.must_be_primary())
        {
            self.give_up(generation);
        }
    }

    fn give_up(&self, generation: u64) {
        give_up(&self.line, generation);
    }

    fn enter(&self) -> Result<Place<'_>, Error> {
        let place = Place {
            link: self,
            answered: false,
        };
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            return Err(Error::Failed(Arc::new(Crowded)));
        }
        Ok(place)
    }
}

/// One who waits for an answer. Who leaves without one, most often because of a guard that is
/// less patient than we are, leaves a doubt behind.
struct Place<'a> {
    link: &'a Link,
    answered: bool,
}

impl Place<'_> {
    fn leave_content(mut self) {
        self.answered = true;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.link.waiting.fetch_sub(1, Ordering::Relaxed);
        self.link.doubted.store(!self.answered, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("too many commands wait for an answer")]
struct Crowded;

#[derive(Debug, thiserror::Error)]
#[error("connections break as soon as they stand")]
struct Unstable;

async fn send(
    connection: &mut MultiplexedConnection,
    request: &Pipeline,
) -> RedisResult<Vec<Value>> {
    connection
        .send_packed_commands(request, 0, request.len())
        .await
}

fn is_demotion(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly))
}

fn give_up(line: &watch::Sender<Line>, generation: u64) {
    line.send_if_modified(|line| {
        let ours = line.generation == generation && matches!(line.state, State::Up(_));
        if ours {
            line.state = State::Opening;
        }
        ours
    });
}

/// Keeps a connection as long as there is a server, and tries for ever to get one. Logs what
/// changes, once.
struct Supervisor {
    whereabouts: Whereabouts<Server>,
    name: String,
    line: Arc<watch::Sender<Line>>,
    doubted: Arc<AtomicBool>,
}

#[derive(PartialEq, Eq)]
enum Kept {
    UntilBroken,
    UntilMoved,
}

impl Supervisor {
    async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut away = false;
        loop {
            match self.meet(&mut away).await {
                Ok((server, connection)) => {
                    let begun = Instant::now();
                    if self.keep(&server, connection).await == Kept::UntilMoved {
                        tracing::info!(remote.name = self.name, "another server is the right one");
                        continue;
                    }
                    self.whereabouts.lost();
                    if begun.elapsed() >= HEARTBEAT {
                        backoff.reset();
                        continue;
                    }
                    // Once is an accident. Connections that go on breaking as soon as they stand
                    // must not be rebuilt in a tight loop, nor calls wait for them.
                    let is_accident = backoff.is_fresh();
                    let pause = backoff.pause();
                    if !is_accident {
                        self.set_down(Error::Failed(Arc::new(Unstable)));
                        tokio::time::sleep(pause).await;
                    }
                }
                Err(error) => {
                    self.whereabouts.lost();
                    self.set_down(error);
                    tokio::select! {
                        () = tokio::time::sleep(backoff.pause()) => {}
                        () = self.whereabouts.moved() => {}
                    }
                }
            }
        }
    }

    async fn meet(&mut self, away: &mut bool) -> Result<(Server, MultiplexedConnection), Error> {
        let found = self.whereabouts.get().await;
        let address = found.as_ref().map(Server::address).unwrap_or_default();
        let connected = match found {
            Ok(server) => server
                .connect()
                .await
                .map(|connection| (server, connection)),
            Err(error) => Err(error),
        };
        let was_away = std::mem::replace(away, connected.is_err());
        match &connected {
            Ok(_) if was_away => tracing::info!(
                remote.name = self.name,
                remote.server = address,
                "a server of the remote tier is back"
            ),
            Err(error) if !was_away => tracing::warn!(
                remote.name = self.name,
                remote.server = address,
                error = error as &dyn std::error::Error,
                "a server of the remote tier is away; going on without it"
            ),
            _ => {}
        }
        connected
    }

    /// Offers the connection until somebody finds it broken, it gives no sign of life, or the
    /// server to be connected to is another.
    async fn keep(&mut self, server: &Server, connection: MultiplexedConnection) -> Kept {
        self.doubted.store(false, Ordering::Relaxed);
        let generation = self.line.borrow().generation + 1;
        self.line.send_replace(Line {
            generation,
            state: State::Up(connection.clone()),
        });
        let mut watched = self.line.subscribe();
        let kept = tokio::select! {
            _ = watched.wait_for(|line| !matches!(line.state, State::Up(_))) => Kept::UntilBroken,
            () = silence(server, connection, &self.doubted) => Kept::UntilBroken,
            () = self.whereabouts.moved() => Kept::UntilMoved,
        };
        give_up(&self.line, generation);
        kept
    }

    fn set_down(&self, error: Error) {
        self.line
            .send_modify(|line| line.state = State::Down(error));
    }
}

/// Returns when the peer has been silent for too long, or is not what it was.
async fn silence(server: &Server, mut connection: MultiplexedConnection, doubted: &AtomicBool) {
    let mut misses = 0;
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    while misses < MISSES {
        beat.tick().await;
        let sign = tokio::time::timeout(SIGN_OF_LIFE, server.sign_of_life(&mut connection)).await;
        match sign {
            Ok(Ok(true)) => {
                misses = 0;
                doubted.store(false, Ordering::Relaxed);
            }
            Ok(Ok(false)) => return,
            Ok(Err(error)) if is_lost(&error) => return,
            Ok(Err(_)) | Err(_) => misses += 1,
        }
    }
}
