//! Judges a history of reads and writes: was any answer older than it may be?
//!
//! It is told of each operation as it goes by, with the moments at which it was invoked and
//! returned, all on one monotonic clock, and keeps of each row only what the next judgement needs;
//! so a run of any length fits into memory. It knows nothing of what is being driven.
//!
//! # The rule
//!
//! A row goes through *states* in an order that its database gives it: versions, and absences
//! between them. A state is *known* from the earliest of: its write's return, a later write's
//! return, a read that returned it. A read that was invoked more than Δ after a state was known,
//! is not marked stale, and shows an older one, is a violation. So is an answer that is older than
//! its own reported age says, marked or not; one that does not reflect a write whose token it was
//! shown; a value that was rolled back or that does not belong to its version; and an acknowledged
//! write that is missing from the database in the end. A system that always asks its database
//! would pass all of that, so that the share served from a cache is judged too.
//!
//! # Doubt is on the reader's side
//!
//! A write whose outcome is unknown may have happened at any time from its invocation on, or
//! never: it makes its state *possible* and nothing known. What a list or an absence shows may be
//! one of several states; the newest possible one is taken.
//!
//! In reading order: [`State`], [`Seen`] and [`Read`] (what is observed), `register.rs` (one row's
//! states, and the rule), [`Violation`], [`Tally`].

mod register;
mod tally;
#[cfg(test)]
mod tests;
mod violation;

pub use tally::Tally;
pub use violation::{Kind, Violation};

use register::Register;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time on the run's one monotonic clock, since its start.
pub type Moment = Duration;

/// Violations that are kept with their histories; more are only counted.
const KEPT: usize = 20;

/// A row that is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Place(usize);

/// Where a row is: in one of the collections that lists show, or nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Collection(pub u16);

/// The collection of a row that does not exist.
pub const NOWHERE: Collection = Collection(0);

/// A state of a row. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State(u64);

impl State {
    /// Before anything was written.
    pub const NEVER: Self = Self(0);

    /// The row in this version.
    pub fn version(version: u64) -> Self {
        Self(version * 2)
    }

    /// The absence that began when the row of this version was deleted.
    pub fn deleted(last: u64) -> Self {
        Self(last * 2 + 1)
    }

    fn is_absence(self) -> bool {
        self.0 % 2 == 1 || self == Self::NEVER
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.is_absence()) {
            (Self::NEVER, _) => f.write_str("never there"),
            (_, true) => write!(f, "deleted at version {}", self.0 / 2),
            (_, false) => write!(f, "version {}", self.0 / 2),
        }
    }
}

/// What a value says about the write that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// It says nothing.
    Silent,
    /// It was written as this version.
    Of(u64),
    /// It was written by a transaction that was rolled back.
    Aborted,
}

/// What an answer shows of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// The row.
    Row {
        /// Its version.
        version: u64,
        /// Where it is.
        collection: Collection,
        /// What its value says.
        content: Content,
    },
    /// There is no such row.
    Absent,
    /// The row is not in this collection.
    Outside(Collection),
}

/// Where an answer came from, as it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The memory of the process.
    L1,
    /// The shared tier.
    L2,
    /// The database.
    Database,
    /// The last value there was, marked as such.
    Stale,
    /// It does not say.
    Unsaid,
}

/// An answer, but for what it shows.
#[derive(Clone, Debug)]
pub struct Read {
    /// What was asked, for reports.
    pub what: &'static str,
    /// Who asked.
    pub session: u32,
    /// Which process answered.
    pub process: u16,
    /// When it was asked for.
    pub invoked: Moment,
    /// When it came.
    pub returned: Moment,
    /// Where it came from.
    pub origin: Origin,
    /// How old it says that it can be.
    pub age: Option<Duration>,
    /// The writes whose tokens it was shown.
    pub shown: Vec<(Place, State)>,
}

/// The judge. Operations may be told from many threads.
#[derive(Debug)]
pub struct History {
    bound: Duration,
    rows: Vec<Mutex<Register>>,
    tally: Mutex<Tally>,
    violations: Mutex<Vec<Violation>>,
}

impl History {
    /// Of these rows, none of which exists, under this Δ. Places are in the order of the names.
    pub fn new(bound: Duration, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let row = |name: String| Mutex::new(Register::new(name));
        Self {
            bound,
            rows: names.into_iter().map(|name| row(name.into())).collect(),
            tally: Mutex::default(),
            violations: Mutex::default(),
        }
    }

    /// The place of the row with this number.
    pub fn place(&self, number: usize) -> Place {
        assert!(number < self.rows.len(), "there is no row {number}");
        Place(number)
    }

    /// A write begins that brings the row into this state, if it succeeds. Must be told before it
    /// is invoked.
    pub fn attempt(&self, place: Place, at: Moment, state: State, collection: Collection) {
        self.row(place).attempt(at, state, collection);
    }

    /// A write has returned, and was acknowledged.
    pub fn wrote(
        &self,
        place: Place,
        invoked: Moment,
        returned: Moment,
        wrote: (State, Collection),
    ) {
        lock(&self.tally).writes += 1;
        let (state, collection) = wrote;
        self.row(place).wrote(invoked, returned, state, collection);
    }

    /// A read has returned, and shows this of these rows. Returns by how long it was behind.
    pub fn read(&self, read: &Read, facts: &[(Place, Seen)]) -> Duration {
        let mut behind = Duration::ZERO;
        let mut broken = Vec::new();
        for &(place, seen) in facts {
            let mut row = self.row(place);
            let shown = read.shown.iter().filter(|(of, _)| *of == place);
            let shown = shown.map(|(_, state)| *state).max();
            let verdict = row.judge(self.bound, read, seen, shown);
            behind = behind.max(verdict.behind);
            broken.extend(
                verdict
                    .broken
                    .map(|kind| row.report(kind, read, seen, &verdict)),
            );
        }
        lock(&self.tally).read(read.origin, facts.len(), behind, broken.len());
        self.note(broken);
        behind
    }

    /// What the database holds at the end, read from it directly when nothing writes any more:
    /// nothing that was acknowledged is missing. From now on every answer must show exactly this.
    pub fn at_end(&self, place: Place, at: Moment, held: Option<(u64, Collection)>) {
        let lost = self.row(place).at_end(at, held);
        if let Some(violation) = lost {
            lock(&self.tally).violations += 1;
            self.note([violation]);
        }
    }

    /// Whether at least this share of what was read came from a cache.
    pub fn require_share(&self, tally: &Tally, least: f64) {
        if tally.reads > 0 && tally.share_cached() < least {
            lock(&self.tally).violations += 1;
            self.note([Violation::of_share(tally, least)]);
        }
    }

    /// What was counted since it was last taken.
    pub fn take_tally(&self) -> Tally {
        std::mem::take(&mut *lock(&self.tally))
    }

    /// The violations found so far, with their histories; the first ones of them.
    pub fn violations(&self) -> Vec<Violation> {
        lock(&self.violations).clone()
    }

    fn note(&self, found: impl IntoIterator<Item = Violation>) {
        let mut kept = lock(&self.violations);
        for violation in found {
            if kept.len() < KEPT {
                kept.push(violation);
            }
        }
    }

    fn row(&self, place: Place) -> MutexGuard<'_, Register> {
        lock(&self.rows[place.0])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves a history that is judged as far as it goes.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
