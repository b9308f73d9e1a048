//! What one keyspace promises and may spend.

use std::time::Duration;

/// What a write does to the copies of what it wrote, beside moving them everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnWrite {
    /// Nothing: the next read loads.
    #[default]
    Evict,
    /// The writer reloads the value and stores it in the remote tier.
    Put,
    /// As `Put`, and a value of at most [`Policy::push_bytes`] travels with the hint into the
    /// memory of every process.
    Push,
}

/// Which entries leave when memory is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Eviction {
    /// The least recently used.
    #[default]
    Lru,
    /// The least frequently used, by a sketch of recent use (TinyLFU: Einziger, Friedman and
    /// Manes, 2017). Resists scans: keys that are read once and never again. Where interest moves
    /// on, and so on every trace of ours, [`Lru`](Self::Lru) hits more often. It counts reads from
    /// when half of the capacity is taken.
    TinyLfu,
}

/// The policy of one keyspace. Every field has a working default; durations of zero are refused
/// where they make no sense, when the keyspace is opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Δ: no cached answer is further behind its source than this. Default 1 s.
    pub max_staleness: Duration,
    /// After this, a copy is still served but renewed behind. Default 10 min.
    pub soft_ttl: Duration,
    /// After this, a copy is never served. Default 1 h.
    pub hard_ttl: Duration,
    /// The hard TTL of an absence. Default 1 min.
    pub absent_ttl: Duration,
    /// Every TTL is shortened by a random share of up to this, so that what was stored together
    /// does not expire together. Default 0.1.
    pub jitter: f64,
    /// Answer a soft-expired copy at once and renew it behind (stale-while-revalidate). Without
    /// it the caller waits for the renewal, up to `soft_deadline`. Default on.
    pub while_revalidate: bool,
    /// When the source is unreachable, answer the last value until its `hard_ttl`, marked stale with
    /// its age (stale-if-error). Default off.
    pub fail_safe: bool,
    /// What a write does. Default [`OnWrite::Evict`].
    pub on_write: OnWrite,
    /// The largest value that travels with a hint. Default 4 KiB.
    pub push_bytes: usize,
    /// How long a caller waits for a renewal before the soft-expired copy is its answer.
    /// Default 100 ms.
    pub soft_deadline: Duration,
    /// How long a load may take. Default 5 s.
    pub load_deadline: Duration,
    /// Whether a load that was begun is finished and kept also when everybody who waited for it has
    /// left, which is for loads that take longer than any one caller waits: the next one finds the
    /// value. It ends at `load_deadline` all the same, and is left to its callers where too much is
    /// under way behind answers already. Default off.
    pub finish_loads: bool,
    /// How long a load waits for its turn when as many are under way as the source bears. Then a
    /// fail-safe keyspace answers its last value, and any other `Error::Overloaded`. Default
    /// 250 ms.
    pub turn_wait: Duration,
    /// How long a process waits for another one's load of the same key before it loads itself;
    /// also the life of the lock, so what a dead owner costs. Default 2 s.
    pub lock_wait: Duration,
    /// The weight of all entries in this process's memory: keys, values, and what holds them.
    /// Default 64 MiB.
    pub capacity_bytes: u64,
    /// Which entries leave when it is full. Default [`Eviction::Lru`].
    pub eviction: Eviction,
    /// Values above are answered and not kept, in either tier. Default 1 MiB.
    pub largest_bytes: usize,
    /// Whether keys may be loaded from the source that nobody asked for, by the background check
    /// and by the warming of a start: not where a load is a heavy computation. Default on.
    pub sampled: bool,
    /// Values from here on are compressed in the remote tier. Default 4 KiB.
    pub compress_from_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_staleness: Duration::from_secs(1),
            soft_ttl: Duration::from_secs(600),
            hard_ttl: Duration::from_secs(3600),
            absent_ttl: Duration::from_secs(60),
            jitter: 0.1,
            while_revalidate: true,
            fail_safe: false,
            on_write: OnWrite::Evict,
            push_bytes: 4 << 10,
            soft_deadline: Duration::from_millis(100),
            load_deadline: Duration::from_secs(5),
            finish_loads: false,
            turn_wait: Duration::from_millis(250),
            lock_wait: Duration::from_secs(2),
            capacity_bytes: 64 << 20,
            eviction: Eviction::Lru,
            largest_bytes: 1 << 20,
            sampled: true,
            compress_from_bytes: 4 << 10,
        }
    }
}

/// A field of a policy that makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("policy field `{field}` {problem}")]
pub struct Invalid {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Policy {
    /// Says which field makes no sense, if one does.
    pub fn check(&self) -> Result<(), Invalid> {
        let zero = [
            ("hard_ttl", self.hard_ttl),
            ("absent_ttl", self.absent_ttl),
            ("load_deadline", self.load_deadline),
        ];
        let problem = |field, problem| Err(Invalid { field, problem });
        if let Some((field, _)) = zero.iter().find(|(_, span)| span.is_zero()) {
            return problem(*field, "must not be zero");
        }
        if self.soft_ttl > self.hard_ttl {
            return problem("soft_ttl", "must not exceed hard_ttl");
        }
        if !(0.0..1.0).contains(&self.jitter) {
            return problem("jitter", "must lie in 0.0..1.0");
        }
        if self.largest_bytes > u32::MAX as usize {
            return problem("largest_bytes", "must be below 4 GiB");
        }
        Ok(())
    }
}
