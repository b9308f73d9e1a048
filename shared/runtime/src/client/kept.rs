//! The body of a request, kept while the call may have to be made again.
//!
//! A call that no server has begun to work on can be made elsewhere, if what it says is still
//! there. What was sent of it is: the bytes are shared with the transport, not copied, and up to
//! a bound. A body that is longer, or that comes while the call goes on, is not made again once
//! it was begun.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;

/// How much of a body is kept.
const MOST: usize = 1 << 20;

/// A body that can be sent several times. Clones are of the same one.
#[derive(Clone)]
pub(super) struct Kept(Arc<Mutex<State>>);

struct State {
    body: Body,
    /// What was sent already.
    sent: Vec<Bytes>,
    bytes: usize,
    /// Something was sent that is not kept.
    lost: bool,
}

impl Kept {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(State {
            body,
            sent: Vec::new(),
            bytes: 0,
            lost: false,
        })))
    }

    /// The body from its beginning.
    pub(super) fn again(&self) -> Body {
        Body::new(Again {
            kept: self.clone(),
            next: 0,
        })
    }

    /// Whether it can be sent from its beginning.
    pub(super) fn is_whole(&self) -> bool {
        !self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the body loses the call that it is of, and no other has it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        match frame.data_ref() {
            Some(data) if self.bytes + data.len() <= MOST => {
                self.bytes += data.len();
                self.sent.push(data.clone());
            }
            _ => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.sent = Vec::new();
    }
}

struct Again {
    kept: Kept,
    next: usize,
}

impl http_body::Body for Again {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let mut state = this.kept.lock();
        if let Some(data) = state.sent.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        let polled = Pin::new(&mut state.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) if !state.lost => {
                state.keep(frame);
                this.next += 1;
            }
            Poll::Ready(Some(Err(_))) => state.lose(),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let state = self.kept.lock();
        self.next >= state.sent.len() && state.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // What was sent before is not in the body any more.
        let state = self.kept.lock();
        match state.sent.is_empty() {
            true => state.body.size_hint(),
            false => SizeHint::default(),
        }
    }
}
