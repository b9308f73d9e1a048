//! A call has a place among those under way from when its message has come.
//!
//! A caller may send the head of a call and then nothing, or byte by byte. A call that is waited for
//! in this way does no work, and must not stand where others could: it is waited for outside, with
//! [`Patience`], and let in when its first message is there.

use crate::patience::{Impatience, Patience, Waiting};
use crate::reread::{Frames, Reread};
use crate::status;
use bytes::Buf as _;
use http_body::Body as _;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt as _};

/// Calls that are waited for at once.
const WAITING: usize = 512;
/// A message that is longer need not be there as a whole, so that what is kept is bounded, too.
const ENOUGH: usize = 64 << 10;
/// gRPC's prefix of a message: a flag, and a length in four bytes.
const PREFIX: usize = 5;
/// When those who are given up for others should come back.
const COME_BACK: Duration = Duration::from_millis(100);

/// Waits for the first message of each call, at most so long.
pub(crate) fn layer(long: Duration) -> ArrivalLayer {
    ArrivalLayer {
        patience: Patience::new(WAITING, long),
    }
}

/// See [`layer`].
#[derive(Clone)]
pub(crate) struct ArrivalLayer {
    patience: Patience,
}

impl<S> Layer<S> for ArrivalLayer {
    type Service = Arrival<S>;

    fn layer(&self, inner: S) -> Arrival<S> {
        Arrival {
            inner,
            patience: self.patience.clone(),
        }
    }
}

/// A service whose calls are there: see [`layer`].
#[derive(Clone)]
pub(crate) struct Arrival<S> {
    inner: S,
    patience: Patience,
}

impl<S, R> Service<http::Request<Body>> for Arrival<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = ArrivalFuture<S>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let coming = Coming {
            request,
            server: self.inner.clone(),
            patience: self.patience.clone(),
            frames: Frames::new(),
            ended: false,
            waiting: None,
        };
        ArrivalFuture {
            way: Way::Coming {
                coming: Some(coming),
            },
        }
    }
}

/// A call whose first message is not there yet.
struct Coming<S> {
    request: http::Request<Body>,
    server: S,
    patience: Patience,
    /// What was read of the request's body.
    frames: Frames,
    ended: bool,
    waiting: Option<Waiting>,
}

impl<S> Coming<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Impatience>> {
        while !self.is_there() {
            match Pin::new(self.request.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(frame)) => self.frames.push(frame),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    let wait = || self.patience.wait();
                    let waiting = self.waiting.get_or_insert_with(wait);
                    return Pin::new(waiting).poll(cx).map(Err);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_there(&self) -> bool {
        if self.ended || self.request.body().is_end_stream() {
            return true;
        }
        let mut have = 0;
        let mut prefix = [0; PREFIX];
        for frame in &self.frames {
            // An error, or trailers: nothing more comes.
            let Some(mut data) = frame
                .as_ref()
                .ok()
                .and_then(|frame| frame.data_ref().cloned())
            else {
                return true;
            };
            let length = data.len();
            if have < PREFIX {
                let part = length.min(PREFIX - have);
                data.copy_to_slice(&mut prefix[have..have + part]);
            }
            have += length;
        }
        let [_, length @ ..] = prefix;
        let message = PREFIX.saturating_add(u32::from_be_bytes(length) as usize);
        have >= PREFIX && have >= message.min(ENOUGH)
    }
}

pin_project! {
    /// The answer, or why it was not waited for.
    pub(crate) struct ArrivalFuture<S: Service<http::Request<Body>>> {
        #[pin]
        way: Way<S>,
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<S: Service<http::Request<Body>>> {
        Coming { coming: Option<Coming<S>> },
        There { #[pin] answer: Oneshot<S, http::Request<Body>> },
    }
}

impl<S, R> Future for ArrivalFuture<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone,
    R: Default,
{
    type Output = Result<http::Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut way = self.project().way;
        loop {
            let slot = match way.as_mut().project() {
                WayProjection::Coming { coming } => coming,
                WayProjection::There { answer } => return answer.poll(cx),
            };
            // Polled again after an answer, it has nothing to say.
            let Some(coming) = slot else {
                return Poll::Pending;
            };
            let outcome = std::task::ready!(coming.poll(cx));
            let Some(coming) = slot.take() else {
                return Poll::Pending;
            };
            if let Err(why) = outcome {
                return Poll::Ready(Ok(given_up(why).into_http()));
            }
            let request = Reread::request(coming.request, coming.frames, coming.ended);
            let answer = coming.server.oneshot(request);
            way.set(Way::There { answer });
        }
    }
}

fn given_up(why: Impatience) -> Status {
    match why {
        Impatience::Late => status::deadline_exceeded(),
        Impatience::Crowded => status::resource_exhausted(
            "TOO_SLOW",
            "the request came too slowly while many others did",
            COME_BACK,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::convert::Infallible;
    use tonic::Code;
    use tower::service_fn;

    /// What a service gets to see of a body that comes in these pieces and then stops.
    async fn seen(pieces: &[&'static [u8]]) -> Result<Bytes, Code> {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Bytes::from_static(piece))
            .collect();
        let pieces = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
        let body = StreamBody::new(futures_util::StreamExt::chain(
            stream::iter(pieces),
            stream::pending::<Result<_, Status>>(),
        ));
        let server = service_fn(async |request: http::Request<Body>| {
            let mut body = request.into_body();
            let mut all = Vec::new();
            while let Some(Ok(frame)) =
                futures_util::FutureExt::now_or_never(body.frame()).flatten()
            {
                all.extend_from_slice(frame.data_ref().expect("data"));
            }
            Ok::<_, Infallible>(http::Response::new(Body::new(http_body_util::Full::new(
                Bytes::from(all),
            ))))
        });
        let server = layer(Duration::from_secs(10)).layer(server);
        let answer = server.oneshot(http::Request::new(Body::new(body)));
        let answer = answer.await.expect("infallible");
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Err(status.code());
        }
        Ok(answer
            .into_body()
            .collect()
            .await
            .expect("whole")
            .to_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_let_in_when_its_first_message_is_there_and_not_before() {
        assert_eq!(
            seen(&[b"\0\0\0\0\x03abc"]).await,
            Ok(Bytes::from_static(b"\0\0\0\0\x03abc"))
        );
        let pieces: [&[u8]; 3] = [b"\0\0\0", b"\0\x03a", b"bc"];
        assert_eq!(
            seen(&pieces).await,
            Ok(Bytes::from_static(b"\0\0\0\0\x03abc"))
        );
        for pieces in [&[][..], &[&b"\0\0\0"[..]], &[b"\0\0\0\0\x03", b"ab"]] {
            assert_eq!(seen(pieces).await, Err(Code::DeadlineExceeded));
        }
    }
}
