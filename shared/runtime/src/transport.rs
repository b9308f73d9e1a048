//! The connections of a port and what is spoken on them, within [`Bounds`].
//!
//! One loop for every port of a process: gRPC, the admin port, the gateway's HTTP. Answers of HTTP/1
//! say when their connection ends with them, and HTTP/2 says goodbye, so that a connection that ends
//! because of its age or because the process does fails no request.

use crate::bounds::Bounds;
use crate::coalesce::Coalesced;
use crate::connection::Connection;
use crate::incoming::Incoming;
use crate::linger::Lingering;
use crate::places::{Places, Reason};
use crate::untaken::{Counted, Untaken};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming as Received;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use rand::Rng as _;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};

/// How many headers a head of HTTP/1 may have: all tokens that one may show, and what browsers send.
const HEADERS: usize = 128;
/// Calls that we give up on one connection of HTTP/2 because of what its peer does wrong.
const FAULTS: usize = 1024;

/// What is spoken at a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Whichever a peer begins with.
    Both,
}

/// The connections of a port. To drop it is to close them all.
pub struct Transport<S> {
    service: S,
    spoken: Spoken,
    builder: Arc<Builder<TokioExecutor>>,
    age: Duration,
    write: Duration,
    open: TaskTracker,
    ending: Arc<Ending>,
    cut: CancellationToken,
    _cut: DropGuard,
}

/// How connections hear of the end.
#[derive(Default)]
struct Ending {
    /// Answers of HTTP/1 say that their connection ends. A look costs a request nothing.
    last: AtomicBool,
    /// No new requests are taken.
    closed: CancellationToken,
}

impl<S, B> Transport<S>
where
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    /// Answers with what the service says; in each request's extensions it finds the
    /// [`Peer`](crate::connection::Peer).
    pub fn new(spoken: Spoken, bounds: &Bounds, service: S) -> Self {
        let cut = CancellationToken::new();
        Self {
            service,
            spoken,
            builder: Arc::new(builder(spoken, bounds)),
            age: bounds.age,
            write: bounds.write,
            open: TaskTracker::new(),
            ending: Arc::default(),
            cut: cut.clone(),
            _cut: cut.drop_guard(),
        }
    }

    /// Takes connections, for ever. It is safe to stop waiting.
    pub async fn accept(&self, incoming: &mut Incoming) -> Infallible {
        loop {
            let connection = incoming.next().await;
            let life = Life {
                age: self.age.mul_f64(rand::rng().random_range(0.9..1.1)),
                write: self.write,
                last: Last {
                    of_all: self.ending.clone(),
                    here: Arc::default(),
                },
                cut: self.cut.clone(),
                untaken: Arc::default(),
                places: connection.places(),
            };
            self.open.spawn(serve(
                connection,
                self.spoken,
                self.builder.clone(),
                self.service.clone(),
                life,
            ));
        }
    }

    /// From now on answers of HTTP/1 say that their connection ends with them.
    pub fn end_with_answers(&self) {
        self.ending.last.store(true, Ordering::Relaxed);
    }

    /// Takes no new requests, and waits until those that run have been answered.
    pub async fn close(&self) {
        self.end_with_answers();
        self.ending.closed.cancel();
        self.open.close();
        self.open.wait().await;
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn builder(spoken: Spoken, bounds: &Bounds) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match spoken {
        Spoken::Http1 => builder.http1_only(),
        Spoken::Http2 => builder.http2_only(),
        Spoken::Both => builder,
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_headers(HEADERS)
        // So that a head that is a little too long is told so.
        .max_buf_size(bounds.head_bytes * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(bounds.keepalive)
        .keep_alive_timeout(bounds.keepalive / 2)
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(bounds.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(bounds.resets)
        .max_local_error_reset_streams(FAULTS);
    builder
}

/// Answers on one connection until it ends.
async fn serve<S, B>(
    connection: Connection,
    spoken: Spoken,
    builder: Arc<Builder<TokioExecutor>>,
    service: S,
    life: Life,
) where
    S: Service<Request<Received>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let peer = connection.peer().clone();
    let (ends, untaken) = (life.last.clone(), life.untaken.clone());
    let answers = service_fn(move |mut request: Request<Received>| {
        request.extensions_mut().insert(peer.clone());
        let is_http1 = request.version() < Version::HTTP_2;
        Answering {
            last: is_http1.then(|| ends.clone()),
            untaken: (!is_http1).then(|| untaken.clone()),
            answer: service.clone().oneshot(request),
        }
    });
    let stream = Lingering::new(connection);
    // Gathering writes is for many small answers at once, which HTTP/1 has none of.
    let served = async {
        match spoken {
            Spoken::Http1 => {
                let served = builder.serve_connection(TokioIo::new(stream), answers);
                until_end(served, &life, spoken).await
            }
            Spoken::Http2 | Spoken::Both => {
                let stream = TokioIo::new(Coalesced::new(stream));
                let served = builder.serve_connection(stream, answers);
                until_end(served, &life, spoken).await
            }
        }
    };
    if let Err(error) = served.await {
        tracing::debug!(error = %error, "a connection broke");
    }
}

pin_project! {
    /// An answer that is being made. No async block, as that would hold the call twice, and each call
    /// is moved a few times before it is at rest.
    struct Answering<F> {
        #[pin]
        answer: F,
        last: Option<Last>,
        untaken: Option<Arc<Untaken>>,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: http_body::Body,
{
    type Output = Result<Response<Counted<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx))?;
        if this.last.as_ref().is_some_and(Last::is_now) {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(CONNECTION, close);
        }
        let untaken = this.untaken.take();
        Poll::Ready(Ok(answer.map(|body| Counted::new(body, untaken))))
    }
}

/// Whether the next answer of HTTP/1 is the last of its connection.
#[derive(Clone)]
struct Last {
    of_all: Arc<Ending>,
    here: Arc<AtomicBool>,
}

impl Last {
    fn is_now(&self) -> bool {
        self.of_all.last.load(Ordering::Relaxed) || self.here.load(Ordering::Relaxed)
    }
}

/// What ends a connection.
struct Life {
    age: Duration,
    /// How long its peer may take nothing.
    write: Duration,
    last: Last,
    cut: CancellationToken,
    untaken: Arc<Untaken>,
    places: Option<Places>,
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Cut,
    /// No new requests are taken.
    Closed,
    Old,
    /// An answer is not taken.
    Untaken,
}

impl Life {
    /// What may end it. Each is looked at when it has come, and not whenever something moves on the
    /// connection.
    fn ends(&self) -> FuturesUnordered<BoxFuture<'_, End>> {
        let all = FuturesUnordered::new();
        all.push(self.cut.cancelled().map(|()| End::Cut).boxed());
        let closed = self.last.of_all.closed.cancelled();
        all.push(closed.map(|()| End::Closed).boxed());
        all.push(self.grown_old(End::Old));
        all.push(self.overdue());
        all
    }

    /// This end, after as long as the connection is used.
    fn grown_old(&self, end: End) -> BoxFuture<'_, End> {
        tokio::time::sleep(self.age).map(move |()| end).boxed()
    }

    fn overdue(&self) -> BoxFuture<'_, End> {
        let overdue = self.untaken.overdue(self.write);
        overdue.map(|()| End::Untaken).boxed()
    }
}

/// Sees to it that a connection ends: in order when it is old, when no new requests are taken, or when
/// its peer does not take an answer; and if it still does not, at once.
async fn until_end<C>(served: C, life: &Life, spoken: Spoken) -> Result<(), C::Error>
where
    C: GracefulConnection,
{
    let (mut served, mut ends) = (pin!(served), life.ends());
    let mut is_ending = false;
    loop {
        let end = tokio::select! {
            biased;
            outcome = &mut served => return outcome,
            Some(end) = ends.next() => end,
        };
        match end {
            End::Cut => return Ok(()),
            End::Untaken if is_ending => {
                let places = life.places.iter();
                places.for_each(|places| places.count(Reason::Stalled));
                return Ok(());
            }
            // A request of HTTP/1 may be on its way to a connection that is idle. Its answer will say
            // that it is the last, and a connection that stays idle ends by that.
            End::Old if spoken == Spoken::Http1 => life.last.here.store(true, Ordering::Relaxed),
            End::Old | End::Closed | End::Untaken => {
                if !std::mem::replace(&mut is_ending, true) {
                    served.as_mut().graceful_shutdown();
                }
            }
        }
        match end {
            End::Untaken => ends.push(life.overdue()),
            // A stream may go on for ever, for somebody who would not be let in any more.
            End::Old if spoken != Spoken::Http1 => ends.push(life.grown_old(End::Cut)),
            _ => {}
        }
    }
}
