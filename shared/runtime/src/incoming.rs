//! Connections as they come, their handshakes done.
//!
//! A handshake is a task of its own, so that a caller who begins one and falls silent keeps nobody
//! waiting. It has a time, and there is a bound of those under way: one more, and the oldest is
//! given up. Silent callers cost each other their place, and not those who go on.

use crate::connection::{Connection, Peer};
use crate::seldom::{SAY_EVERY, Seldom};
use crate::tasks::Tasks;
use crate::tls::{Handshake, Purpose, Tls};
use futures_util::{Stream, stream};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

/// How long to wait after a connection could not be accepted, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes under way at once.
const HANDSHAKES: usize = 512;
/// Connections that are ready and not taken yet.
const READY: usize = 64;

/// A port and the connections to it.
pub struct Incoming {
    listener: TcpListener,
    tls: Option<Secured>,
}

/// Handshakes of a port.
struct Secured {
    tls: Tls,
    purpose: Purpose,
    tasks: Tasks,
    /// Each ends when its sender is dropped. In the order in which they began; those that are done
    /// are swept out when there is no room.
    under_way: VecDeque<oneshot::Sender<()>>,
    done: mpsc::Sender<Connection>,
    ready: mpsc::Receiver<Connection>,
}

impl Incoming {
    /// The connections to this port, over TLS if there is a certificate for it. Handshakes are
    /// tasks of these.
    pub fn on(listener: TcpListener, purpose: Purpose, tls: Option<&Tls>, tasks: &Tasks) -> Self {
        let tls = tls.filter(|tls| tls.serves()).map(|tls| {
            let (done, ready) = mpsc::channel(READY);
            Secured {
                tls: tls.clone(),
                purpose,
                tasks: tasks.clone(),
                under_way: VecDeque::new(),
                done,
                ready,
            }
        });
        Self { listener, tls }
    }

    /// The next connection. It is safe to stop waiting.
    pub async fn next(&mut self) -> Connection {
        loop {
            let accepted = match &mut self.tls {
                None => self.listener.accept().await,
                Some(secured) => tokio::select! {
                    accepted = self.listener.accept() => accepted,
                    // There is a sender in `secured` itself.
                    Some(connection) = secured.ready.recv() => return connection,
                },
            };
            match accepted {
                Ok((stream, address)) => {
                    // With Nagle's algorithm a reply waits for the acknowledgement of the one
                    // before. A connection that is gone already says so when it is read.
                    _ = stream.set_nodelay(true);
                    match &mut self.tls {
                        None => return Connection::plain(stream, address),
                        Some(secured) => secured.begin(stream, address),
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// All of them.
    pub fn stream(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, |mut incoming| async {
            Some((Ok(incoming.next().await), incoming))
        })
    }
}

impl Secured {
    fn begin(&mut self, stream: TcpStream, address: SocketAddr) {
        let Some(config) = self.tls.server(self.purpose) else {
            return;
        };
        if self.under_way.len() >= HANDSHAKES {
            self.under_way.retain(|handshake| !handshake.is_closed());
        }
        if self.under_way.len() >= HANDSHAKES && self.under_way.pop_front().is_some() {
            self.tls.count(Handshake::Crowded);
        }
        let (goes_on, given_up) = oneshot::channel::<()>();
        self.under_way.push_back(goes_on);
        let (tls, done) = (self.tls.clone(), self.done.clone());
        self.tasks.spawn("handshake", async move {
            let handshake = TlsAcceptor::from(config).accept(stream);
            let outcome = tokio::select! {
                outcome = tokio::time::timeout(HANDSHAKE, handshake) => outcome,
                _ = given_up => return,
            };
            match outcome {
                Ok(Ok(stream)) => {
                    tls.count(Handshake::Done);
                    // Nobody takes it any more when the process drains.
                    let _ = done.send(Connection::taken(stream, address)).await;
                }
                Ok(Err(error)) => {
                    tls.count(Handshake::Failed);
                    say(address, &error.to_string());
                }
                Err(_) => {
                    tls.count(Handshake::Late);
                    say(address, "it was not done in time");
                }
            }
        });
    }
}

/// Says that a handshake failed, seldom: whoever can reach the port can make one fail.
fn say(address: SocketAddr, why: &str) {
    static SAID: Seldom = Seldom::new();
    match SAID.is_due() {
        true => tracing::warn!(
            peer.address = %address,
            error = why,
            "a handshake failed; others that do are counted, and said every {SAY_EVERY:?} at most"
        ),
        false => tracing::debug!(peer.address = %address, error = why, "a handshake failed"),
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        let connection = self.next().await;
        let peer = connection.peer().clone();
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let address = Some(self.listener.local_addr()?);
        Ok(Peer {
            address,
            identity: None,
        })
    }
}
