//! A request's body of which some was read already, by whoever had to look at it first.

use bytes::Bytes;
use http_body::Frame;
use smallvec::SmallVec;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;

/// Frames of a body that were read already.
pub(crate) type Frames = SmallVec<[Result<Frame<Bytes>, Status>; 2]>;

/// A body of which some frames were read already.
pub(crate) struct Reread {
    /// In their order, still to be given.
    frames: <Frames as IntoIterator>::IntoIter,
    /// What comes behind them, if the body has not ended.
    rest: Option<Body>,
}

impl Reread {
    /// The request as it came, of whose body these frames were read; `ended` if there are no more.
    pub fn request(
        mut request: http::Request<Body>,
        frames: Frames,
        ended: bool,
    ) -> http::Request<Body> {
        if !frames.is_empty() {
            let body = std::mem::take(request.body_mut());
            let rest = (!ended).then_some(body);
            let frames = frames.into_iter();
            *request.body_mut() = Body::new(Self { frames, rest });
        }
        request
    }
}

impl http_body::Body for Reread {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(frame) = self.frames.next() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.as_slice().is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}
