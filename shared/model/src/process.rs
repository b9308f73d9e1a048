//! One process of the model: the shipped ledger and memory, what it has under way, and what it
//! holds. Everything around the two is the smallest copy of what `cache.rs`, `fill.rs`,
//! `source.rs` and `tell.rs` of the cache do, in their order.

use crate::database::{Answered, Index, Moment, Set};
use crate::mutant::Mutant;
use crate::scenario::{KEYS, Scenario};
use larder::clock::Stamp;
use larder::digest::{Atomic, Cells, Ledger, Limits, Memory, Shape, Step};
use larder::feed::Coverage;
use larder::judge::Seq;
use larder::{Epoch, Label, Tag};
use smallvec::SmallVec;
use std::cell::Cell;
use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::atomic::Ordering;

/// A number that only one thread at a time sees.
#[derive(Clone)]
pub struct Plain(Cell<u64>);

impl From<u64> for Plain {
    fn from(number: u64) -> Self {
        Self(Cell::new(number))
    }
}

impl Atomic for Plain {
    fn load(&self, _: Ordering) -> u64 {
        self.0.get()
    }

    fn store(&self, number: u64, _: Ordering) {
        self.0.set(number);
    }

    fn fetch_max(&self, number: u64, _: Ordering) {
        self.0.set(self.0.get().max(number));
    }
}

/// A cached value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The transactions on its tags that it shows.
    pub value: Set,
    /// See the digest.
    pub captured: Seq,
    /// See the rule.
    pub loaded_at: Stamp,
    /// Its label's epoch.
    pub epoch: Epoch,
    /// Its label's `xmin`.
    pub xmin: u64,
    /// The cells of its tags; its keyspace's is the last.
    pub cells: Cells,
}

/// A load of this process's own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Load {
    /// Of which key.
    pub key: u8,
    /// Noted before the database is read.
    pub captured: Seq,
    /// Noted before the database is read.
    pub loaded_at: Stamp,
    /// What the database showed, once it was read.
    pub read_at: Option<Moment>,
    /// What the label says that was.
    pub labelled_at: Option<Moment>,
}

/// A round on its way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Poll {
    /// What the feed was asked for.
    pub since: Option<Coverage>,
    /// Noted before it was asked.
    pub asked_at: Stamp,
    /// What it said.
    pub answered: Option<Answered>,
}

/// What a reader wants.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Errand {
    /// The value in memory.
    Hit,
    /// The value that the remote tier, a standby or another service has.
    Take {
        /// When it was read from the database.
        read_at: Moment,
        /// When its label is from.
        labelled_at: Moment,
        /// Whether its label is only what lies below `xmin`.
        weak: bool,
    },
    /// To tell another service the value in memory, with a label.
    Tell {
        /// The coverage, once it was noted.
        coverage: Option<Label>,
    },
}

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stage {
    /// Is the token's write known?
    Token,
    /// Note `proven_at`.
    Proof,
    /// Has this cell moved?
    Cell(u8),
    /// It moved: does the label clear it?
    Rescue,
    /// Note the coverage to tell.
    Coverage,
    /// Does the label pass the test?
    Admit,
    /// Note the position, which the shipped test does itself.
    Position,
    /// Answer.
    Serve,
}

/// A read under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reader {
    /// Of which key.
    pub key: u8,
    /// What for.
    pub errand: Errand,
    /// The write that its caller wants to see.
    pub token: Option<Index>,
    /// The writes whose hints had been applied when it began.
    pub hinted: Set,
    /// Where it stands.
    pub stage: Stage,
    /// The proof that it noted.
    pub proven_at: Stamp,
    /// What it is about to answer.
    pub entry: Option<Entry>,
    /// Whether it has been given a new position once.
    pub rescued: bool,
}

/// Whoever holds the ledger's lock, on the way through its steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Work {
    /// What is still to be done to the memory.
    pub steps: VecDeque<Step>,
    /// The ledger as others find it when the lock is given back.
    pub ledger: Ledger,
    /// Whether these are changes; opening a keyspace is none.
    pub changes: bool,
    /// The write whose hint this is.
    pub hint: Option<Index>,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Process {
    /// Behind the lock.
    pub ledger: Ledger,
    /// Before the lock.
    pub memory: Memory<Plain>,
    /// The lock is held.
    pub work: Option<Work>,
    /// One round at a time.
    pub poll: Option<Poll>,
    /// One load at a time.
    pub load: Option<Load>,
    /// One read at a time.
    pub reader: Option<Reader>,
    /// What it holds.
    pub entries: [Option<Entry>; KEYS],
    /// The writes whose hints it has applied, after their commit and in this life.
    pub hinted: Set,
    /// What each cell was hit by last, for a mutant that knows no more.
    last_xids: Vec<u64>,
    /// The ledger of the life before, for a mutant that does not let it go.
    pub past_life: Option<Ledger>,
    cells: u32,
}

impl Process {
    /// A process that has just started.
    pub fn new(scenario: &Scenario, mutant: Option<Mutant>) -> Self {
        let shape = Shape {
            hashed: scenario.hashed,
            keyspaces: 2,
        };
        let mut limits = Limits {
            hints: scenario.pending_hints,
            rounds: scenario.pending_rounds,
            ..Limits::default()
        };
        match mutant {
            Some(Mutant::ForgottenAtOnce) => limits.rounds = 1,
            Some(Mutant::OverflowDrainsEarly) => limits.settle = 0,
            _ => {}
        }
        let cells = shape.hashed + shape.keyspaces;
        let memory = Memory::new(cells);
        let mut ledger = Ledger::new(crate::database::SOURCE, shape, limits);
        for &tag in scenario.open_keyspaces {
            ledger.keyspace(tag, 0, |step| memory.take(step));
        }
        Self {
            ledger,
            memory,
            work: None,
            poll: None,
            load: None,
            reader: None,
            entries: Default::default(),
            hinted: 0,
            last_xids: match mutant {
                Some(Mutant::CellKeepsLast) => vec![0; cells],
                _ => Vec::new(),
            },
            past_life: None,
            cells: cells as u32,
        }
    }

    /// The highest transaction that hit a cell.
    pub fn touched(&self, cell: u32) -> u64 {
        let last = self.last_xids.get(cell as usize).copied();
        last.unwrap_or_else(|| self.memory.touched(cell))
    }

    /// Whether the ledger may be looked at.
    pub fn unlocked(&self) -> bool {
        self.work.is_none()
    }

    /// One step of whoever holds the lock.
    pub fn work(&mut self, mutant: Option<Mutant>) {
        let Some(work) = &mut self.work else { return };
        if let Some(step) = work.steps.pop_front() {
            take(&self.memory, &mut self.last_xids, step, mutant);
        }
        if work.steps.is_empty()
            && let Some(work) = self.work.take()
        {
            self.ledger = work.ledger;
            self.hinted |= work.hint.map_or(0, |index| 1 << index);
        }
    }

    /// Whether a keyspace has a cell of its own.
    pub fn knows_keyspace(&self, tag: Tag, scenario: &Scenario) -> bool {
        let cells = self.ledger.cells(&[tag]);
        cells.iter().any(|&cell| cell as usize >= scenario.hashed)
    }

    /// The cells of a key's tags, its keyspace's last.
    pub fn cells_of(&self, key: u8, scenario: &Scenario) -> Cells {
        self.ledger.cells(&scenario.tags(key))
    }

    /// Hashes the process, positions not by their number but by what can be told from them: how
    /// they lie to each other, and which cells have moved since. So a round that brings nothing
    /// leaves a state that was seen before, and the states are finitely many.
    pub fn hash_into(&self, state: &mut impl Hasher) {
        let applied = self.memory.applied();
        let mut positions = SmallVec::<[Seq; 8]>::new();
        positions.push(applied);
        positions.extend(self.load.iter().map(|load| load.captured));
        positions.extend(self.entries.iter().flatten().map(|entry| entry.captured));
        let read = self
            .reader
            .iter()
            .filter_map(|reader| reader.entry.as_ref());
        positions.extend(read.map(|entry| entry.captured));
        positions.sort_unstable();
        positions.dedup();
        let rank = |seq: Seq| positions.partition_point(|&position| position < seq) as u64;
        let ranked = |entry: &Entry| Entry {
            captured: rank(entry.captured),
            ..entry.clone()
        };

        rank(applied).hash(state);
        self.memory.proven_at().hash(state);
        for cell in 0..self.cells {
            self.touched(cell).hash(state);
            let moved = |&&seq: &&Seq| self.memory.moved(cell, &[], seq);
            positions.iter().filter(moved).count().hash(state);
        }
        self.ledger.hash(state);
        if let Some(work) = &self.work {
            work.ledger.hash(state);
            (work.changes, work.hint).hash(state);
            for step in &work.steps {
                match *step {
                    Step::Raise { cell, xid, seq } => (cell, xid, seq > applied).hash(state),
                    Step::Publish(_) => u8::MAX.hash(state),
                    step => step.hash(state),
                }
            }
        }
        self.work.is_some().hash(state);
        self.poll.hash(state);
        let load = self.load.as_ref().map(|load| Load {
            captured: rank(load.captured),
            ..load.clone()
        });
        load.hash(state);
        let reader = self.reader.as_ref().map(|reader| Reader {
            entry: reader.entry.as_ref().map(ranked),
            ..reader.clone()
        });
        reader.hash(state);
        for entry in &self.entries {
            entry.as_ref().map(ranked).hash(state);
        }
        self.hinted.hash(state);
        self.past_life.hash(state);
    }
}

/// One write to the memory, as it is or as a mutant has it.
fn take(memory: &Memory<Plain>, last: &mut [u64], step: Step, mutant: Option<Mutant>) {
    match (step, mutant) {
        (Step::Raise { cell, xid, .. }, Some(Mutant::LowXidIgnored))
            if xid < memory.touched(cell) => {}
        (Step::Forget, Some(Mutant::EpochKeepsXids)) => {}
        (step, mutant) => {
            if let (Step::Raise { cell, xid, .. }, Some(Mutant::CellKeepsLast)) = (step, mutant) {
                last[cell as usize] = xid;
            }
            memory.take(step);
        }
    }
}
