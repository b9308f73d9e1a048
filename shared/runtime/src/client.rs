//! Calls to other services: several processes of each, every call with a bound.
//!
//! A [`Client`] is what generated clients are made with. It takes its endpoints in turn, passes
//! over those that were away a moment ago, ends every call in time, and answers what goes wrong
//! on the way with UNAVAILABLE or DEADLINE_EXCEEDED, like any other error. It never tries again:
//! only the caller knows what may be asked twice.

use crate::tls::{self, Tls};
use crate::token::Token;
use crate::{deadline, status};
use http::header::AUTHORIZATION;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, TimeoutExpired};
use tower::{Service, ServiceExt as _};

/// Addresses that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("{setting} names no address")]
    Empty {
        /// The setting that should.
        setting: &'static str,
    },
    /// One is not a URL.
    #[error("{setting} has {address:?}, which is not a URL such as http://host:port")]
    Malformed {
        /// The setting that has it.
        setting: &'static str,
        /// The address.
        address: String,
    },
    /// One asks for TLS, and there is nobody to believe.
    #[error("{setting}")]
    Untrusted {
        /// The setting that has it.
        setting: &'static str,
        /// The address, and what is missing.
        #[source]
        source: tls::Untrusted,
    },
}

/// The bounds of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a call may take; a `grpc-timeout` of its own makes it shorter.
    pub call: Duration,
    /// How often a silent peer is asked whether it is there; twice that, and it is not.
    pub keepalive: Duration,
    /// How long an endpoint that was away is passed over.
    pub rest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            call: Duration::from_secs(2),
            keepalive: Duration::from_secs(5),
            rest: Duration::from_millis(500),
        }
    }
}

/// The way to a service. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    peers: Arc<Peers>,
    limits: Limits,
    /// Shown with every call.
    token: Option<Token>,
}

#[derive(Debug)]
struct Peers {
    peers: Vec<Peer>,
    turn: AtomicUsize,
    began: Instant,
}

#[derive(Debug)]
struct Peer {
    channel: Channel,
    /// Passed over until then, in milliseconds since `began`; 0 for never.
    rests_until: AtomicU64,
}

impl Client {
    /// The way to these addresses, separated by commas. They are connected when they are first
    /// needed. `setting` is the one that holds them, for whoever has to change it.
    pub fn new(setting: &'static str, addresses: &str, limits: Limits) -> Result<Self, Error> {
        Self::over(setting, addresses, limits, None)
    }

    /// The same, where addresses may be https.
    pub fn over(
        setting: &'static str,
        addresses: &str,
        limits: Limits,
        tls: Option<&Tls>,
    ) -> Result<Self, Error> {
        let addresses = addresses
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        let peers: Vec<_> = addresses
            .map(|address| {
                let malformed = || Error::Malformed {
                    setting,
                    address: address.to_owned(),
                };
                let endpoint =
                    Endpoint::from_shared(address.to_owned()).map_err(|_| malformed())?;
                let complete = endpoint.uri().scheme().is_some() && endpoint.uri().host().is_some();
                if !complete {
                    return Err(malformed());
                }
                let peer = Peer::new(endpoint, limits, tls);
                peer.map_err(|source| Error::Untrusted { setting, source })
            })
            .collect::<Result<_, _>>()?;
        if peers.is_empty() {
            return Err(Error::Empty { setting });
        }
        let peers = Peers {
            peers,
            turn: AtomicUsize::new(0),
            began: Instant::now(),
        };
        Ok(Self {
            peers: Arc::new(peers),
            limits,
            token: None,
        })
    }

    /// Shows this token with every call.
    #[must_use]
    pub fn showing(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }
}

impl Peer {
    fn new(endpoint: Endpoint, limits: Limits, tls: Option<&Tls>) -> Result<Self, tls::Untrusted> {
        let endpoint = endpoint
            .connect_timeout(limits.connect)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(limits.keepalive)
            .keep_alive_timeout(limits.keepalive)
            .keep_alive_while_idle(true);
        Ok(Self {
            channel: tls::channel(endpoint, tls)?,
            rests_until: AtomicU64::new(0),
        })
    }
}

impl Peers {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The next that does not rest; when all do, the next.
    fn pick(&self) -> usize {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let at = |offset: usize| first.wrapping_add(offset) % self.peers.len();
        let awake = |peer: &Peer| {
            let until = peer.rests_until.load(Ordering::Relaxed);
            until == 0 || until <= self.now()
        };
        (0..self.peers.len())
            .map(at)
            .find(|&index| awake(&self.peers[index]))
            .unwrap_or(at(0))
    }

    async fn call(&self, request: http::Request<Body>, limits: Limits) -> http::Response<Body> {
        let peer = &self.peers[self.pick()];
        let wait = deadline::timeout(request.headers())
            .unwrap_or(limits.call)
            .min(limits.call);
        // A clone for each call, as a channel's readiness is for one call only.
        let mut channel = peer.channel.clone();
        let call = async { channel.ready().await?.call(request).await };
        let status = match tokio::time::timeout(wait, call).await {
            Ok(Ok(answer)) => {
                peer.rests_until.store(0, Ordering::Relaxed);
                return answer;
            }
            Ok(Err(error)) if !is_timeout(&error) => {
                let until = self.now() + limits.rest.as_millis() as u64;
                peer.rests_until.store(until.max(1), Ordering::Relaxed);
                tracing::debug!(error = &error as &dyn StdError, "a call found nobody");
                status::unavailable(
                    "PEER_UNAVAILABLE",
                    "a service cannot be reached",
                    limits.rest,
                )
            }
            Ok(Err(_)) | Err(_) => status::deadline_exceeded(),
        };
        status.into_http()
    }
}

impl Service<http::Request<Body>> for Client {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(token) = self.token.as_ref().and_then(Token::bearer) {
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let (peers, limits) = (self.peers.clone(), self.limits);
        Box::pin(async move { Ok(peers.call(request, limits).await) })
    }
}

/// Whether the transport's own timer ended the call.
fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(is_timeout)
}

/// Whether the same call may go well elsewhere or a moment later, if it may be made twice.
pub fn may_try_again(status: &Status) -> bool {
    status.code() == Code::Unavailable
}
