//! A network on the loopback that can be told to misbehave.

use crate::port::Port;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What the network does with everybody's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Pass(Duration),
    Stall,
    Cut,
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    mode: Mode,
    target: SocketAddr,
    /// Connections that were opened under an older generation are broken.
    generation: u64,
}

/// A TCP proxy in front of one server. It lives on a thread of its own, so that a test that
/// blocks does not hold the network up; dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    weather: watch::Sender<Weather>,
    port: Arc<Port>,
}

impl Proxy {
    /// Starts one that passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let port = Arc::new(Port::reserve()?);
        let (weather, seen) = watch::channel(Weather {
            mode: Mode::Pass(Duration::ZERO),
            target,
            generation: 0,
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Bound before anybody knows the address, by the standard library: the caller may be
        // on a runtime, which forbids to block on another one.
        let listener = std::net::TcpListener::bind(port.address())?;
        listener.set_nonblocking(true)?;
        let held = Arc::clone(&port);
        std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(serve(listener, seen, held)))?;
        Ok(Self { weather, port })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Passes everything on, what was held back first.
    pub fn pass(&self) {
        self.set(Mode::Pass(Duration::ZERO));
    }

    /// Passes everything on, each way `span` later.
    pub fn delay(&self, span: Duration) {
        self.set(Mode::Pass(span));
    }

    /// Silence both ways: connections stay and new ones are accepted, and no byte comes through
    /// until [`Proxy::pass`]. TCP keepalive does not notice.
    pub fn stall(&self) {
        self.set(Mode::Stall);
    }

    /// Breaks all connections, and refuses new ones until [`Proxy::pass`].
    pub fn cut(&self) {
        self.weather.send_modify(|w| {
            *w = Weather {
                mode: Mode::Cut,
                generation: w.generation + 1,
                ..*w
            };
        });
    }

    /// Breaks all connections; who comes back is taken to `target`.
    pub fn aim(&self, target: SocketAddr) {
        self.weather.send_modify(|w| {
            w.target = target;
            w.generation += 1;
        });
    }

    /// Breaks all connections, once.
    pub fn sever(&self) {
        self.weather.send_modify(|w| w.generation += 1);
    }

    fn set(&self, mode: Mode) {
        self.weather.send_modify(|w| w.mode = mode);
    }
}

/// Ends when the [`Proxy`] is dropped.
async fn serve(
    listener: std::net::TcpListener,
    mut weather: watch::Receiver<Weather>,
    port: Arc<Port>,
) {
    let mut listener = TcpListener::from_std(listener).ok();
    loop {
        let mode = weather.borrow_and_update().mode;
        if mode == Mode::Cut {
            listener = None;
        } else if listener.is_none() {
            // None but us has the port, so it can fail for a moment at most.
            listener = TcpListener::bind(port.address()).await.ok();
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Some(client) = accepted {
                tokio::spawn(carry(client, weather.clone()));
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None => std::future::pending().await,
    }
}

/// One connection, until either side closes it or the weather breaks it.
async fn carry(client: TcpStream, mut weather: watch::Receiver<Weather>) {
    let Weather {
        generation: born,
        target,
        ..
    } = *weather.borrow();
    let passing = weather.clone();
    let traffic = async {
        open_road(&passing).await;
        // A server that is down shows as a connection that closes at once.
        let Ok(server) = TcpStream::connect(target).await else {
            return;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        tokio::select! {
            () = one_way(client_read, server_write, &passing) => {}
            () = one_way(server_read, client_write, &passing) => {}
        }
    };
    tokio::select! {
        () = traffic => {}
        _ = weather.wait_for(|w| w.generation != born) => {}
    }
}

/// Reading goes on while earlier bytes are on their way, so a delay costs no throughput.
async fn one_way(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    weather: &watch::Receiver<Weather>,
) {
    let (sender, mut road) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            open_road(weather).await;
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    let bytes = (Instant::now(), buffer[..length].to_vec());
                    if sender.send(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    let write = async move {
        while let Some((begun, bytes)) = road.recv().await {
            let mode = weather.borrow().mode;
            if let Mode::Pass(span) = mode {
                tokio::time::sleep_until(begun + span).await;
            }
            open_road(weather).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    // The reader's end closes the road; what is on it still arrives.
    tokio::join!(read, write);
}

async fn open_road(weather: &watch::Receiver<Weather>) {
    let _ = weather
        .clone()
        .wait_for(|w| matches!(w.mode, Mode::Pass(_)))
        .await;
}
