//! Too many calls at once are turned away at the door, quickly, and told when to come back.
//!
//! A queue in front of a full house only adds waiting: whoever stands in it long enough is no
//! longer waited for. Health checks always come in, or a busy process would look like a dead one.

use crate::status;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service};

/// When those who are turned away should come back.
const COME_BACK: Duration = Duration::from_millis(100);
/// Calls to this service are always let in.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Lets at most `most` calls in at once, over all connections; the others are answered
/// RESOURCE_EXHAUSTED. An answer that is a stream counts until it begins.
pub fn layer(most: usize) -> AdmissionLayer {
    AdmissionLayer {
        door: Arc::new(Door {
            most,
            inside: AtomicUsize::new(0),
        }),
    }
}

struct Door {
    most: usize,
    inside: AtomicUsize,
}

/// A call that has been let in; to drop it is to leave.
struct Inside(Arc<Door>);

impl Door {
    fn enter(self: &Arc<Self>) -> Option<Inside> {
        let inside = Inside(self.clone());
        // Who comes too many leaves again at once, by dropping `inside`.
        (self.inside.fetch_add(1, Ordering::Relaxed) < self.most).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

/// See [`layer`].
#[derive(Clone)]
pub struct AdmissionLayer {
    door: Arc<Door>,
}

impl AdmissionLayer {
    /// How many calls are inside.
    pub fn under_way(&self) -> usize {
        self.door.inside.load(Ordering::Relaxed)
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission {
            inner,
            door: self.door.clone(),
        }
    }
}

/// A service with a door: see [`layer`].
#[derive(Clone)]
pub struct Admission<S> {
    inner: S,
    door: Arc<Door>,
}

impl<S, Q, R> Service<http::Request<Q>> for Admission<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let inside = self.door.enter();
        let let_in = inside.is_some() || request.uri().path().starts_with(HEALTH);
        AdmissionFuture {
            call: let_in.then(|| self.inner.call(request)),
            inside,
        }
    }
}

pin_project! {
    /// The answer, or RESOURCE_EXHAUSTED.
    pub struct AdmissionFuture<F> {
        #[pin]
        call: Option<F>,
        inside: Option<Inside>,
    }
}

impl<F, R: Default, E> Future for AdmissionFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().call.as_pin_mut() {
            Some(call) => call.poll(cx),
            None => Poll::Ready(Ok(turned_away().into_http())),
        }
    }
}

fn turned_away() -> tonic::Status {
    status::resource_exhausted("TOO_MANY_CALLS", "too many calls at once", COME_BACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tonic::{Code, Status};
    use tower::{ServiceExt as _, service_fn};

    fn request(path: &str) -> http::Request<()> {
        http::Request::builder().uri(path).body(()).expect("a path")
    }

    #[tokio::test]
    async fn one_too_many_is_turned_away_and_room_is_made_when_a_call_is_dropped() {
        let stuck = service_fn(|_: http::Request<()>| {
            std::future::pending::<Result<http::Response<()>, Infallible>>()
        });
        let door = layer(2);
        let service = door.layer(stuck);
        let one = service.clone().oneshot(request("/a/b"));
        let two = service.clone().oneshot(request("/a/b"));
        let (mut one, mut two) = (Box::pin(one), Box::pin(two));
        assert!(futures_util::poll!(&mut one).is_pending());
        assert!(futures_util::poll!(&mut two).is_pending());
        let answer = service
            .clone()
            .oneshot(request("/a/b"))
            .await
            .expect("infallible");
        let status = Status::from_header_map(answer.headers()).expect("an error");
        assert_eq!(status.code(), Code::ResourceExhausted);
        let mut health = Box::pin(
            service
                .clone()
                .oneshot(request("/grpc.health.v1.Health/Check")),
        );
        assert!(
            futures_util::poll!(&mut health).is_pending(),
            "health is always let in"
        );
        drop(health);
        drop(one);
        let mut three = Box::pin(service.oneshot(request("/a/b")));
        assert!(futures_util::poll!(&mut three).is_pending());
        drop((two, three));
        assert_eq!(door.under_way(), 0);
    }
}
