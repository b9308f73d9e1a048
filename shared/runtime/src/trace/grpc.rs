//! A span around each call that is served or made, where its trace is recorded.

use super::{Begun, TARGET, begin};
use crate::metrics::Metrics;
use crate::status;
use http::HeaderMap;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Span;
use tracing::field::Empty;

/// Nobody watches those who only ask how things are, or what there is.
const UNWATCHED: &str = "/grpc.";

/// A call, as its span knows it.
pub(crate) struct Asked {
    span: Span,
    /// Which codes are the fault of this end.
    kind: Kind,
    is_over: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_over {
            let name = status::code_name(Code::Cancelled);
            self.span.record("rpc.response.status_code", name);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Server,
    Client,
}

impl Asked {
    fn served(begun: Begun, method: &str) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            parent: None,
            "rpc",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            error.type = Empty,
        );
        Self {
            span: begun.with(span),
            kind: Kind::Server,
            is_over: false,
        }
    }

    /// A call that is about to be made, by a task whose trace is recorded.
    pub(crate) fn made(method: &str) -> Self {
        let span = tracing::info_span!(
            target: TARGET,
            "rpc",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
            error.type = Empty,
        );
        Self {
            span,
            kind: Kind::Client,
            is_over: false,
        }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    fn ended(mut self, code: Code) {
        self.is_over = true;
        let name = status::code_name(code);
        self.span.record("rpc.response.status_code", name);
        let failed = match self.kind {
            Kind::Client => code != Code::Ok,
            // The others are what the caller asked for.
            Kind::Server => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
        };
        if failed {
            self.span.record("error.type", name);
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// The same answer, whose end is this call's.
    pub(crate) fn around<B: http_body::Body>(
        asked: Option<Self>,
        answer: http::Response<B>,
    ) -> http::Response<TracedBody<B>> {
        let mut asked = asked;
        if asked.is_some() {
            // An error's status is in the headers, a success has its own behind the body.
            let ended = code_in(answer.headers())
                .or_else(|| answer.body().is_end_stream().then_some(Code::Unknown));
            if let Some((asked, code)) = asked.take_if(|_| ended.is_some()).zip(ended) {
                asked.ended(code);
            }
        }
        answer.map(|body| TracedBody { body, asked })
    }
}

/// Puts a span around every call whose trace is recorded. Methods are named as `metrics` does.
pub fn layer(metrics: Arc<Metrics>) -> TraceLayer {
    TraceLayer { metrics }
}

/// See [`layer`].
#[derive(Clone)]
pub struct TraceLayer {
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for TraceLayer {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced {
            inner,
            metrics: self.metrics.clone(),
        }
    }
}

/// A service whose calls are traced: see [`layer`].
#[derive(Clone)]
pub struct Traced<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, Q, R> Service<http::Request<Q>> for Traced<S>
where
    S: Service<http::Request<Q>, Response = http::Response<R>>,
    R: http_body::Body,
{
    type Response = http::Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = TracedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let path = request.uri().path();
        let begun = match path.starts_with(UNWATCHED) {
            true => None,
            false => begin(request.headers()),
        };
        let asked = begun.map(|begun| Asked::served(begun, self.metrics.method(path)));
        let inside = asked.as_ref().map(|asked| asked.span.enter());
        let answer = self.inner.call(request);
        drop(inside);
        TracedFuture { answer, asked }
    }
}

pin_project! {
    /// The answer of a call that may be traced.
    pub struct TracedFuture<F> {
        #[pin]
        answer: F,
        asked: Option<Asked>,
    }
}

impl<F, R, E> Future for TracedFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: http_body::Body,
{
    type Output = Result<http::Response<TracedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = {
            let _inside = this.asked.as_ref().map(|asked| asked.span.enter());
            ready!(this.answer.poll(cx))
        };
        let asked = this.asked.take();
        Poll::Ready(answer.map(|answer| Asked::around(asked, answer)))
    }
}

pin_project! {
    /// The body of a call that may be traced, until its end.
    pub struct TracedBody<B> {
        #[pin]
        body: B,
        asked: Option<Asked>,
    }
}

impl<B: Default> Default for TracedBody<B> {
    fn default() -> Self {
        let body = B::default();
        Self { body, asked: None }
    }
}

impl<B: http_body::Body> http_body::Body for TracedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(asked) = this.asked.as_ref() else {
            return this.body.poll_frame(cx);
        };
        let frame = {
            let _inside = asked.span.enter();
            ready!(this.body.poll_frame(cx))
        };
        let ended = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(code_in),
            Some(Err(_)) | None => Some(None),
        };
        if let Some((code, asked)) = ended.zip(this.asked.take_if(|_| ended.is_some())) {
            asked.ended(code.unwrap_or(Code::Unknown));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(Status::GRPC_STATUS)
        .map(|code| Code::from_bytes(code.as_bytes()))
}
