//! Those who ask about one subject at once ask together.
//!
//! While a question about a subject is under way, whoever comes joins the next one, which asks
//! for all of them. So a subject costs a process one call to the remote tier per round trip,
//! however many callers there are, and nobody is let through who was not counted.
//!
//! ```text
//! 1 asks ────── under way ──────▶ 1 answered
//!      2, 3, 4 join ─ gathering ─▶ ask for three ──── under way ────▶ 2, 3, 4 answered
//! ```
//!
//! A question is a future that those who wait for it drive together: nobody who leaves takes it
//! along. Who leaves has asked all the same, and counts.

use crate::subject::Subject;
use foldhash::fast::RandomState;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts with a lock each.
const PARTS: usize = 16;

type Question<T> = Shared<BoxFuture<'static, T>>;

/// The questions that are open. A subject is in it only while somebody waits.
pub(crate) struct Gather<T: Clone> {
    parts: [Mutex<HashMap<Subject, Lane<T>, RandomState>>; PARTS],
    hasher: RandomState,
}

/// What goes on about one subject.
struct Lane<T: Clone> {
    under_way: Option<Open<T>>,
    gathering: Option<Open<T>>,
    next_id: u64,
}

struct Open<T: Clone> {
    id: u64,
    /// Those who have joined.
    wanted: u32,
    question: WeakShared<BoxFuture<'static, T>>,
}

impl<T: Clone> Default for Gather<T> {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Gather<T> {
    /// The answer to a question about `subject`, and how many joined it earlier. `ask` is told
    /// how many ask together.
    pub(crate) async fn ask<F>(
        self: &Arc<Self>,
        subject: Subject,
        ask: impl FnOnce(u32) -> F + Send + 'static,
    ) -> (T, u32)
    where
        F: Future<Output = T> + Send,
    {
        let (question, place) = self.join(subject, ask);
        (question.await, place)
    }

    fn join<F>(
        self: &Arc<Self>,
        subject: Subject,
        ask: impl FnOnce(u32) -> F + Send + 'static,
    ) -> (Question<T>, u32)
    where
        F: Future<Output = T> + Send,
    {
        let mut part = self.part(&subject);
        let lane = part.entry(subject).or_insert_with(Lane::new);
        if let Some(open) = &mut lane.gathering
            && let Some(question) = open.question.upgrade()
        {
            let place = open.wanted;
            open.wanted = place.saturating_add(1);
            return (question, place);
        }
        let earlier = lane.under_way.as_ref();
        let earlier = earlier.and_then(|open| open.question.upgrade());
        let id = lane.next_id;
        lane.next_id += 1;
        let leave = Leave {
            gather: self.clone(),
            subject,
            id,
        };
        let question = async move {
            if let Some(earlier) = earlier {
                earlier.await;
            }
            let wanted = leave.begin();
            ask(wanted).await
        };
        let question = question.boxed().shared();
        lane.gathering = question.downgrade().map(|question| Open {
            id,
            wanted: 1,
            question,
        });
        (question, 0)
    }

    fn part(&self, subject: &Subject) -> MutexGuard<'_, HashMap<Subject, Lane<T>, RandomState>> {
        let index = self.hasher.hash_one(subject) as usize % PARTS;
        // A panic under this lock leaves a lane whose question is gone, which is begun anew.
        let part = self.parts[index].lock();
        part.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Lane<T> {
    fn new() -> Self {
        Self {
            under_way: None,
            gathering: None,
            next_id: 0,
        }
    }
}

/// Takes a question out of its lane when it is answered, or when all who waited for it have
/// left. Never dropped under a lock: only those who wait hold the question, and a lane's weak
/// hold on it is made strong for nobody but them.
struct Leave<T: Clone + Send + Sync + 'static> {
    gather: Arc<Gather<T>>,
    subject: Subject,
    id: u64,
}

impl<T: Clone + Send + Sync + 'static> Leave<T> {
    /// Nobody joins any more. Says how many did.
    fn begin(&self) -> u32 {
        let mut part = self.gather.part(&self.subject);
        let Some(lane) = part.get_mut(&self.subject) else {
            return 1;
        };
        lane.under_way = lane.gathering.take();
        lane.under_way.as_ref().map_or(1, |open| open.wanted)
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Leave<T> {
    fn drop(&mut self) {
        let mut part = self.gather.part(&self.subject);
        let Some(lane) = part.get_mut(&self.subject) else {
            return;
        };
        for open in [&mut lane.under_way, &mut lane.gathering] {
            open.take_if(|open| open.id == self.id);
        }
        if lane.under_way.is_none() && lane.gathering.is_none() {
            part.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::net::Ipv4Addr;
    use tokio::sync::watch;

    fn subject() -> Subject {
        Subject::address(Ipv4Addr::LOCALHOST.into())
    }

    fn is_empty(gather: &Gather<u32>) -> bool {
        let mut parts = gather.parts.iter();
        parts.all(|part| part.lock().expect("no panics").is_empty())
    }

    /// Answers with how many asked, when it is opened.
    async fn gated(gate: watch::Receiver<bool>, wanted: u32) -> u32 {
        let mut gate = gate;
        let _ = gate.wait_for(|open| *open).await;
        wanted
    }

    #[tokio::test]
    async fn those_who_come_while_one_is_under_way_ask_together_next() {
        let gather = Arc::<Gather<u32>>::default();
        let (open, gate) = watch::channel(false);
        let ask = || {
            let (gather, gate) = (gather.clone(), gate.clone());
            Box::pin(async move { gather.ask(subject(), |wanted| gated(gate, wanted)).await })
        };
        let mut first = ask();
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut others: Vec<_> = (0..5).map(|_| ask()).collect();
        for other in &mut others {
            assert!(futures_util::poll!(other).is_pending());
        }
        open.send_replace(true);
        let others = join_all(others).await;
        assert_eq!(first.await, (1, 0));
        assert_eq!(others, (0..5).map(|place| (5, place)).collect::<Vec<_>>());
        assert!(is_empty(&gather));
    }

    #[tokio::test]
    async fn who_leaves_takes_nobody_along_and_nothing_stays_behind() {
        let gather = Arc::<Gather<u32>>::default();
        let (open, gate) = watch::channel(false);
        let ask = || {
            let (gather, gate) = (gather.clone(), gate.clone());
            Box::pin(async move { gather.ask(subject(), |wanted| gated(gate, wanted)).await })
        };
        let (mut first, mut second, mut third) = (ask(), ask(), ask());
        for asked in [&mut first, &mut second, &mut third] {
            assert!(futures_util::poll!(asked).is_pending());
        }
        drop((first, second));
        open.send_replace(true);
        assert_eq!(third.await, (2, 1), "the one that left has asked");
        assert!(is_empty(&gather));
        open.send_replace(false);
        let (mut first, mut second) = (ask(), ask());
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        drop(first);
        assert!(is_empty(&gather), "all have left");
    }
}
