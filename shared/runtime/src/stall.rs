//! A connection on which nothing moves is ended.
//!
//! Two silences have no other end. Before a peer has said what it speaks, no protocol is there to
//! grow impatient; and an answer that is taken by nobody is kept until it is. Everything between is
//! seen to by the protocols: HTTP/1 times heads, HTTP/2 asks silent peers whether they are there.

use crate::bounds::Bounds;
use crate::places::{Place, Places, Reason};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bytes by which a peer has said what it speaks: as many as HTTP/2 begins with, and fewer than any
/// request of HTTP/1.1 has.
const FIRST: usize = 24;

/// What is waited for on a connection that has a place.
pub(crate) struct Stall {
    place: Place,
    /// Until the peer has said what it speaks.
    first: Option<First>,
    /// How long the peer may take nothing.
    write: Duration,
    /// Since it takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
}

struct First {
    missing: usize,
    late: Pin<Box<Sleep>>,
}

impl Stall {
    pub fn new(place: Place, bounds: &Bounds) -> Self {
        let first = First {
            missing: FIRST,
            late: Box::pin(tokio::time::sleep(bounds.head)),
        };
        Self {
            place,
            first: Some(first),
            write: bounds.write,
            stuck: None,
        }
    }

    /// What became of a read of so many bytes.
    pub fn read(
        &mut self,
        outcome: Poll<io::Result<()>>,
        bytes: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(first) = &mut self.first else {
            return outcome;
        };
        first.missing = first.missing.saturating_sub(bytes);
        if first.missing == 0 {
            self.first = None;
            return outcome;
        }
        // What has come is judged by those who read it; only who would wait on is told to stop.
        match outcome.is_pending() && first.late.as_mut().poll(cx).is_ready() {
            true => Poll::Ready(Err(self.end(Reason::Silent))),
            false => outcome,
        }
    }

    /// What became of a write, or whatever else waits for the peer to take something.
    pub fn written<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match (&outcome, &mut self.stuck) {
            (Poll::Ready(_), None) => return outcome,
            (Poll::Ready(_), stuck) => {
                *stuck = None;
                return outcome;
            }
            (Poll::Pending, _) => {}
        }
        let until = Instant::now() + self.write;
        let stuck = || Box::pin(tokio::time::sleep_until(until));
        let stuck = self.stuck.get_or_insert_with(stuck);
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(self.end(Reason::Stalled))),
            Poll::Pending => Poll::Pending,
        }
    }

    pub fn places(&self) -> Places {
        self.place.port()
    }

    fn end(&self, reason: Reason) -> io::Error {
        self.place.port().count(reason);
        io::ErrorKind::TimedOut.into()
    }
}
