//! What goes on, as it happens, for whoever watches. Nobody does, most of the time: then an event
//! costs one relaxed load, and is not even made.

use crate::check::Tier;
use crate::entry::Value;
use crate::key::{Key, Tag};
use crate::keyspace::Inner;
use crate::larder::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that a slow watcher may be behind before it loses the oldest.
const BACKLOG: usize = 1024;
/// Tags or keys that one event tells of; the others are counted.
const MOST_TOLD: usize = 64;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, by the wall clock, since 1970.
    pub at: Duration,
    /// The source that it concerns.
    pub source: Arc<str>,
    /// The keyspace, where it concerns one.
    pub keyspace: Option<Arc<str>>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Tags moved.
    Moved {
        /// The first of them.
        tags: Vec<Tag>,
        /// How many they are.
        count: usize,
        /// Who told.
        by: Mover,
    },
    /// The loader was called.
    Loaded {
        /// The first of the keys.
        keys: Vec<String>,
        /// How many they are.
        count: usize,
        /// How long it took.
        took: Duration,
        /// There is no value.
        failed: bool,
    },
    /// An entry left memory for room.
    Evicted {
        /// Its key.
        key: String,
    },
    /// Lines of the journal may have been dropped before they were seen.
    Gap,
    /// Nothing is proven for now, or proofs go on.
    Proof {
        /// Which of the two.
        goes_on: bool,
    },
    /// The source is left alone, or asked again.
    Breaker {
        /// Which of the two.
        open: bool,
    },
    /// A copy would have been served and was wrong.
    Inconsistent {
        /// Its key.
        key: String,
        /// Where it was.
        tier: Tier,
    },
}

/// By whom tags were moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mover {
    /// A write of this process.
    Own,
    /// A message of another process.
    Hint,
    /// The journal.
    Round,
}

impl Mover {
    /// The word for it in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Hint => "hint",
            Self::Round => "round",
        }
    }
}

impl What {
    pub(crate) fn moved(tags: impl ExactSizeIterator<Item = Tag>, by: Mover) -> Self {
        Self::Moved {
            count: tags.len(),
            tags: tags.take(MOST_TOLD).collect(),
            by,
        }
    }

    pub(crate) fn loaded<K: Key, V: Value>(keys: &[K], took: Duration, failed: bool) -> Self {
        Self::Loaded {
            count: keys.len(),
            keys: keys
                .iter()
                .take(MOST_TOLD)
                .map(Inner::<K, V>::text)
                .collect(),
            took,
            failed,
        }
    }
}

/// Where events go.
pub(crate) struct Events {
    watchers: AtomicUsize,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            watchers: AtomicUsize::new(0),
            sender: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Events {
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.watchers.load(Ordering::Relaxed) > 0 {
            // An error says that the last watcher has just left.
            let _ = self.sender.send(Arc::new(event()));
        }
    }

    pub(crate) fn watch(self: &Arc<Self>) -> Watcher {
        let receiver = self.sender.subscribe();
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher {
            events: self.clone(),
            receiver,
        }
    }
}

/// Sees what happens from its making on.
pub struct Watcher {
    events: Arc<Events>,
    receiver: broadcast::Receiver<Arc<Event>>,
}

/// What a watcher sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// An event.
    Event(Arc<Event>),
    /// So many were lost, because this watcher was slow.
    Lost(u64),
}

impl Watcher {
    /// The next event, once there is one. Cancel-safe. `None` does not come while the watcher is
    /// held.
    pub async fn next(&mut self) -> Option<Seen> {
        match self.receiver.recv().await {
            Ok(event) => Some(Seen::Event(event)),
            Err(RecvError::Lagged(lost)) => Some(Seen::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<Seen> {
        use broadcast::error::TryRecvError;
        match self.receiver.try_recv() {
            Ok(event) => Some(Seen::Event(event)),
            Err(TryRecvError::Lagged(lost)) => Some(Seen::Lost(lost)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.events.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Core {
    #[inline]
    pub(crate) fn tell_watchers(
        &self,
        source: &Arc<str>,
        keyspace: Option<&Arc<str>>,
        what: impl FnOnce() -> What,
    ) {
        self.events.tell(|| Event {
            at: self.clock.wall(),
            source: source.clone(),
            keyspace: keyspace.cloned(),
            what: what(),
        });
    }
}

impl<K: Key, V: Value> Inner<K, V> {
    #[inline]
    pub(crate) fn tell_watchers(&self, what: impl FnOnce() -> What) {
        let source = self.source();
        source
            .core
            .tell_watchers(&source.name, Some(&self.name), what);
    }
}
