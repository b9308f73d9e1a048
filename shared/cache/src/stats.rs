//! Counters: striped atomics, written on the hot path and read by whoever exports them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How a read ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answered from this process's memory.
    L1,
    /// Answered from the remote tier.
    L2,
    /// Answered by a load of its own.
    Load,
    /// Answered by a flight that another read had begun.
    Joined,
    /// Answered with a copy that the rule refuses, marked as such.
    Stale,
    /// Turned away because too many loads were under way.
    Refused,
    /// Failed.
    Error,
}

/// Why memory did not answer, or why the remote tier's value was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// Nothing in memory, nor lately.
    Cold,
    /// Nothing in memory any more: it left for room.
    Evicted,
    /// Something it depends on moved, and its label could not rescue it.
    Moved,
    /// The last proof was older than Δ.
    Unproven,
    /// Its hard TTL was over.
    Expired,
    /// It could not be shown to reflect a write that the caller named.
    Token,
    /// The caller wanted the source.
    Strong,
    /// Nothing in the remote tier.
    RemoteCold,
    /// The remote tier's value had a label that shows too little.
    RemoteLabel,
    /// The remote tier's value was of another epoch.
    RemoteEpoch,
    /// The remote tier's value could not be judged: no coverage, or none within Δ.
    RemoteUnproven,
    /// The remote tier's value had expired.
    RemoteExpired,
    /// The remote tier's value was corrupt, cut or foreign.
    RemoteCorrupt,
    /// The remote tier did not answer.
    RemoteFailed,
}

/// Why an entry left memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evicted {
    /// For room.
    Size,
    /// A newer value took its place.
    Replaced,
    /// It was removed by name.
    Removed,
    /// For age.
    Expired,
}

macro_rules! names {
    ($type:ty, $all:ident, [$($variant:ident = $name:literal),* $(,)?]) => {
        /// Every value, in the order of its counters.
        pub const $all: &[$type] = &[$(<$type>::$variant),*];
        impl $type {
            /// The word for it in metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

impl Miss {
    /// Whether it says why memory did not answer; the others say it of the remote tier.
    pub fn is_local(self) -> bool {
        match self {
            Self::Cold | Self::Evicted | Self::Moved | Self::Unproven => true,
            Self::Expired | Self::Token | Self::Strong => true,
            Self::RemoteCold | Self::RemoteLabel | Self::RemoteEpoch => false,
            Self::RemoteUnproven | Self::RemoteExpired => false,
            Self::RemoteCorrupt | Self::RemoteFailed => false,
        }
    }
}

names!(
    Outcome,
    OUTCOMES,
    [
        L1 = "l1",
        L2 = "l2",
        Load = "load",
        Joined = "joined",
        Stale = "stale",
        Refused = "refused",
        Error = "error",
    ]
);
names!(
    Miss,
    MISSES,
    [
        Cold = "cold",
        Evicted = "evicted",
        Moved = "moved",
        Unproven = "unproven",
        Expired = "expired",
        Token = "token",
        Strong = "strong",
        RemoteCold = "remote_cold",
        RemoteLabel = "remote_label",
        RemoteEpoch = "remote_epoch",
        RemoteUnproven = "remote_unproven",
        RemoteExpired = "remote_expired",
        RemoteCorrupt = "remote_corrupt",
        RemoteFailed = "remote_failed",
    ]
);
names!(
    Evicted,
    EVICTIONS,
    [
        Size = "size",
        Replaced = "replaced",
        Removed = "removed",
        Expired = "expired",
    ]
);

/// Upper bounds of the buckets of load times, in seconds; one more bucket holds the rest.
pub const LOAD_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

const STRIPES: usize = 8;

/// One thread's share of the counters, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    outcomes: [AtomicU64; 7],
    misses: [AtomicU64; 14],
    evictions: [AtomicU64; 4],
    rescues: AtomicU64,
    loads: [AtomicU64; LOAD_BUCKETS.len() + 1],
    load_nanos: AtomicU64,
    load_errors: AtomicU64,
}

/// The counters of one keyspace.
#[derive(Default)]
pub(crate) struct Counters([Stripe; STRIPES], Exemplars);

/// A load whose trace is recorded.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// How long it took.
    pub took: Duration,
    /// Its trace's id.
    pub trace: [u8; 16],
    /// When it ended.
    pub at: SystemTime,
}

/// The newest of each bucket.
#[derive(Default)]
struct Exemplars(Mutex<[Option<Exemplar>; LOAD_BUCKETS.len() + 1]>);

impl Exemplars {
    fn read(&self) -> Vec<Exemplar> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().flatten().cloned().collect()
    }
}

thread_local! {
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Counters {
    #[inline]
    pub(crate) fn read(&self, outcome: Outcome) {
        add(&self.stripe().outcomes[outcome as usize], 1);
    }

    pub(crate) fn miss(&self, miss: Miss) {
        add(&self.stripe().misses[miss as usize], 1);
    }

    pub(crate) fn evicted(&self, cause: Evicted) {
        add(&self.stripe().evictions[cause as usize], 1);
    }

    pub(crate) fn rescued(&self) {
        add(&self.stripe().rescues, 1);
    }

    pub(crate) fn loaded(&self, took: Duration, failed: bool) {
        let stripe = self.stripe();
        add(&stripe.loads[bucket(took)], 1);
        add(
            &stripe.load_nanos,
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        );
        add(&stripe.load_errors, u64::from(failed));
    }

    /// The load that was counted last was part of this trace.
    pub(crate) fn traced(&self, took: Duration, trace: [u8; 16]) {
        let at = SystemTime::now();
        let mut known = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        known[bucket(took)] = Some(Exemplar { took, trace, at });
    }

    #[inline]
    fn stripe(&self) -> &Stripe {
        &self.0[STRIPE.with(|stripe| *stripe)]
    }

    fn sum(&self, counter: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.0
            .iter()
            .map(|stripe| counter(stripe).load(Ordering::Relaxed))
            .sum()
    }

    /// All counters as they are now; they do not stand still while they are read.
    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            outcomes: std::array::from_fn(|index| self.sum(|stripe| &stripe.outcomes[index])),
            misses: std::array::from_fn(|index| self.sum(|stripe| &stripe.misses[index])),
            evictions: std::array::from_fn(|index| self.sum(|stripe| &stripe.evictions[index])),
            rescues: self.sum(|stripe| &stripe.rescues),
            load_buckets: std::array::from_fn(|index| self.sum(|stripe| &stripe.loads[index])),
            load_time: Duration::from_nanos(self.sum(|stripe| &stripe.load_nanos)),
            load_errors: self.sum(|stripe| &stripe.load_errors),
            load_exemplars: self.1.read(),
            entries: 0,
            bytes: 0,
        }
    }
}

/// In which of the buckets a load of this length is.
fn bucket(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    let bucket = LOAD_BUCKETS.iter().position(|&bound| seconds <= bound);
    bucket.unwrap_or(LOAD_BUCKETS.len())
}

#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The counters of one keyspace at one moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    outcomes: [u64; 7],
    misses: [u64; 14],
    evictions: [u64; 4],
    /// Entries that moved and whose label showed that they reflect what moved them.
    pub rescues: u64,
    /// Batches loaded, by how long they took: see [`LOAD_BUCKETS`].
    pub load_buckets: [u64; LOAD_BUCKETS.len() + 1],
    /// How long all loads took together.
    pub load_time: Duration,
    /// How many of them failed.
    pub load_errors: u64,
    /// Some loads whose traces are recorded: the newest of each bucket.
    pub load_exemplars: Vec<Exemplar>,
    /// Entries in memory, roughly: the local tier settles its books in batches.
    pub entries: u64,
    /// Their weight in bytes, as roughly.
    pub bytes: u64,
}

impl Stats {
    /// Reads that ended so.
    pub fn reads(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Misses of this kind.
    pub fn misses(&self, miss: Miss) -> u64 {
        self.misses[miss as usize]
    }

    /// Entries that left memory for this reason.
    pub fn evictions(&self, cause: Evicted) -> u64 {
        self.evictions[cause as usize]
    }

    /// Loads: one for each call of the loader.
    pub fn loads(&self) -> u64 {
        self.load_buckets.iter().sum()
    }
}

/// The counters of one source.
#[derive(Default)]
pub(crate) struct SourceCounters {
    pub(crate) rounds: AtomicU64,
    pub(crate) round_errors: AtomicU64,
    pub(crate) round_lines: AtomicU64,
    pub(crate) round_sizes: [AtomicU64; ROUND_BUCKETS.len() + 1],
    pub(crate) gaps: AtomicU64,
    pub(crate) hints_applied: AtomicU64,
    pub(crate) hints_known: AtomicU64,
    pub(crate) hints_foreign: AtomicU64,
    pub(crate) hints_malformed: AtomicU64,
    pub(crate) hints_lost: AtomicU64,
    pub(crate) moved_own: AtomicU64,
    pub(crate) moved_hint: AtomicU64,
    pub(crate) moved_round: AtomicU64,
}

impl SourceCounters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        add(counter, count as u64);
    }

    /// Counts a round of so many lines.
    pub(crate) fn round(&self, lines: usize) {
        let bucket = ROUND_BUCKETS
            .iter()
            .position(|&bound| lines as f64 <= bound);
        add(&self.round_sizes[bucket.unwrap_or(ROUND_BUCKETS.len())], 1);
        add(&self.rounds, 1);
        Self::add(&self.round_lines, lines);
        Self::add(&self.moved_round, lines);
    }
}

/// The counters of one source at one moment.
#[derive(Clone, Debug, Default)]
pub struct SourceStats {
    /// Rounds taken.
    pub rounds: u64,
    /// Rounds that could not be had, or not be used.
    pub round_errors: u64,
    /// Lines in them.
    pub round_lines: u64,
    /// Rounds by how many lines they had: see [`ROUND_BUCKETS`].
    pub round_sizes: [u64; ROUND_BUCKETS.len() + 1],
    /// Times that lines may have been dropped before they were seen.
    pub gaps: u64,
    /// Hints whose tags moved.
    pub hints_applied: u64,
    /// Hints that brought nothing new.
    pub hints_known: u64,
    /// Hints of another epoch.
    pub hints_foreign: u64,
    /// Messages that were no hints.
    pub hints_malformed: u64,
    /// Hints that could not be published.
    pub hints_lost: u64,
    /// Tags moved by this process's own writes.
    pub moved_own: u64,
    /// Tags moved by hints.
    pub moved_hint: u64,
    /// Tags moved by rounds.
    pub moved_round: u64,
    /// How long ago the last proof was; `None` before the first, and for a source without a feed.
    pub proven_age: Option<Duration>,
    /// How long the oldest open transaction that wrote before others did has been seen; `None` where
    /// there is none, and for a source without a feed. What it may still commit keeps labels from
    /// being shown to be new enough.
    pub oldest_writer: Option<Duration>,
    /// How long hints took from their sender to here, by the wall clocks of both: see
    /// [`PROPAGATION_BUCKETS`].
    pub propagation: [u64; PROPAGATION_BUCKETS.len() + 1],
    /// The sum of those times.
    pub propagation_time: Duration,
}

/// Upper bounds of the buckets of the sizes of rounds, in lines; one more holds the rest.
pub const ROUND_BUCKETS: [f64; 9] = [0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 100.0, 1000.0, 10_000.0];

/// Upper bounds of the buckets of propagation times, in seconds; one more holds the rest.
pub const PROPAGATION_BUCKETS: [f64; 11] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0,
];

/// How long hints took to arrive.
#[derive(Default)]
pub(crate) struct Propagation {
    buckets: [AtomicU64; PROPAGATION_BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Propagation {
    pub(crate) fn note(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = PROPAGATION_BUCKETS
            .iter()
            .position(|&bound| seconds <= bound);
        add(
            &self.buckets[bucket.unwrap_or(PROPAGATION_BUCKETS.len())],
            1,
        );
        add(
            &self.micros,
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
    }

    pub(crate) fn read(&self, stats: &mut SourceStats) {
        stats.propagation = std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed));
        stats.propagation_time = Duration::from_micros(self.micros.load(Ordering::Relaxed));
    }
}

impl SourceCounters {
    pub(crate) fn snapshot(&self, proven_age: Option<Duration>) -> SourceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SourceStats {
            rounds: read(&self.rounds),
            round_errors: read(&self.round_errors),
            round_lines: read(&self.round_lines),
            round_sizes: std::array::from_fn(|n| read(&self.round_sizes[n])),
            gaps: read(&self.gaps),
            hints_applied: read(&self.hints_applied),
            hints_known: read(&self.hints_known),
            hints_foreign: read(&self.hints_foreign),
            hints_malformed: read(&self.hints_malformed),
            hints_lost: read(&self.hints_lost),
            moved_own: read(&self.moved_own),
            moved_hint: read(&self.moved_hint),
            moved_round: read(&self.moved_round),
            proven_age,
            ..SourceStats::default()
        }
    }
}
