//! The way out to one subscriber: bounded, and honest about what it dropped.

use super::Event;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc::{self, OwnedPermit};

/// Events that a subscriber may lag behind before messages are dropped.
pub(super) const CAPACITY: usize = 1024;

/// One subscriber, as the side that delivers sees it.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether messages reach us.
    linked: bool,
    /// There while the subscriber was last told `Up`: room for the `Down` that must follow.
    ///
    /// Invariant: who was told `Up` can always be told `Down`, however full its queue is.
    down: Option<OwnedPermit<Event>>,
    /// A task waits for room to say `Up`.
    waiting: bool,
}

impl Outlet {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (
            Arc::new(Self {
                sender,
                state: Mutex::default(),
            }),
            receiver,
        )
    }

    /// Whether nobody listens any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Says whether messages reach us from now on.
    pub(super) fn link(self: &Arc<Self>, linked: bool) {
        let mut state = self.state();
        state.linked = linked;
        if linked {
            self.say_up(&mut state);
        } else {
            say_down(&mut state);
        }
    }

    /// Passes a message on, unless the subscriber knows that it misses some.
    pub(super) fn send(self: &Arc<Self>, message: Bytes) {
        let mut state = self.state();
        if state.down.is_some() && self.sender.try_send(Event::Message(message)).is_err() {
            say_down(&mut state);
        }
        self.say_up(&mut state);
    }

    /// Says `Up` where it is due, as soon as there is room for it and for the next `Down`.
    fn say_up(self: &Arc<Self>, state: &mut State) {
        if !state.linked || state.down.is_some() || state.waiting || self.is_closed() {
            return;
        }
        let room = || self.sender.clone().try_reserve_owned().ok();
        if let (Some(up), Some(down)) = (room(), room()) {
            up.send(Event::Up);
            state.down = Some(down);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            state.waiting = true;
            runtime.spawn(wait_for_room(Arc::downgrade(self), self.sender.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each of the steps above leaves a state that is true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn say_down(state: &mut State) {
    if let Some(down) = state.down.take() {
        down.send(Event::Down);
    }
}

/// Ends when there is room or the subscriber is gone. Half of the queue must be free, so that one
/// who is always slow is not told `Up` and `Down` in turns for every message.
async fn wait_for_room(outlet: Weak<Outlet>, sender: mpsc::Sender<Event>) {
    let _ = sender.reserve_many(CAPACITY / 2).await.map(drop);
    if let Some(outlet) = outlet.upgrade() {
        let mut state = outlet.state();
        state.waiting = false;
        outlet.say_up(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    async fn next(events: &mut mpsc::Receiver<Event>) -> Option<Event> {
        let deadline = std::time::Duration::from_secs(20);
        tokio::time::timeout(deadline, events.recv())
            .await
            .expect("an event is due")
    }

    #[tokio::test]
    async fn a_full_queue_ends_with_down_and_goes_on_with_up() {
        let (outlet, mut events) = Outlet::new();
        outlet.link(true);
        for number in 0..2 * CAPACITY {
            outlet.send(message(number));
        }
        assert_eq!(next(&mut events).await, Some(Event::Up));
        for number in 0..CAPACITY - 2 {
            assert_eq!(
                next(&mut events).await,
                Some(Event::Message(message(number)))
            );
        }
        assert_eq!(next(&mut events).await, Some(Event::Down));
        assert_eq!(next(&mut events).await, Some(Event::Up));
        outlet.send(message(7));
        assert_eq!(next(&mut events).await, Some(Event::Message(message(7))));
    }

    #[tokio::test]
    async fn a_link_that_breaks_while_the_queue_is_full_is_still_told() {
        let (outlet, mut events) = Outlet::new();
        outlet.link(true);
        for number in 0..CAPACITY - 2 {
            outlet.send(message(number));
        }
        outlet.link(false);
        let mut last = None;
        while let Ok(event) = events.try_recv() {
            last = Some(event);
        }
        assert_eq!(last, Some(Event::Down));
    }

    #[tokio::test]
    async fn nothing_is_delivered_between_down_and_up() {
        let (outlet, mut events) = Outlet::new();
        outlet.send(message(1));
        outlet.link(true);
        outlet.link(false);
        outlet.send(message(2));
        outlet.link(true);
        let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert_eq!(told, [Event::Up, Event::Down, Event::Up]);
    }
}
