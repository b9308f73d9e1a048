//! Answers that their peer does not take.
//!
//! A peer of HTTP/2 says how much of each answer it has room for. One that has room for none keeps
//! its answers here, and its connection is alive in every other way: it reads, and it answers pings.
//! So each answer that waits for room is counted, in the turn of a slow clock in which that began:
//! a call reads no clock, and looks at none of the other answers.

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// This turn, the one before, and the next, whose count is 0 when it comes.
const TURNS: usize = 3;

/// The answers of one connection.
#[derive(Default)]
pub(crate) struct Untaken {
    turn: AtomicUsize,
    /// How many answers wait for their peer since each turn.
    waiting: [AtomicUsize; TURNS],
}

impl Untaken {
    /// Returns when an answer has waited for its peer for so long, or at most twice that. To be asked
    /// by one at a time.
    pub async fn overdue(&self, patience: Duration) {
        loop {
            tokio::time::sleep(patience).await;
            let turn = self.turn.load(Ordering::Relaxed);
            let before = &self.waiting[(turn + TURNS - 1) % TURNS];
            if before.load(Ordering::Relaxed) > 0 {
                return;
            }
            self.turn.store((turn + 1) % TURNS, Ordering::Relaxed);
        }
    }
}

/// An answer's place among those that wait.
struct Waiting {
    all: Arc<Untaken>,
    since: Option<usize>,
}

impl Waiting {
    fn begin(&mut self) {
        self.end();
        let turn = self.all.turn.load(Ordering::Relaxed);
        self.all.waiting[turn].fetch_add(1, Ordering::Relaxed);
        self.since = Some(turn);
    }

    fn end(&mut self) {
        if let Some(turn) = self.since.take() {
            self.all.waiting[turn].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

pin_project! {
    /// A body that is asked for its next frame when its peer has room for it, and so waits for its
    /// peer from one frame until the next is asked for.
    pub(crate) struct Counted<B> {
        #[pin]
        body: B,
        waiting: Option<Waiting>,
    }
}

impl<B: Body> Counted<B> {
    /// An answer of these, or of none.
    pub fn new(body: B, all: Option<Arc<Untaken>>) -> Self {
        let all = all.filter(|_| !body.is_end_stream());
        let mut waiting = all.map(|all| Waiting { all, since: None });
        waiting.iter_mut().for_each(Waiting::begin);
        Self { body, waiting }
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(waiting) = this.waiting {
            match frame.is_pending() {
                // For us.
                true => waiting.end(),
                false => waiting.begin(),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use std::convert::Infallible;
    use tokio::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(10);

    type Frames = stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

    /// Two frames, and then nothing for ever.
    fn frames() -> StreamBody<Frames> {
        let frame = || Ok(Frame::data(Bytes::from_static(b"x")));
        let frames = stream::iter([frame(), frame()]).chain(stream::pending());
        StreamBody::new(frames.boxed())
    }

    fn answer(all: &Arc<Untaken>) -> Counted<StreamBody<Frames>> {
        Counted::new(frames(), Some(all.clone()))
    }

    async fn is_overdue_within(all: &Untaken, most: Duration) -> bool {
        tokio::time::timeout(most, all.overdue(PATIENCE))
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_overdue_after_one_turn_and_before_a_third() {
        let all = Arc::new(Untaken::default());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (_answer, begun) = (answer(&all), Instant::now());
        assert!(is_overdue_within(&all, PATIENCE * 3).await);
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() <= PATIENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_moves_or_waits_for_us_or_is_gone_is_never_overdue() {
        let all = Arc::new(Untaken::default());
        let mut slow = answer(&all);
        let waits = async {
            assert!(
                !is_overdue_within(&all, PATIENCE * 10).await,
                "nothing is overdue"
            );
        };
        let takes = async {
            for _ in 0..2 {
                tokio::time::sleep(PATIENCE / 10 * 9).await;
                assert!(slow.frame().await.is_some());
            }
            // From here on nothing comes, which is not the peer's fault.
            assert!(slow.frame().now_or_never().is_none());
            drop(answer(&all));
        };
        tokio::join!(waits, takes);
        let left: usize = all.waiting.iter().map(|n| n.load(Ordering::Relaxed)).sum();
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_moves_does_not_hide_one_that_does_not() {
        let all = Arc::new(Untaken::default());
        let _stuck = answer(&all);
        let brisk = async {
            loop {
                tokio::time::sleep(PATIENCE / 4).await;
                let _ = answer(&all).frame().await;
            }
        };
        tokio::select! {
            () = brisk => unreachable!("it goes on for ever"),
            overdue = is_overdue_within(&all, PATIENCE * 3) => assert!(overdue),
        }
    }
}
