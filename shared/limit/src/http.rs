//! Limits of an HTTP port: 429, and headers that say how a caller stands.
//!
//! `RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-10, on
//! every answer that limits were asked about, refused or not:
//!
//! ```text
//! RateLimit-Policy: "ip";q=1000;w=10, "user";q=100;w=60
//! RateLimit: "ip";r=997;t=1, "user";r=99;t=1
//! ```
//!
//! `q` may come at once and comes back in `w` seconds; `r` of it is there, and all of it in `t`
//! seconds. What a refusal looks like is the port's affair: it is given as a status of gRPC, as are
//! all errors that the port tells; `Retry-After` is added here where the port has not.

use crate::limits::{Limits, Refusal, Standings};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tower::{Layer, Service, ServiceExt as _};

/// How much may come in which time.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// How much of it is left.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Tells whom a request's connection is from: what that is in depends on the server.
pub type Peer = fn(&http::Extensions) -> Option<IpAddr>;

/// Makes an answer of what is wrong.
pub type Told<R> = fn(Status) -> Response<R>;

/// Limits every request; without limits, none.
pub struct HttpLayer<R> {
    limits: Option<Limits>,
    peer: Peer,
    told: Told<R>,
}

impl<R> HttpLayer<R> {
    /// With these limits, if there are any.
    pub fn new(limits: Option<Limits>, peer: Peer, told: Told<R>) -> Self {
        Self { limits, peer, told }
    }
}

impl<R> Clone for HttpLayer<R> {
    fn clone(&self) -> Self {
        Self {
            limits: self.limits.clone(),
            ..*self
        }
    }
}

impl<S, R> Layer<S> for HttpLayer<R> {
    type Service = Limited<S, R>;

    fn layer(&self, inner: S) -> Limited<S, R> {
        Limited {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service with limits: see [`HttpLayer`].
pub struct Limited<S, R> {
    inner: S,
    layer: HttpLayer<R>,
}

impl<S: Clone, R> Clone for Limited<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S, Q, R> Service<Request<Q>> for Limited<S, R>
where
    S: Service<Request<Q>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: 'static,
    Q: Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let Some(limits) = self.layer.limits.clone() else {
            return Box::pin(self.inner.call(request));
        };
        // The one that is ready is used up, and a clone stays for the next call.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        let (peer, told) = ((self.layer.peer)(request.extensions()), self.layer.told);
        Box::pin(async move {
            // What holds the body need not be shared between threads, so only the head is lent.
            let (head, body) = request.into_parts();
            match limits.admit(peer, &head.headers).await {
                Ok(standings) => {
                    let request = Request::from_parts(head, body);
                    let mut response = inner.oneshot(request).await?;
                    tell(&standings, response.headers_mut());
                    Ok(response)
                }
                Err(refusal) => Ok(refused(&refusal, told)),
            }
        })
    }
}

/// What a refusal looks like, and how its caller stands.
fn refused<R>(refusal: &Refusal, told: Told<R>) -> Response<R> {
    let mut response = told(Status::from(refusal));
    let headers = response.headers_mut();
    match refusal {
        Refusal::Limited(limited) => {
            tell(&limited.standings, headers);
            wait(limited.retry_after, headers);
        }
        Refusal::Away { retry_after } => wait(*retry_after, headers),
        Refusal::Malformed(_) => {}
    }
    response
}

fn wait(delay: Duration, headers: &mut HeaderMap) {
    let header = headers.entry(RETRY_AFTER);
    header.or_insert_with(|| seconds(delay).max(1).into());
}

/// Adds how a caller stands.
fn tell(standings: &Standings, headers: &mut HeaderMap) {
    if standings.is_empty() {
        return;
    }
    let (mut policy, mut limit) = (String::new(), String::new());
    for standing in standings {
        let comma = if policy.is_empty() { "" } else { ", " };
        let scope = standing.scope;
        let (quota, window) = (standing.burst, seconds(standing.window));
        _ = write!(policy, "{comma}\"{scope}\";q={quota};w={window}");
        let (remaining, reset) = (standing.remaining, seconds(standing.reset_after));
        _ = write!(limit, "{comma}\"{scope}\";r={remaining};t={reset}");
    }
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        // Names of limits and numbers are always valid in a header.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Whole seconds, rounded up: whoever waits so long has waited long enough.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
