//! No call takes longer than its caller waits, and what it asks of others takes no longer either.
//!
//! The transport would answer an expired `grpc-timeout` with CANCELLED, which says that the
//! caller gave up. This layer answers first, with DEADLINE_EXCEEDED.

use crate::status;
use http::HeaderMap;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tower::{Layer, Service};

/// The header in which a caller says how long it waits.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The moment from which on nobody waits for the answer. A handler finds it in the request's
/// extensions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment that lies this far ahead.
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        // A sum past the end of the clock means "never"; a year is as good.
        let never = Duration::from_secs(365 * 24 * 3600);
        Self(now.checked_add(wait).unwrap_or_else(|| now + never))
    }

    /// The deadline of a call that is being served. Every call through the [`layer`] has one.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<Self> {
        request.extensions().get().copied()
    }

    /// The moment.
    pub fn at(self) -> Instant {
        self.0
    }

    /// What is left of the time.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Has a call to another service end no later than this one.
    pub fn put_on<T>(self, request: &mut tonic::Request<T>) {
        request.set_timeout(self.remaining());
    }

    /// Waits for a future as long as there is time.
    pub async fn bound<F: Future>(self, future: F) -> Result<F::Output, Status> {
        tokio::time::timeout_at(self.0, future)
            .await
            .map_err(|_| status::deadline_exceeded())
    }
}

/// Ends calls at their `grpc-timeout`, or after `longest` where that comes first or none is set.
pub fn layer(longest: Duration) -> DeadlineLayer {
    DeadlineLayer { longest }
}

/// See [`layer`].
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    longest: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded {
            inner,
            longest: self.longest,
        }
    }
}

/// A service whose calls end in time: see [`layer`].
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    longest: Duration,
}

impl<S, Q, R> Service<http::Request<Q>> for Bounded<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = BoundedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Q>) -> Self::Future {
        let asked = timeout(request.headers()).map(answer_within);
        let deadline = Deadline::after(asked.unwrap_or(self.longest).min(self.longest));
        request.extensions_mut().insert(deadline);
        BoundedFuture {
            call: self.inner.call(request),
            // Only a call that has to wait ever registers this timer.
            expiry: tokio::time::sleep_until(deadline.0),
        }
    }
}

pin_project! {
    /// The answer, or DEADLINE_EXCEEDED.
    pub struct BoundedFuture<F> {
        #[pin]
        call: F,
        #[pin]
        expiry: Sleep,
    }
}

impl<F, R: Default, E> Future for BoundedFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.call.poll(cx) {
            return Poll::Ready(answer);
        }
        this.expiry
            .poll(cx)
            .map(|()| Ok(status::deadline_exceeded().into_http()))
    }
}

/// How long a caller waits, as its headers say: up to eight digits and a unit.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A tenth of the time, but between one and ten milliseconds, is for the way back: an answer at
/// the last moment would come after the caller's own timer, and after the transport's.
fn answer_within(timeout: Duration) -> Duration {
    let way_back = (timeout / 10).clamp(Duration::from_millis(1), Duration::from_millis(10));
    timeout.saturating_sub(way_back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tonic::Code;
    use tower::{ServiceExt as _, service_fn};

    fn headers(timeout: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(GRPC_TIMEOUT),
            timeout.parse().expect("a header"),
        )])
    }

    #[test]
    fn every_unit_of_a_timeout_is_understood_and_nonsense_is_none() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("", None),
            ("m", None),
            ("+1m", None),
            ("1", None),
            ("1x", None),
            ("123456789m", None),
        ] {
            assert_eq!(timeout(&headers(text)), expected, "{text}");
        }
    }

    async fn code_of(longest: Duration, header: Option<&str>) -> (Code, Duration) {
        let stuck = service_fn(|request: http::Request<()>| async move {
            let deadline = request.extensions().get::<Deadline>().copied();
            assert!(deadline.expect("a deadline").remaining() <= Duration::from_secs(60));
            std::future::pending::<Result<http::Response<()>, Infallible>>().await
        });
        let mut request = http::Request::new(());
        if let Some(text) = header {
            *request.headers_mut() = headers(text);
        }
        let began = Instant::now();
        let answer = layer(longest)
            .layer(stuck)
            .oneshot(request)
            .await
            .expect("infallible");
        let status = Status::from_header_map(answer.headers()).expect("an error");
        (status.code(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_call_is_answered_with_deadline_exceeded_just_before_its_caller_leaves() {
        let (code, took) = code_of(Duration::from_secs(60), Some("200m")).await;
        assert_eq!(code, Code::DeadlineExceeded);
        assert!(took >= Duration::from_millis(190) && took < Duration::from_millis(200));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_timeout_ends_at_the_servers_own() {
        for header in [None, Some("1H"), Some("nonsense")] {
            let (code, took) = code_of(Duration::from_secs(5), header).await;
            assert_eq!(code, Code::DeadlineExceeded);
            assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_of_others_gets_the_time_that_is_left() {
        let deadline = Deadline::after(Duration::from_millis(300));
        tokio::time::advance(Duration::from_millis(100)).await;
        let mut request = tonic::Request::new(());
        deadline.put_on(&mut request);
        let text = request
            .metadata()
            .get(GRPC_TIMEOUT)
            .expect("a timeout")
            .to_str()
            .expect("text");
        assert_eq!(timeout(&headers(text)), Some(Duration::from_millis(200)));
        let late = deadline
            .bound(std::future::pending::<()>())
            .await
            .expect_err("never ready");
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
}
