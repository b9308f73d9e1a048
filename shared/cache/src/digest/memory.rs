//! What readers see without a lock: the counter, the proof, and the cells.
//!
//! One writer at a time, who holds the ledger's lock, takes the ledger's steps; readers look at
//! any moment between two of them.

use super::Step;
use crate::clock::Stamp;
use crate::judge::Seq;
use crate::snapshot::Xid;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that threads share. In production the machine's own; a checker of memory orders, or
/// a model that copies whole states, puts its own here.
pub trait Atomic: From<u64> {
    /// See [`AtomicU64::load`].
    fn load(&self, order: Ordering) -> u64;
    /// See [`AtomicU64::store`].
    fn store(&self, number: u64, order: Ordering);
    /// See [`AtomicU64::fetch_max`].
    fn fetch_max(&self, number: u64, order: Ordering);
}

impl Atomic for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    #[inline]
    fn store(&self, number: u64, order: Ordering) {
        AtomicU64::store(self, number, order);
    }

    #[inline]
    fn fetch_max(&self, number: u64, order: Ordering) {
        AtomicU64::fetch_max(self, number, order);
    }
}

#[derive(Clone)]
struct Cell<A> {
    /// The counter when a change last hit this cell.
    seq: A,
    /// The highest transaction that hit it.
    xid: A,
}

/// See the module's documentation.
///
/// Invariant: who reads `applied` or `proven_at` sees the cells as they were when it was stored.
#[derive(Clone)]
pub struct Memory<A = AtomicU64> {
    applied: A,
    proven_at: A,
    cells: Box<[Cell<A>]>,
}

impl<A: Atomic> Memory<A> {
    /// Nothing applied, nothing proven.
    pub fn new(cells: usize) -> Self {
        let cell = || Cell {
            seq: A::from(0),
            xid: A::from(0),
        };
        Self {
            applied: A::from(0),
            proven_at: A::from(Stamp::NEVER.as_nanos()),
            cells: (0..cells).map(|_| cell()).collect(),
        }
    }

    /// The position in the order of changes up to which all has been applied.
    #[inline]
    pub fn applied(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// Everything committed before this moment is in the cells.
    #[inline]
    pub fn proven_at(&self) -> Stamp {
        Stamp::from_nanos(self.proven_at.load(Ordering::Acquire))
    }

    /// Whether something hit one of these cells after `captured`.
    #[inline]
    pub fn moved(&self, keyspace: u32, cells: &[u32], captured: Seq) -> bool {
        let after = |cell: u32| self.cells[cell as usize].seq.load(Ordering::Acquire) > captured;
        after(keyspace) || cells.iter().any(|&cell| after(cell))
    }

    /// The highest transaction that hit a cell; it stands still while the ledger's lock is held.
    pub fn touched(&self, cell: u32) -> Xid {
        self.cells[cell as usize].xid.load(Ordering::Acquire)
    }

    /// Takes one step.
    pub fn take(&self, step: Step) {
        match step {
            Step::Forget => {
                for cell in &self.cells {
                    cell.xid.store(0, Ordering::Release);
                }
            }
            // The highest transaction first, then the count that makes readers look at it.
            Step::Raise { cell, xid, seq } => {
                let cell = &self.cells[cell as usize];
                cell.xid.fetch_max(xid, Ordering::Release);
                cell.seq.store(seq, Ordering::Release);
            }
            Step::Publish(seq) => self.applied.store(seq, Ordering::Release),
            Step::Prove(stamp) => self
                .proven_at
                .fetch_max(stamp.as_nanos(), Ordering::Release),
        }
    }
}
