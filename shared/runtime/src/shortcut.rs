//! Calls that can be answered at once are answered below the codec.
//!
//! For a call whose answer lies ready in memory, what a generated server does around its handler
//! costs several times what the handler does: two buffers, boxed futures, a timer, a place in
//! the queue of each layer. A [`Shortcut`] sees such a call first, with its whole request, and
//! gives the body of its answer, or leaves it to the server. It never waits, so that it needs
//! neither a deadline nor a place among the calls under way.
//!
//! ```text
//! request ── known method, one whole frame? ── answered at once? ── one frame, status OK
//!                  │ no                              │ no
//!                  └─────────── every other layer, the generated server ───────────┘
//! ```

use crate::metrics::Metrics;
use crate::reread::{Frames, Reread};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use smallvec::SmallVec;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Code;
use tonic::body::Body;
use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt as _};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// gRPC's prefix of a message: a flag, and a length in four bytes.
const PREFIX: usize = 5;
/// How long a request's message may take to follow its headers before the call goes the long way,
/// where its deadline ends it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers what can be answered without waiting.
pub trait Shortcut: Send + Sync + 'static {
    /// Whether calls of the method at this path (`/package.Service/Method`) may be answered here.
    fn serves(&self, path: &str) -> bool;

    /// The answer to a call of such a method; `message` is its encoded request. `None` leaves the
    /// call to the generated server: so must whatever is an error.
    fn answer(&self, path: &str, metadata: &HeaderMap, message: Bytes) -> Option<Reply>;
}

/// A whole answer.
pub struct Reply {
    /// What its caller is told beside it.
    pub metadata: HeaderMap,
    /// The message behind gRPC's prefix: all of the body.
    pub body: Bytes,
}

/// Where a server looks for its shortcut: none before it is set. Clones are the same place.
#[derive(Clone, Default)]
pub struct Place(Arc<OnceLock<Arc<dyn Shortcut>>>);

impl Place {
    /// Sets the shortcut, once.
    pub fn set(&self, shortcut: Arc<dyn Shortcut>) {
        let _ = self.0.set(shortcut);
    }
}

/// Asks the shortcut first, and counts what it answers.
pub fn layer(place: Place, metrics: Arc<Metrics>) -> ShortcutLayer {
    ShortcutLayer { place, metrics }
}

/// See [`layer`].
#[derive(Clone)]
pub struct ShortcutLayer {
    place: Place,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for ShortcutLayer {
    type Service = Shortened<S>;

    fn layer(&self, long: S) -> Shortened<S> {
        Shortened(Arc::new(Ways {
            place: self.place.clone(),
            metrics: self.metrics.clone(),
            long,
        }))
    }
}

/// A service with a shortcut: see [`layer`].
pub struct Shortened<S>(Arc<Ways<S>>);

struct Ways<S> {
    place: Place,
    metrics: Arc<Metrics>,
    /// Cloned for calls that go the long way, and never called itself.
    long: S,
}

impl<S> Clone for Shortened<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, R> Service<http::Request<Body>> for Shortened<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone,
{
    type Response = http::Response<ShortenedBody<R>>;
    type Error = S::Error;
    type Future = ShortenedFuture<S>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let asked = Asked {
            began: Instant::now(),
            ways: self.0.clone(),
            request,
            frames: SmallVec::new(),
            ended: false,
            patience: None,
        };
        ShortenedFuture {
            way: Way::Short { asked: Some(asked) },
        }
    }
}

/// A call that the shortcut has not answered yet.
struct Asked<S> {
    began: Instant,
    ways: Arc<Ways<S>>,
    request: http::Request<Body>,
    /// What was read of the request's body.
    frames: Frames,
    ended: bool,
    /// For how long the rest of the body is waited for.
    patience: Option<Pin<Box<Sleep>>>,
}

/// What a request's body is, as far as it was read.
enum Read {
    /// One message, and nothing else.
    Whole(Bytes),
    /// That may come to be.
    Part,
    /// Anything else.
    Other,
}

impl<S> Asked<S> {
    fn shortcut(&self) -> Option<&dyn Shortcut> {
        let shortcut = &**self.ways.place.0.get()?;
        let path = self.request.uri().path();
        let plain = || !self.request.headers().contains_key(&ENCODING);
        (shortcut.serves(path) && plain()).then_some(shortcut)
    }

    /// The answer, or `None` if it cannot be given at once.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        if self.shortcut().is_none() {
            return Poll::Ready(None);
        }
        let message = loop {
            match read(
                &self.frames,
                self.ended || self.request.body().is_end_stream(),
            ) {
                Read::Whole(message) => break message,
                Read::Part => {}
                Read::Other => return Poll::Ready(None),
            }
            match Pin::new(self.request.body_mut()).poll_frame(cx) {
                Poll::Ready(Some(frame)) => self.frames.push(frame),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    let sleep = || Box::pin(tokio::time::sleep(PATIENCE));
                    ready!(self.patience.get_or_insert_with(sleep).as_mut().poll(cx));
                    return Poll::Ready(None);
                }
            }
        };
        let (path, metadata) = (self.request.uri().path(), self.request.headers());
        let shortcut = self.shortcut();
        let reply = shortcut.and_then(|shortcut| shortcut.answer(path, metadata, message));
        if reply.is_some() {
            self.ways
                .metrics
                .answered(path, Code::Ok, self.began.elapsed());
        }
        Poll::Ready(reply)
    }

    /// The request as it came, and who is to answer it now.
    fn hand_on(self) -> (http::Request<Body>, S)
    where
        S: Clone,
    {
        let request = Reread::request(self.request, self.frames, self.ended);
        (request, self.ways.long.clone())
    }
}

fn read(frames: &Frames, ended: bool) -> Read {
    let data = |n: usize| frames.get(n).map(|frame| frame.as_ref().ok()?.data_ref());
    let Some(first) = data(0) else {
        return if ended { Read::Other } else { Read::Part };
    };
    // A client may end its stream by an empty frame behind the message.
    let alone = data(1).is_none_or(|data| data.is_some_and(Bytes::is_empty));
    match first.and_then(whole).filter(|_| alone) {
        Some(message) if ended => Read::Whole(message),
        Some(_) if frames.len() <= 2 => Read::Part,
        _ => Read::Other,
    }
}

/// The message in a body's first frame, if it is all of it and not compressed.
fn whole(frame: &Bytes) -> Option<Bytes> {
    let (&[compressed, ref len @ ..], message) = frame.split_first_chunk::<PREFIX>()?;
    let all = compressed == 0 && u32::from_be_bytes(*len) as usize == message.len();
    all.then(|| frame.slice(PREFIX..))
}

pin_project! {
    /// The answer, by the short way or the long one.
    pub struct ShortenedFuture<S: Service<http::Request<Body>>> {
        #[pin]
        way: Way<S>,
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<S: Service<http::Request<Body>>> {
        /// Until it has been looked at.
        Short { asked: Option<Asked<S>> },
        /// Through every layer.
        Long { #[pin] answer: Oneshot<S, http::Request<Body>> },
    }
}

impl<S, R> Future for ShortenedFuture<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone,
{
    type Output = Result<http::Response<ShortenedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut way = self.project().way;
        loop {
            let asked = match way.as_mut().project() {
                WayProjection::Short { asked } => asked,
                WayProjection::Long { answer } => {
                    let answer = ready!(answer.poll(cx))?;
                    let long = |body| ShortenedBody {
                        frames: FrameSource::Long { body },
                    };
                    return Poll::Ready(Ok(answer.map(long)));
                }
            };
            if let Some(asked) = asked
                && let Some(reply) = ready!(asked.poll_answer(cx))
            {
                return Poll::Ready(Ok(reply.into_http()));
            }
            // Polled again after an answer, it has nothing to say.
            let Some((request, server)) = asked.take().map(Asked::hand_on) else {
                return Poll::Pending;
            };
            let answer = server.oneshot(request);
            way.set(Way::Long { answer });
        }
    }
}

impl Reply {
    fn into_http<R>(self) -> http::Response<ShortenedBody<R>> {
        let Self { metadata, body } = self;
        let frames = FrameSource::Short {
            body: Some(body),
            open: true,
        };
        let mut response = http::Response::new(ShortenedBody { frames });
        *response.headers_mut() = metadata;
        response.headers_mut().insert(CONTENT_TYPE, GRPC);
        response
    }
}

pin_project! {
    /// What is answered.
    pub struct ShortenedBody<B> {
        #[pin]
        frames: FrameSource<B>,
    }
}

pin_project! {
    #[project = FrameSourceProjection]
    enum FrameSource<B> {
        /// One frame, unless it is sent already, and then the status.
        Short { body: Option<Bytes>, open: bool },
        /// What the server answers.
        Long { #[pin] body: B },
    }
}

/// An answer that is all headers.
impl<B> Default for ShortenedBody<B> {
    fn default() -> Self {
        let frames = FrameSource::Short {
            body: None,
            open: false,
        };
        Self { frames }
    }
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for ShortenedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (body, open) = match self.project().frames.project() {
            FrameSourceProjection::Short { body, open } => (body, open),
            FrameSourceProjection::Long { body } => return body.poll_frame(cx),
        };
        if let Some(data) = body.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = std::mem::take(open).then(|| {
            let mut trailers = HeaderMap::with_capacity(1);
            trailers.insert(STATUS, OK);
            Ok(Frame::trailers(trailers))
        });
        Poll::Ready(trailers)
    }

    fn is_end_stream(&self) -> bool {
        match &self.frames {
            FrameSource::Short { open, .. } => !open,
            FrameSource::Long { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.frames {
            // With an exact size the transport would add a content-length, which gRPC has not.
            FrameSource::Short { .. } => SizeHint::default(),
            FrameSource::Long { body } => body.size_hint(),
        }
    }
}

#[cfg(test)]
#[path = "shortcut_tests.rs"]
mod tests;
