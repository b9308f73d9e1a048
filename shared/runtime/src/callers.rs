//! Who may not call is turned away before anything else, cached answers included.
//!
//! Callers are known by the name in their certificate. Whoever is not named by `--callers` may
//! call nothing, and the others what the [`Policy`] says. Health is told to everybody whose
//! certificate is good, and what can be called to everybody who may call something.

use crate::config::Name;
use crate::connection::Peer;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::seldom::Seldom;
use crate::status::Problem;
use pin_project_lite::pin_project;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Who may call a port that knows its callers.
#[derive(Clone, Debug)]
pub struct Callers {
    named: BTreeSet<Name>,
    policy: Policy,
}

impl Callers {
    /// These, and what the policy says of them.
    pub fn new(named: &[Name], policy: Policy) -> Self {
        Self {
            named: named.iter().cloned().collect(),
            policy,
        }
    }

    /// Whether somebody may call the method at this path; if not, what he is told.
    pub fn check(&self, peer: Option<&Peer>, path: &str) -> Result<(), Status> {
        let identity = peer.and_then(|peer| peer.identity.as_deref());
        let identity = identity.ok_or_else(unknown)?;
        if path.starts_with(HEALTH) {
            return Ok(());
        }
        let name = identity.name().ok_or_else(unknown)?;
        let reflection = || REFLECTION.iter().any(|service| path.starts_with(service));
        let may = || self.policy.permits(name.as_str(), path) || reflection();
        match self.named.contains(name) && may() {
            true => Ok(()),
            false => Err(refused(name, path)),
        }
    }
}

/// UNAUTHENTICATED: nobody knows who that is.
pub(crate) fn unknown() -> Status {
    let message = "whoever calls must show a certificate with a name in it";
    Problem::new(Code::Unauthenticated, "CALLER_UNKNOWN", message).into()
}

/// PERMISSION_DENIED: it is known who that is, and he may not.
pub(crate) fn refused(name: &Name, path: &str) -> Status {
    static SAID: Seldom = Seldom::new();
    if SAID.is_due() {
        tracing::warn!(caller.name = %name, rpc.method = path, "a caller was refused");
    }
    let message = format!("{name} may not call {path}");
    Problem::new(Code::PermissionDenied, "CALLER_REFUSED", message)
        .with("caller", name.as_str())
        .with("method", path)
        .into()
}

/// Asks about every call, where callers are known.
pub(crate) fn layer(callers: Option<Arc<Callers>>, metrics: Arc<Metrics>) -> CallersLayer {
    CallersLayer { callers, metrics }
}

/// See [`layer`].
#[derive(Clone)]
pub(crate) struct CallersLayer {
    callers: Option<Arc<Callers>>,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for CallersLayer {
    type Service = Known<S>;

    fn layer(&self, inner: S) -> Known<S> {
        Known {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service that knows its callers: see [`layer`].
#[derive(Clone)]
pub(crate) struct Known<S> {
    inner: S,
    layer: CallersLayer,
}

impl<S, R> Service<http::Request<Body>> for Known<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>>,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = KnownFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let checked = match &self.layer.callers {
            None => Ok(()),
            Some(callers) => callers.check(request.extensions().get::<Peer>(), path),
        };
        let way = match checked {
            Ok(()) => Way::Free {
                answer: self.inner.call(request),
            },
            Err(status) => {
                let metrics = &self.layer.metrics;
                metrics.answered(path, status.code(), Duration::ZERO);
                Way::Refused {
                    status: Some(Box::new(status)),
                }
            }
        };
        KnownFuture { way }
    }
}

pin_project! {
    /// The answer, or a refusal.
    pub(crate) struct KnownFuture<F> {
        #[pin]
        way: Way<F>,
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<F> {
        Free { #[pin] answer: F },
        Refused { status: Option<Box<Status>> },
    }
}

impl<F, R, E> Future for KnownFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: Default,
{
    type Output = Result<http::Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().way.project() {
            WayProjection::Free { answer } => answer.poll(cx),
            // Polled again after an answer, it has nothing to say.
            WayProjection::Refused { status } => match status.take() {
                Some(status) => Poll::Ready(Ok(status.into_http())),
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Identity;

    fn name(name: &str) -> Name {
        name.parse().expect("a name")
    }

    fn peer(name: Option<&str>) -> Peer {
        let identity = name.map(|name| Identity::named(self::name(name)));
        Peer {
            address: None,
            identity: identity.map(Arc::new),
        }
    }

    fn code(callers: &Callers, peer: &Peer, path: &str) -> Code {
        match callers.check(Some(peer), path) {
            Ok(()) => Code::Ok,
            Err(status) => status.code(),
        }
    }

    #[test]
    fn nobody_may_call_who_is_not_named() {
        const POLICY: Policy = Policy {
            known: &[("front", &["/a.A/"])],
            others: &["/a.A/Get"],
            changes: &[],
        };
        let (front, other, nobody) = (peer(Some("front")), peer(Some("other")), peer(None));
        let health = "/grpc.health.v1.Health/Check";
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let closed = Callers::new(&[], POLICY);
        for path in ["/a.A/Get", reflection] {
            assert_eq!(code(&closed, &front, path), Code::PermissionDenied);
            assert_eq!(code(&closed, &nobody, path), Code::Unauthenticated);
        }
        let open = Callers::new(&[name("front")], POLICY);
        assert_eq!(code(&open, &front, "/a.A/Set"), Code::Ok);
        assert_eq!(code(&open, &front, "/b.B/Get"), Code::PermissionDenied);
        assert_eq!(code(&open, &front, reflection), Code::Ok);
        assert_eq!(code(&open, &other, "/a.A/Get"), Code::PermissionDenied);
        assert_eq!(code(&open, &other, health), Code::Ok);
        assert_eq!(code(&open, &nobody, health), Code::Unauthenticated);
        assert!(open.check(None, health).is_err());
    }
}
