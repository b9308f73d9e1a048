//! Answers that are streams end when the process drains.
//!
//! A server does not end before the last of its streams has, and whoever watches something does
//! so for ever. So once the drain begins, a stream that is waiting for its next message, or has
//! sent one before, ends with UNAVAILABLE, and its caller finds another process. An answer of
//! one message is never cut.

use crate::status;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::{Layer, Service};

/// Ends streams once `draining` is cancelled.
pub fn layer(draining: CancellationToken) -> StreamsLayer {
    StreamsLayer {
        draining: Arc::new(draining),
    }
}

/// See [`layer`].
#[derive(Clone, Debug)]
pub struct StreamsLayer {
    // A clone of a token takes a lock that all of them share.
    draining: Arc<CancellationToken>,
}

impl<S> Layer<S> for StreamsLayer {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending {
            inner,
            draining: self.draining.clone(),
        }
    }
}

/// A service whose streams end with the process: see [`layer`].
#[derive(Clone, Debug)]
pub struct Ending<S> {
    inner: S,
    draining: Arc<CancellationToken>,
}

impl<S, Q, R> Service<http::Request<Q>> for Ending<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
{
    type Response = http::Response<EndingBody<R>>;
    type Error = S::Error;
    type Future = EndingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        EndingFuture {
            call: self.inner.call(request),
            draining: Some(self.draining.clone()),
        }
    }
}

pin_project! {
    /// The answer, whose body ends with the process.
    pub struct EndingFuture<F> {
        #[pin]
        call: F,
        draining: Option<Arc<CancellationToken>>,
    }
}

impl<F, R, E> Future for EndingFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
{
    type Output = Result<http::Response<EndingBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let draining = this.draining;
        this.call.poll(cx).map_ok(|answer| {
            let draining = draining.take();
            answer.map(|body| EndingBody {
                body,
                draining,
                waiting: None,
                sent: false,
            })
        })
    }
}

pin_project! {
    /// A body that ends with the process.
    pub struct EndingBody<B> {
        #[pin]
        body: B,
        // None: it has ended.
        draining: Option<Arc<CancellationToken>>,
        // Made when the body has to wait for the first time, which an answer of one message
        // never does.
        waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
        // A message was sent before: this is a stream.
        sent: bool,
    }
}

impl<B: Body<Data = Bytes>> Body for EndingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(draining) = this.draining else {
            return Poll::Ready(None);
        };
        match this.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                if *this.sent && draining.is_cancelled() {
                    *this.draining = None;
                    return Poll::Ready(Some(Ok(Frame::trailers(gone()))));
                }
                *this.sent = true;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(other) => return Poll::Ready(other),
            Poll::Pending => {}
        }
        let waiting = this
            .waiting
            .get_or_insert_with(|| Box::pin(CancellationToken::clone(draining).cancelled_owned()));
        waiting.as_mut().poll(cx).map(|()| {
            *this.draining = None;
            Some(Ok(Frame::trailers(gone())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.draining.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        // Less than the body promises may come, so only its upper bound can be passed on.
        let mut hint = http_body::SizeHint::new();
        if let Some(upper) = self.body.size_hint().upper() {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Trailers that send the caller elsewhere.
fn gone() -> HeaderMap {
    let status = status::unavailable(
        "DRAINING",
        "this process is about to end",
        Duration::from_millis(100),
    );
    let mut trailers = HeaderMap::new();
    // Fails for text that no header can hold, which ours is not; without a status the caller
    // sees UNKNOWN.
    _ = status.add_header(&mut trailers);
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::convert::Infallible;
    use tonic::{Code, Status};
    use tower::{ServiceExt as _, service_fn};

    async fn answered<B>(draining: &CancellationToken, body: B) -> EndingBody<B> {
        let mut body = Some(body);
        let service = service_fn(|_: http::Request<()>| {
            let body = body.take().expect("one call");
            async { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        let answer = layer(draining.clone())
            .layer(service)
            .oneshot(http::Request::new(()))
            .await;
        answer.expect("infallible").into_body()
    }

    fn data() -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::data(Bytes::from_static(b"x")))
    }

    fn code(trailers: &HeaderMap) -> Code {
        Status::from_header_map(trailers).expect("a status").code()
    }

    #[tokio::test]
    async fn a_stream_that_waits_is_woken_and_ends() {
        let draining = CancellationToken::new();
        let mut body = Box::pin(answered(&draining, StreamBody::new(stream::pending())).await);
        let first = body.frame();
        tokio::pin!(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        draining.cancel();
        let frame: Result<Frame<Bytes>, Infallible> = first.await.expect("trailers");
        let trailers = frame
            .expect("infallible")
            .into_trailers()
            .expect("trailers");
        assert_eq!(code(&trailers), Code::Unavailable);
        assert!(body.is_end_stream());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_stream_that_never_waits_ends_too() {
        let draining = CancellationToken::new();
        let endless = StreamBody::new(stream::repeat_with(data));
        let mut body = Box::pin(answered(&draining, endless).await);
        assert!(
            body.frame()
                .await
                .expect("data")
                .expect("infallible")
                .is_data()
        );
        draining.cancel();
        assert!(
            body.frame()
                .await
                .expect("trailers")
                .expect("infallible")
                .is_trailers()
        );
    }

    #[tokio::test]
    async fn an_answer_of_one_message_is_whole_even_in_the_drain() {
        let draining = CancellationToken::new();
        draining.cancel();
        let own = status::internal();
        let mut trailers = HeaderMap::new();
        own.add_header(&mut trailers).expect("a header");
        let frames = [data(), Ok(Frame::trailers(trailers))];
        let body = answered(&draining, StreamBody::new(stream::iter(frames))).await;
        let whole = body.collect().await.expect("infallible");
        assert_eq!(code(whole.trailers().expect("trailers")), Code::Internal);
        assert_eq!(whole.to_bytes(), "x");
    }
}
