//! A call has a place among those under way from when its message has come.
//!
//! A caller may send the head of a call and then nothing, or byte by byte. A call that is waited for
//! in this way does no work, and must not stand where others could: it is waited for outside, with
//! [`Patience`], and let in when its first message is there.

use crate::patience::{Impatience, Patience, Waiting};
use crate::reread::{Frames, Reread};
use crate::status;
use bytes::Bytes;
use http_body::{Body as _, Frame};
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
/// Pieces that are taken before others have their turn.
const AT_ONCE: usize = 64;
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
            come: Come::default(),
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
    come: Come,
    ended: bool,
    waiting: Option<Waiting>,
}

impl<S> Coming<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Impatience>> {
        for _ in 0..AT_ONCE {
            if self.ended || self.come.is_enough() || self.request.body().is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            match Pin::new(self.request.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(frame)) => self.come.take(frame),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return self.wait(cx),
            }
        }
        // It comes in very small pieces: others have their turn first.
        cx.waker().wake_by_ref();
        self.wait(cx)
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Impatience>> {
        let wait = || self.patience.wait();
        let waiting = self.waiting.get_or_insert_with(wait);
        Pin::new(waiting).poll(cx).map(Err)
    }
}

/// What has come of a call's body. However small its pieces, neither its room nor its work is more
/// than that of its bytes.
#[derive(Default)]
struct Come {
    /// The first frame, as it came: with most calls it is all of the message. Behind it whatever
    /// ended the body.
    frames: Frames,
    /// All data behind the first frame.
    more: Vec<u8>,
    have: usize,
    prefix: [u8; PREFIX],
    /// An error has come, or trailers: nothing more does.
    over: bool,
}

impl Come {
    fn take(&mut self, frame: Result<Frame<Bytes>, Status>) {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => self.data(data),
            Ok(Err(trailers)) => self.end(Ok(trailers)),
            Err(status) => self.end(Err(status)),
        }
    }

    fn data(&mut self, data: Bytes) {
        if let Some(missing) = self.prefix.get_mut(self.have..) {
            let part = data.len().min(missing.len());
            missing[..part].copy_from_slice(&data[..part]);
        }
        self.have += data.len();
        match self.frames.is_empty() {
            true if data.is_empty() => {}
            true => self.frames.push(Ok(Frame::data(data))),
            false => self.more.extend_from_slice(&data),
        }
    }

    fn end(&mut self, last: Result<Frame<Bytes>, Status>) {
        self.over = true;
        self.join();
        self.frames.push(last);
    }

    fn join(&mut self) {
        if !self.more.is_empty() {
            let more = std::mem::take(&mut self.more);
            self.frames.push(Ok(Frame::data(more.into())));
        }
    }

    fn is_enough(&self) -> bool {
        let [_, length @ ..] = self.prefix;
        let message = PREFIX.saturating_add(u32::from_be_bytes(length) as usize);
        self.over || (self.have >= PREFIX && self.have >= message.min(ENOUGH))
    }

    /// In their order.
    fn into_frames(mut self) -> Frames {
        self.join();
        self.frames
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
            let frames = coming.come.into_frames();
            let request = Reread::request(coming.request, frames, coming.ended);
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
    use futures_util::stream;
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

    #[tokio::test]
    async fn a_message_in_tiny_pieces_costs_what_its_length_does_and_is_handed_on_in_one() {
        let mut message = vec![7; ENOUGH];
        let length = u32::try_from(ENOUGH - PREFIX).expect("it fits");
        message[0] = 0;
        message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        let message = Bytes::from(message);
        let pieces = (0..message.len()).map(|at| Ok(Frame::data(message.slice(at..=at))));
        let pieces = pieces.collect::<Vec<Result<_, Status>>>();
        let server = service_fn(async |request: http::Request<Body>| {
            let mut body = request.into_body();
            let (mut all, mut frames) = (Vec::new(), 0);
            while let Some(frame) = body.frame().await {
                all.extend_from_slice(frame.expect("whole").data_ref().expect("data"));
                frames += 1;
            }
            assert!(frames <= 2, "{frames} frames");
            Ok::<_, Infallible>(http::Response::new(Body::new(http_body_util::Full::new(
                Bytes::from(all),
            ))))
        });
        let server = layer(Duration::from_secs(600)).layer(server);
        let body = Body::new(StreamBody::new(stream::iter(pieces)));
        let begun = std::time::Instant::now();
        let answer = server.oneshot(http::Request::new(body));
        let answer = answer.await.expect("infallible").into_body();
        assert!(answer.collect().await.expect("whole").to_bytes() == message);
        // Were all that came looked at again for each piece, these were two billion looks.
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_that_say_nothing_are_not_waited_for_for_ever() {
        let nothing = stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::new())));
        let server = service_fn(async |_: http::Request<Body>| {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
        let server = layer(Duration::from_secs(10)).layer(server);
        let body = Body::new(StreamBody::new(nothing));
        let answer = server.oneshot(http::Request::new(body));
        let time = async { tokio::time::advance(Duration::from_secs(11)).await };
        let (answer, ()) = tokio::join!(answer, time);
        let answer = answer.expect("infallible");
        let status = Status::from_header_map(answer.headers()).expect("an error");
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
