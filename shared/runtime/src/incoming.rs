//! Connections as they come, their handshakes done.
//!
//! Each has a place among the connections of its port, or is closed at once. A handshake is a task of
//! its own, so that a caller who begins one and falls silent keeps nobody waiting, and those under way
//! are waited for with [`Patience`].

use crate::bounds::Bounds;
use crate::connection::Connection;
use crate::patience::{Impatience, Patience};
use crate::places::{Place, Places, Reason};
use crate::seldom::{SAY_EVERY, Seldom};
use crate::tasks::Tasks;
use crate::tls::{Handshake, Purpose, Tls};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// How long to wait after a connection could not be accepted, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Handshakes under way at once.
const HANDSHAKES: usize = 512;
/// Connections that are ready and not taken yet.
const READY: usize = 64;

/// A port and the connections to it.
pub struct Incoming {
    listener: TcpListener,
    places: Places,
    bounds: Bounds,
    tls: Option<Secured>,
}

/// Handshakes of a port.
struct Secured {
    tls: Tls,
    purpose: Purpose,
    tasks: Tasks,
    under_way: Patience,
    done: mpsc::Sender<Connection>,
    ready: mpsc::Receiver<Connection>,
}

impl Incoming {
    /// The connections to this port within these bounds, without TLS.
    pub fn plain(listener: TcpListener, places: &Places, bounds: &Bounds) -> Self {
        Self {
            listener,
            places: places.clone(),
            bounds: *bounds,
            tls: None,
        }
    }

    /// The same, over TLS if there is a certificate for it. Handshakes are tasks of these.
    #[must_use]
    pub(crate) fn guarded(self, purpose: Purpose, tls: Option<&Tls>, tasks: &Tasks) -> Self {
        let tls = tls.filter(|tls| tls.serves()).map(|tls| {
            let (done, ready) = mpsc::channel(READY);
            Secured {
                tls: tls.clone(),
                purpose,
                tasks: tasks.clone(),
                under_way: Patience::new(HANDSHAKES, self.bounds.handshake),
                done,
                ready,
            }
        });
        Self { tls, ..self }
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
                    let Some(place) = self.places.take(address) else {
                        continue;
                    };
                    // With Nagle's algorithm a reply waits for the acknowledgement of the one
                    // before. A connection that is gone already says so when it is read.
                    _ = stream.set_nodelay(true);
                    match &mut self.tls {
                        None => {
                            return Connection::plain(stream, address).placed(place, &self.bounds);
                        }
                        Some(secured) => secured.begin(stream, address, place, self.bounds),
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Secured {
    fn begin(&self, stream: TcpStream, address: SocketAddr, place: Place, bounds: Bounds) {
        let Some(config) = self.tls.server(self.purpose) else {
            return;
        };
        let waiting = self.under_way.wait();
        let (tls, done) = (self.tls.clone(), self.done.clone());
        let stopping = self.tasks.stopping().clone();
        self.tasks.spawn("handshake", async move {
            let handshake = TlsAcceptor::from(config).accept(stream);
            let outcome = tokio::select! {
                outcome = handshake => Ok(outcome),
                why = waiting => Err(why),
                // Nobody would take it any more.
                () = stopping.cancelled() => return,
            };
            match outcome {
                Ok(Ok(stream)) => {
                    tls.count(Handshake::Done);
                    let connection = Connection::taken(stream, address).placed(place, &bounds);
                    // Nobody takes it any more when the process drains.
                    let _ = done.send(connection).await;
                }
                Ok(Err(error)) => {
                    tls.count(Handshake::Failed);
                    say(address, &error.to_string());
                }
                Err(Impatience::Late) => {
                    tls.count(Handshake::Late);
                    place.port().count(Reason::Silent);
                    say(address, "it was not done in time");
                }
                Err(Impatience::Crowded) => {
                    tls.count(Handshake::Crowded);
                    place.port().count(Reason::Silent);
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
