//! Who asks too often is turned away before anything else is done for them.
//!
//! The layer stands outside of the shortcut, so that answers which lie ready count like any
//! others. Whom it turns away is counted by method and status like every call. Health checks
//! always come in, or a limited process would look like a dead one.

use crate::metrics::Metrics;
use futures_util::future::BoxFuture;
use http::request::Parts;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt as _};

/// Calls to this service are always let in.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Says who may come in.
pub trait Warden: Send + Sync + 'static {
    /// Whether a call with this head may be made; if not, what its caller is told. It must end
    /// soon: the call's own deadline does not end it.
    fn admit<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<(), Status>>;
}

/// Asks the warden, if there is one, about every call.
pub fn layer(warden: Option<Arc<dyn Warden>>, metrics: Arc<Metrics>) -> WardenLayer {
    WardenLayer { warden, metrics }
}

/// See [`layer`].
#[derive(Clone)]
pub struct WardenLayer {
    warden: Option<Arc<dyn Warden>>,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for WardenLayer {
    type Service = Warded<S>;

    fn layer(&self, inner: S) -> Warded<S> {
        Warded {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service with a warden: see [`layer`].
#[derive(Clone)]
pub struct Warded<S> {
    inner: S,
    layer: WardenLayer,
}

impl<S, R> Service<http::Request<Body>> for Warded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    R: Default + 'static,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = WardedFuture<S::Future, Result<http::Response<R>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let warden = self.layer.warden.as_ref();
        let warden = warden.filter(|_| !request.uri().path().starts_with(HEALTH));
        let way = match warden.cloned() {
            None => Way::Free {
                answer: self.inner.call(request),
            },
            Some(warden) => {
                // The one that is ready is used up, and a clone stays for the next call.
                let next = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, next);
                let asked = asked(warden, self.layer.metrics.clone(), request, inner);
                Way::Asked {
                    asked: Box::pin(asked),
                }
            }
        };
        WardedFuture { way }
    }
}

async fn asked<S, R>(
    warden: Arc<dyn Warden>,
    metrics: Arc<Metrics>,
    request: http::Request<Body>,
    inner: S,
) -> Result<http::Response<R>, S::Error>
where
    S: Service<http::Request<Body>, Response = http::Response<R>>,
    R: Default,
{
    let began = Instant::now();
    let (call, body) = request.into_parts();
    match warden.admit(&call).await {
        Ok(()) => inner.oneshot(http::Request::from_parts(call, body)).await,
        Err(status) => {
            metrics.answered(call.uri.path(), status.code(), began.elapsed());
            Ok(status.into_http())
        }
    }
}

pin_project! {
    /// The answer, or the warden's refusal.
    pub struct WardedFuture<F, O> {
        #[pin]
        way: Way<F, O>,
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<F, O> {
        /// Nobody is asked.
        Free { #[pin] answer: F },
        /// The warden is, first.
        Asked { asked: Pin<Box<dyn Future<Output = O> + Send>> },
    }
}

impl<F: Future> Future for WardedFuture<F, F::Output> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().way.project() {
            WayProjection::Free { answer } => answer.poll(cx),
            WayProjection::Asked { asked } => asked.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Page;
    use crate::status;
    use std::convert::Infallible;
    use std::time::Duration;
    use tower::service_fn;

    struct Nobody;

    impl Warden for Nobody {
        fn admit<'a>(&'a self, _: &'a Parts) -> BoxFuture<'a, Result<(), Status>> {
            let refusal = status::resource_exhausted("LIMITED", "no", Duration::from_secs(1));
            Box::pin(async { Err(refusal) })
        }
    }

    async fn status_of(warden: Option<Arc<dyn Warden>>, path: &str) -> (Option<i32>, String) {
        let metrics = Arc::new(Metrics::new(&[]).expect("no descriptors"));
        let inner = service_fn(async |_: http::Request<Body>| {
            Ok::<_, Infallible>(http::Response::new(Body::default()))
        });
        let service = layer(warden, metrics.clone()).layer(inner);
        let request = http::Request::builder().uri(path).body(Body::default());
        let answer = service.oneshot(request.expect("a path")).await;
        let headers = answer.expect("infallible");
        let status = Status::from_header_map(headers.headers());
        let text = Page::of(|page| metrics.measure(page)).text();
        (status.map(|status| status.code() as i32), text)
    }

    #[tokio::test]
    async fn whom_the_warden_refuses_is_told_and_counted_and_health_checks_come_in() {
        let nobody: Arc<dyn Warden> = Arc::new(Nobody);
        assert_eq!(status_of(None, "/a/b").await.0, None);
        let health = "/grpc.health.v1.Health/Check";
        assert_eq!(status_of(Some(nobody.clone()), health).await.0, None);
        let (status, metrics) = status_of(Some(nobody), "/a/b").await;
        assert_eq!(status, Some(8));
        assert!(metrics.contains("\"RESOURCE_EXHAUSTED\"} 1"), "{metrics}");
    }
}
