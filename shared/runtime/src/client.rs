//! Calls to other services: several processes of each, every call with a bound.
//!
//! A [`Client`] is what generated clients are made with. It follows names: an address whose host
//! is one is looked up again and again, and every address that the name has is an endpoint. Of
//! two endpoints by chance the one with fewer calls under way is asked; one that is away (no
//! connection, or its connection ended, be it by a GOAWAY or without a word) is not, until it has
//! answered a question that no caller waits for. Every call ends in time, unless its answer is
//! [`streamed`], and what goes wrong on the way is answered with UNAVAILABLE or DEADLINE_EXCEEDED,
//! like any other error.
//!
//! A call that provably nobody began to work on is made again at another endpoint, be it a read or
//! a write: see `failure.rs`. Any other it never tries again: only the caller knows what may be
//! asked twice.
//!
//! In reading order: `place.rs` (what an address says), `resolve.rs` (from names to endpoints),
//! `peers.rs` (whose turn it is), `peer.rs` (one endpoint), `connect.rs` (its connection),
//! `failure.rs` and `kept.rs` (what may be made again, and what is needed for it), `rest.rs` (until the
//! answer is whole).

mod connect;
mod failure;
mod kept;
mod peer;
mod peers;
mod place;
mod resolve;
mod rest;

pub use resolve::{Resolve, System};
pub use rest::streamed;

use crate::metrics::MADE;
use crate::tasks::Tasks;
use crate::tls::{self, Dial, Tls};
use crate::token::Token;
use crate::trace::Asked;
use crate::{deadline, status, trace};
use failure::Failure;
use http::header::AUTHORIZATION;
use kept::Kept;
use peer::{Around, Peer};
use peers::Peers;
use place::Place;
use resolve::Resolver;
use rest::Rest;
use smallvec::SmallVec;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::DropGuard;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument as _;

/// How often a call is made that nobody begins to work on.
const ATTEMPTS: usize = 3;

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
    /// How long a call may take until its answer is whole, or has begun if it is [`streamed`]; a
    /// `grpc-timeout` of its own makes it shorter.
    pub call: Duration,
    /// How often a silent peer is asked whether it is there; twice that, and it is not.
    pub keepalive: Duration,
    /// How long it takes until an endpoint that is away is tried again, the first time.
    pub rest: Duration,
    /// How often names are looked up; sooner after an endpoint was found to be away.
    pub resolve: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            call: Duration::from_secs(2),
            keepalive: Duration::from_secs(5),
            rest: Duration::from_millis(500),
            resolve: Duration::from_secs(5),
        }
    }
}

/// The way to a service. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    way: Arc<Way>,
    limits: Limits,
    /// Shown with every call.
    token: Option<Token>,
    /// The one endpoint that is asked, if no other may be.
    only: Option<Arc<Peer>>,
}

struct Way {
    peers: Arc<Peers>,
    /// Has names looked up.
    nudge: Arc<Notify>,
    /// Whether they were asked before, so that it is known whether there is anybody.
    asked: watch::Receiver<bool>,
    /// Ends what goes on behind the calls with the last clone of the client.
    _end: DropGuard,
}

impl Client {
    /// The way to these addresses, separated by commas: `http://host:port`, where a host that is a
    /// name is as many endpoints as it has addresses at the time; `dns:///host:port`, the same; or
    /// `file:///path`, a file with an `ip:port` on each line, which may change. Endpoints are
    /// connected when they are first needed. `setting` is the one that holds them, for whoever has
    /// to change it. Must be called on a tokio runtime.
    pub fn new(setting: &'static str, addresses: &str, limits: Limits) -> Result<Self, Error> {
        Self::over(setting, addresses, limits, None)
    }

    /// The same, where addresses may be https: a process has to show a certificate for the host
    /// that the address has, be it a name or a number.
    pub fn over(
        setting: &'static str,
        addresses: &str,
        limits: Limits,
        tls: Option<&Tls>,
    ) -> Result<Self, Error> {
        Self::resolving(setting, addresses, limits, tls, Arc::new(System))
    }

    /// The same, with somebody else who knows the addresses of names.
    pub fn resolving(
        setting: &'static str,
        addresses: &str,
        limits: Limits,
        tls: Option<&Tls>,
        resolve: Arc<dyn Resolve>,
    ) -> Result<Self, Error> {
        let places = Place::all(setting, addresses)?;
        for origin in places.iter().filter_map(Place::secure) {
            let uri = origin.uri().unwrap_or_default();
            Dial::to(&uri, tls).map_err(|source| Error::Untrusted { setting, source })?;
        }
        let (tasks, nudge) = (Tasks::new(), Arc::new(Notify::new()));
        let end = tasks.stopping().clone().drop_guard();
        let around = Around {
            limits,
            tls: tls.cloned(),
            tasks: tasks.clone(),
            nudge: nudge.clone(),
        };
        let peers = Arc::new(Peers::new(around));
        let (told, asked) = watch::channel(false);
        match places.iter().map(Place::fixed).collect::<Option<Vec<_>>>() {
            Some(fixed) => {
                peers.become_these(fixed);
                told.send_replace(true);
            }
            None => {
                let resolver = Resolver {
                    places,
                    resolve,
                    limits,
                    nudge: nudge.clone(),
                    asked: told,
                };
                let (stopping, peers) = (tasks.stopping().clone(), Arc::downgrade(&peers));
                tasks.spawn("look names up", async move {
                    stopping.run_until_cancelled(resolver.run(peers)).await;
                });
            }
        }
        let way = Way {
            peers,
            nudge,
            asked,
            _end: end,
        };
        Ok(Self {
            way: Arc::new(way),
            limits,
            token: None,
            only: None,
        })
    }

    /// Shows this token with every call.
    #[must_use]
    pub fn showing(mut self, token: Option<Token>) -> Self {
        self.token = token;
        self
    }

    /// The endpoints there are now, and a way to each that no other answers for, be it away or not:
    /// for whoever wants to hear from all of them. They are as many as the names had addresses when
    /// they were last looked up, which the first call of this waits for, at most as long as for a
    /// call. Connections are shared.
    pub async fn each(&self) -> Vec<(SocketAddr, Self)> {
        let mut asked = self.way.asked.clone();
        let known = asked.wait_for(|asked| *asked);
        _ = tokio::time::timeout(self.limits.call, known).await;
        let peers = self.way.peers.all();
        let mut each: Vec<_> = peers
            .iter()
            .map(|peer| {
                let only = Some(peer.clone());
                (
                    peer.address,
                    Self {
                        only,
                        ..self.clone()
                    },
                )
            })
            .collect();
        each.sort_by_key(|(address, _)| *address);
        each
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.way.peers.all();
        let peers = peers.iter().map(|peer| peer.address);
        f.debug_list().entries(peers).finish()
    }
}

/// How a call that was made once went on.
enum Once {
    Answered(http::Response<Body>),
    /// As this answer says, unless somebody else takes the call.
    Unprocessed(http::Response<Body>),
}

impl Way {
    async fn call(
        &self,
        request: http::Request<Body>,
        limits: Limits,
        only: Option<&Peer>,
    ) -> http::Response<Rest> {
        let wait = deadline::timeout(request.headers())
            .unwrap_or(limits.call)
            .min(limits.call);
        let by = Instant::now() + wait;
        let whole = rest::whole_by(&request, by);
        let answer = self.answer(request, by, limits, only).await;
        answer.map(|body| Rest::new(body, whole, limits.rest))
    }

    async fn answer(
        &self,
        request: http::Request<Body>,
        by: Instant,
        limits: Limits,
        only: Option<&Peer>,
    ) -> http::Response<Body> {
        if let Some(peer) = only {
            let (Once::Answered(answer) | Once::Unprocessed(answer)) =
                once(peer, request, by, limits).await;
            return answer;
        }
        let (head, body) = request.into_parts();
        let body = Kept::new(body);
        let mut tried: SmallVec<[Arc<Peer>; ATTEMPTS]> = SmallVec::new();
        loop {
            let Some(peer) = self.pick(&tried, by).await else {
                self.nudge.notify_one();
                return nobody(limits).into_http();
            };
            let request = http::Request::from_parts(head.clone(), body.again());
            match once(&peer, request, by, limits).await {
                Once::Answered(answer) => return answer,
                Once::Unprocessed(answer) => {
                    tried.push(peer);
                    if tried.len() == ATTEMPTS || !body.is_whole() {
                        return answer;
                    }
                }
            }
        }
    }

    /// The endpoint whose turn it is; waits until it is known whether there is any.
    async fn pick(&self, tried: &[Arc<Peer>], by: Instant) -> Option<Arc<Peer>> {
        if let Some(peer) = self.peers.pick(tried) {
            return Some(peer);
        }
        let mut asked = self.asked.clone();
        let known = asked.wait_for(|asked| *asked);
        _ = tokio::time::timeout_at(by, known).await;
        self.peers.pick(tried)
    }
}

/// Makes a call at one endpoint, which leaves if it is not there.
async fn once(peer: &Peer, request: http::Request<Body>, by: Instant, limits: Limits) -> Once {
    match tokio::time::timeout_at(by, peer.call(request)).await {
        Ok(Ok(answer)) if failure::turned_away(answer.headers()) => {
            peer.leave();
            Once::Unprocessed(answer)
        }
        Ok(Ok(answer)) => {
            peer.answered();
            Once::Answered(answer)
        }
        Ok(Err(error)) => {
            let failure = Failure::of(&error);
            if failure == Failure::Late {
                return Once::Answered(status::deadline_exceeded().into_http());
            }
            tracing::debug!(error = &error as &dyn StdError, "a call found nobody");
            if failure.is_away() {
                peer.leave();
            }
            let answer = nobody(limits).into_http();
            match failure.is_unprocessed() {
                true => Once::Unprocessed(answer),
                false => Once::Answered(answer),
            }
        }
        Err(_) => Once::Answered(status::deadline_exceeded().into_http()),
    }
}

fn nobody(limits: Limits) -> Status {
    let told = "a service cannot be reached";
    status::unavailable("PEER_UNAVAILABLE", told, limits.rest)
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
        let (way, limits, only) = (self.way.clone(), self.limits, self.only.clone());
        let path = request.uri().path();
        let asked = trace::recorded().then(|| Asked::made(path.trim_start_matches('/')));
        trace::inject(asked.as_ref().map(Asked::span), request.headers_mut());
        let counted = MADE.begin(request.uri().path());
        let Some(asked) = asked else {
            return Box::pin(async move {
                let answer = way.call(request, limits, only.as_deref()).await;
                Ok(counted.around(answer).map(Body::new))
            });
        };
        let span = asked.span().clone();
        let called = async move {
            let answer = way.call(request, limits, only.as_deref()).await;
            let answer = counted.around(answer);
            Ok(Asked::around(Some(asked), answer).map(Body::new))
        };
        Box::pin(called.instrument(span))
    }
}

/// A pause that differs from one process to the next.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.7..=1.0))
}

/// Whether the same call may go well elsewhere or a moment later, if it may be made twice.
pub fn may_try_again(status: &Status) -> bool {
    status.code() == Code::Unavailable
}
