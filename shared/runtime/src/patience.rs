//! Those who are waited for, and for how long.
//!
//! A handshake or a request's body that is begun and not finished holds something of ours. It has a
//! time, and there is a bound of those that are waited for at once: one more, and the oldest is given
//! up. Whoever is silent or slow costs others like it their place, and not those who go on, for they
//! are never the oldest.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// Why somebody is waited for no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Impatience {
    /// The time is over.
    Late,
    /// Too many others are waited for.
    Crowded,
}

/// Those who are waited for. Clones share them.
#[derive(Clone, Debug)]
pub struct Patience(Arc<Held>);

#[derive(Debug)]
struct Held {
    most: usize,
    long: Duration,
    /// Each is given up when its sender is dropped. In the order in which they began; those that are
    /// done are swept out when there is no room.
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
}

impl Patience {
    /// With so many at once, each for so long.
    pub fn new(most: usize, long: Duration) -> Self {
        Self(Arc::new(Held {
            most: most.max(1),
            long,
            waiting: Mutex::default(),
        }))
    }

    /// Begins to wait for somebody. To drop it is to wait no more.
    pub fn wait(&self) -> Waiting {
        let (goes_on, given_up) = oneshot::channel();
        // Whole whatever happened to whoever held it.
        let mut waiting = (self.0.waiting.lock()).unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.0.most {
            waiting.retain(|one| !one.is_closed());
        }
        if waiting.len() >= self.0.most {
            waiting.pop_front();
        }
        waiting.push_back(goes_on);
        Waiting {
            given_up,
            late: Box::pin(tokio::time::sleep(self.0.long)),
        }
    }
}

/// Somebody who is waited for: ready when that is over.
#[derive(Debug)]
pub struct Waiting {
    given_up: oneshot::Receiver<()>,
    late: Pin<Box<Sleep>>,
}

impl Future for Waiting {
    type Output = Impatience;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Impatience> {
        if Pin::new(&mut self.given_up).poll(cx).is_ready() {
            return Poll::Ready(Impatience::Crowded);
        }
        self.late.as_mut().poll(cx).map(|()| Impatience::Late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_given_up_for_one_too_many_and_the_others_have_their_time() {
        let patience = Patience::new(2, Duration::from_secs(5));
        let (first, second) = (patience.wait(), patience.wait());
        drop(second);
        // There is room, for one of them is done.
        let (mut third, begun) = (patience.wait(), tokio::time::Instant::now());
        let mut first = first;
        assert!(futures_util::poll!(&mut first).is_pending());
        let _fourth = patience.wait();
        assert_eq!(first.await, Impatience::Crowded);
        assert!(futures_util::poll!(&mut third).is_pending());
        assert_eq!(third.await, Impatience::Late);
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
