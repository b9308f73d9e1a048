//! What all sources and keyspaces of one process share: the remote tier, the clock, the tasks.

use crate::behind::{Behind, Places};
use crate::clock::Clock;
use crate::codec::{SealKey, Sealed};
use crate::memo::Memo;
use crate::remote::Remote;
use crate::remote::guard::{Guard, Limits};
use crate::source::SourceBuilder;
use crate::tiers::Tiers;
use crate::trace::Tracing;
use crate::watch::{Events, Watcher};
use std::future::Future;
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One process's cache. Clones are handles to the same one.
#[derive(Clone)]
pub struct Larder(Arc<Core>);

pub(crate) struct Core {
    pub(crate) remote: Guard,
    pub(crate) clock: Clock,
    pub(crate) seal: Option<SealKey>,
    pub(crate) tiers: Tiers,
    pub(crate) tracing: Tracing,
    /// A random number that tells this process's hints from others'.
    pub(crate) id: u64,
    namespace: String,
    drawn: AtomicU64,
    seed: std::hash::RandomState,
    pub(crate) events: Arc<Events>,
    behind: Places,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Makes a [`Larder`].
pub struct Builder {
    remote: Arc<dyn Remote>,
    limits: Limits,
    clock: Clock,
    seal: Option<SealKey>,
    tiers: Tiers,
    tracing: Tracing,
    namespace: String,
}

impl Larder {
    /// Begins a larder over this remote tier.
    pub fn builder(remote: Arc<dyn Remote>) -> Builder {
        Builder {
            remote,
            limits: Limits::default(),
            clock: Clock::machine(),
            seal: None,
            tiers: Tiers::default(),
            tracing: Tracing::default(),
            namespace: "larder".into(),
        }
    }

    /// Begins a source; its name is the same in every process.
    pub fn source(&self, name: &str) -> SourceBuilder {
        SourceBuilder::new(self.0.clone(), name.to_owned())
    }

    /// Begins a memo: what was made of cached answers, kept for as long as they hold.
    pub fn memo<K: Eq + Hash + Send + Sync + 'static, R: Send + Sync + 'static>(
        &self,
        capacity_bytes: u64,
    ) -> Memo<K, R> {
        Memo::new(self.0.clock.clone(), self.0.tiers.memory_of(capacity_bytes))
    }

    /// Which tiers this process uses.
    pub fn tiers(&self) -> Tiers {
        self.0.tiers
    }

    /// A random number that tells this process from all others.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The remote tier, as this process uses it: with its timeout and its breaker.
    pub fn remote(&self) -> &Guard {
        &self.0.remote
    }

    /// How many entries, and how many hints, its seal key has refused; none where there is no key.
    pub fn seal_refusals(&self) -> (u64, u64) {
        let refused = |kind| self.0.seal.as_ref().map_or(0, |key| key.refused(kind));
        (refused(Sealed::Entry), refused(Sealed::Hint))
    }

    /// Sees what goes on in this process's caches, from now on.
    pub fn watch(&self) -> Watcher {
        self.0.events.watch()
    }

    /// Whether nothing is being renewed or stored behind an answer just now.
    pub fn is_settled(&self) -> bool {
        self.0.behind.are_free()
    }

    /// Ends the tasks and waits for them, at most `limit`. Reads still work; nothing is proven
    /// any more, so from Δ on they go to the source.
    pub async fn close(&self, limit: Duration) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(limit, self.0.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(?limit, "the cache's tasks did not end in time");
        }
    }
}

impl Builder {
    /// The timeout and the breaker in front of the remote tier.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where time comes from; the machine's clock by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Seals values and hints with a secret, so that whoever can write to the remote tier cannot
    /// plant an answer. Every process needs the same one.
    pub fn seal(mut self, key: SealKey) -> Self {
        self.seal = Some(key.anew());
        self
    }

    /// Which tiers are used; both by default.
    pub fn tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = tiers;
        self
    }

    /// Who knows where in a trace the process is, so that hints say it; by default nobody.
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// What all names in the remote tier begin with, `larder` by default: two clusters can share
    /// one remote tier.
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The larder.
    pub fn build(self) -> Larder {
        Larder(Arc::new(Core {
            remote: Guard::with_clock(self.remote, self.limits, self.clock.clone()),
            clock: self.clock,
            seal: self.seal,
            tiers: self.tiers,
            tracing: self.tracing,
            id: random(),
            drawn: AtomicU64::new(0),
            seed: std::hash::RandomState::new(),
            events: Arc::default(),
            namespace: self.namespace,
            behind: Places::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }
}

impl Core {
    /// A name in the remote tier.
    pub(crate) fn name(&self, parts: &[&str]) -> String {
        let mut name = self.namespace.clone();
        for part in parts {
            name.push(':');
            name.push_str(part);
        }
        name
    }

    /// Runs a task until it ends or the larder is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();

        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Runs work that an answer does not wait for, unless too much of its kind is under way.
    pub(crate) fn spawn_behind(
        &self,
        kind: Behind,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        // A flight may be dropped with its runtime, where nothing can be run any more.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let Some(place) = self.behind.take(kind) else {
            return;
        };
        let task = async move {
            task.await;
            drop(place);
        };
        match kind {
            Behind::Load | Behind::Store => self.spawn(task),
            // Also of a load that is ended with the larder, which waits for it; others would wait
            // for who is no more.
            // Test: `a_larder_that_is_closed_gives_its_locks_back`.
            Behind::Unlock => drop(self.tasks.spawn(task)),
        }
    }

    /// A number like no other of this process's or another's: spreads expiries, and tells the
    /// owners of locks apart.
    pub(crate) fn draw(&self) -> u64 {
        self.seed
            .hash_one(self.drawn.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn wall_micros(&self) -> u64 {
        u64::try_from(self.clock.wall().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall_millis(&self) -> u64 {
        self.wall_micros() / 1000
    }
}

/// A random number; where the machine has none to give, a poorer one does, since it only tells
/// processes apart.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| std::hash::RandomState::new().hash_one(0u8))
}
