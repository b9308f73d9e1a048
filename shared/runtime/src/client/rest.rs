//! What comes of an answer behind its head.
//!
//! A process that says the head of an answer and then nothing is there in every other way: its
//! connection is alive, and it is not away. So an answer has to be whole in the time of its call,
//! unless its caller says that it is a [`streamed`] one.

use crate::status;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

/// In the extensions of a request: its answer is a stream.
#[derive(Clone, Copy)]
struct Streamed;

/// The request of a call whose answer is a stream: only its beginning has to come in the time of a
/// call, and it ends when the server ends it, or with its connection.
pub fn streamed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.extensions_mut().insert(Streamed);
    request
}

pin_project! {
    /// The body of an answer.
    pub(super) struct Rest {
        #[pin]
        body: Body,
        // When it has to be whole, if it has to.
        by: Option<Instant>,
        // Only an answer that has to be waited for has a timer.
        #[pin]
        late: Option<Sleep>,
        rest: Duration,
    }
}

/// When the answer to this request has to be whole, if its head has to be there at `by`.
pub(super) fn whole_by(request: &http::Request<Body>, by: Instant) -> Option<Instant> {
    let streamed = request.extensions().get::<Streamed>();
    streamed.is_none().then_some(by)
}

impl Rest {
    /// Whole at this moment or not at all; whoever has to ask again should do so after `rest`.
    pub(super) fn new(body: Body, by: Option<Instant>, rest: Duration) -> Self {
        Self {
            body,
            by,
            late: None,
            rest,
        }
    }
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            return Poll::Ready(
                frame.map(|frame| frame.map_err(|error| broken(&error, *this.rest))),
            );
        }
        let Some(by) = *this.by else {
            return Poll::Pending;
        };
        if this.late.is_none() {
            this.late.set(Some(tokio::time::sleep_until(by)));
        }
        let late = this.late.as_pin_mut().map(|late| late.poll(cx));
        match late {
            Some(Poll::Ready(())) => Poll::Ready(Some(Err(status::deadline_exceeded()))),
            _ => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// UNAVAILABLE: what a server says of a call is in its trailers, so that an error here is the
/// connection's.
fn broken(error: &Status, rest: Duration) -> Status {
    tracing::debug!(error = error as &dyn StdError, "an answer broke off");
    status::unavailable(
        "ANSWER_BROKEN",
        "the connection ended before the answer did",
        rest,
    )
}
