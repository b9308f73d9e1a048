//! What one process knows of the changes in one source: a counter, and cells indexed by tag.
//!
//! Pure state: no I/O and no clock; stamps are handed in. [`Digest`] is two halves and the lock
//! between them: the [`Memory`] that readers look at without it ([`Digest::moved`] is the whole
//! check on a hit), and the [`Ledger`] behind it, which judges what comes from elsewhere and says
//! by which [`Step`]s a round or a hint reaches the memory. The halves are apart so that a model
//! can take one step at a time.

mod ledger;
mod memory;
mod pending;

pub use ledger::{Ledger, Shape, Step};
pub use memory::{Atomic, Memory};
pub use pending::Limits;

use crate::clock::Stamp;
use crate::feed::{Coverage, Round, Written};
use crate::judge::Seq;
use crate::key::Tag;
use crate::snapshot::{Epoch, Label, Token, Xid};
use smallvec::SmallVec;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hashed cells of a digest, unless its maker says otherwise: 4 MiB of them.
pub const CELLS: usize = 1 << 18;
/// Cells for whole keyspaces.
const KEYSPACES: usize = 256;
/// Which cells an entry depends on, beside its keyspace's own.
pub type Cells = SmallVec<[u32; 4]>;

/// See the module's documentation.
pub struct Digest {
    source: u64,
    memory: Memory,
    /// Whoever holds it takes the ledger's steps before giving it back; nobody else writes to the
    /// memory.
    ledger: Mutex<Ledger>,
}

/// What became of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Its lines hit their cells, and the coverage is its snapshot now.
    Round {
        /// How many lines it had.
        lines: usize,
        /// The whole journal was taken, after a start, a gap or a new epoch.
        whole: bool,
    },
    /// Lines may have been dropped before they were seen. The coverage is unknown until the whole
    /// journal has been asked for (`since: None`) and applied.
    Gap,
    /// Its snapshot lacks what was visible before: a source that went back without a new epoch.
    /// Ignored, and nothing is proven while this lasts.
    WentBack,
}

/// What became of a hint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hinted {
    /// Its tags moved.
    Applied,
    /// Its tags moved, but it could not be remembered.
    Overflowed,
    /// A round, or the same hint, had brought it before.
    Known,
    /// It speaks of another epoch, or none is known yet.
    Foreign,
}

impl Hinted {
    /// The word for it in traces.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Applied | Self::Overflowed => "applied",
            Self::Known => "known",
            Self::Foreign => "foreign",
        }
    }
}

/// A value from elsewhere passed the test.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// The value reflects every change applied up to here.
    pub captured: Seq,
    /// And everything committed before this moment.
    pub proven_at: Stamp,
    /// Where to look for what moves it.
    pub cells: Cells,
}

/// Why a value from elsewhere was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No coverage yet, or none since a gap.
    Unknown,
    /// Its label is of another epoch.
    Epoch,
    /// Its label does not show that it reflects all that is known.
    Label,
}

impl Digest {
    /// An empty digest for the source with this hash; `cells` is rounded up to a power of two.
    pub fn new(source: u64, cells: usize) -> Self {
        let shape = Shape {
            hashed: cells.max(1).next_power_of_two(),
            keyspaces: KEYSPACES,
        };
        Self {
            source,
            memory: Memory::new(shape.hashed + shape.keyspaces),
            ledger: Mutex::new(Ledger::new(source, shape, Limits::default())),
        }
    }

    /// Notes where the digest stands; whoever is about to read the source does so first.
    #[inline]
    pub fn captured(&self) -> Seq {
        self.memory.applied()
    }

    /// Everything committed before this moment, in this process's time, is in the cells. Must be
    /// read before [`Digest::moved`] is asked.
    #[inline]
    pub fn proven_at(&self) -> Stamp {
        self.memory.proven_at()
    }

    /// Whether something hit one of these cells after `captured`: the whole check on a hit.
    #[inline]
    pub fn moved(&self, keyspace: u32, cells: &[u32], captured: Seq) -> bool {
        self.memory.moved(keyspace, cells, captured)
    }

    /// The cell of a keyspace's own tag.
    pub fn keyspace(&self, tag: Tag) -> u32 {
        let mut ledger = self.lock();
        ledger.keyspace(tag, self.captured(), |step| self.memory.take(step))
    }

    /// The cells of these tags.
    pub fn cells(&self, tags: &[Tag]) -> Cells {
        self.lock().cells(tags)
    }

    /// What the feed is to be asked for: the round since here.
    pub fn coverage(&self) -> Option<Coverage> {
        self.lock().coverage().cloned()
    }

    /// Takes a round that was asked for at `asked_at` with `since` what [`Digest::coverage`] said.
    ///
    /// Rounds come one at a time, from one task. A line always moves its cell, hinted or not:
    /// hints are never believed, so a lying one can cost speed but not truth.
    pub fn apply_round(&self, since: Option<&Coverage>, round: &Round, asked_at: Stamp) -> Applied {
        let mut ledger = self.lock();
        let seq = self.next_seq();
        let take = |step| self.memory.take(step);
        ledger.round((since, asked_at), round, seq, take)
    }

    /// Takes a hint, from this process's own writes or from a channel.
    pub fn apply_hint(&self, written: &Written) -> Hinted {
        let mut ledger = self.lock();
        ledger.hint(written, self.next_seq(), |step| self.memory.take(step))
    }

    /// Moves these tags on nobody's authority: for a source that has no feed, whose values live
    /// for Δ, and for what an operator wants gone from this process.
    pub fn touch(&self, tags: &[Tag]) {
        let mut ledger = self.lock();
        ledger.touch(tags, 0, self.next_seq(), |step| self.memory.take(step));
    }

    /// Judges a value from elsewhere by its label: one from the remote tier, from a standby, or
    /// from another service. `tags` are all that it depends on, its keyspace's included.
    ///
    /// The position is noted under the lock that the test holds, after the value was fetched;
    /// since nothing is applied in between, the value reflects all that was applied before it.
    pub fn admit(&self, label: &Label, tags: &[Tag]) -> Result<Admission, Refused> {
        let proven_at = self.proven_at();
        let ledger = self.lock();
        let cells = ledger.admit(label, tags, |cell| self.memory.touched(cell))?;
        Ok(Admission {
            captured: self.captured(),
            proven_at,
            cells,
        })
    }

    /// A new position for an entry that moved, when its label shows that it reflects what moved
    /// it: a write's hint and then its round move the entry twice, and it was loaded between.
    pub fn rescue(&self, epoch: Epoch, xmin: Xid, keyspace: u32, cells: &[u32]) -> Option<Seq> {
        let ledger = self.lock();
        let all = cells.iter().chain([&keyspace]);
        let touched = all.map(|&cell| self.memory.touched(cell));
        ledger
            .rescues(epoch, xmin, touched)
            .then(|| self.captured())
    }

    /// Whether entries that have not moved reflect the token's write. Must be asked before
    /// [`Digest::moved`].
    pub fn covers(&self, token: &Token) -> bool {
        // Of another source: nothing to look up.
        token.source != self.source || self.lock().covers(token)
    }

    /// The highest transaction known to have touched these tags, as a token that asks another
    /// process for an answer that reflects it; `None` where nothing did.
    pub fn newest(&self, tags: &[Tag]) -> Option<Token> {
        let ledger = self.lock();
        ledger.newest(tags, |cell| self.memory.touched(cell))
    }

    /// The epoch known now.
    pub fn epoch(&self) -> Option<Epoch> {
        self.lock().epoch()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Nothing that holds the lock can panic half way through a change of it.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The count of the next changes; the caller holds the lock under which it rises.
    fn next_seq(&self) -> Seq {
        self.memory.applied() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Snapshot;
    use crate::feed::Change;

    /// 1. An entry that depends on a keyspace that is not open here is being loaded.
    /// 2. The keyspace is cleared: its line comes, and hits a hashed cell.
    /// 3. The keyspace is opened, and gets a cell of its own.
    /// 4. The load is done, and finds the new cell for its tag.
    #[test]
    fn a_keyspace_that_opens_late_moves_what_was_captured_before() {
        let digest = Digest::new(1, 4);
        let epoch = Epoch {
            system: 1,
            timeline: 1,
        };
        let (tag, xid) = (Tag::keyspace("late"), 5);
        let round = |xid, changes| Round {
            epoch,
            snapshot: Snapshot::up_to(xid),
            low_marked: 0,
            low_dropped: 0,
            changes,
        };
        let own = digest.keyspace(Tag::keyspace("own"));
        digest.apply_round(None, &round(xid - 1, Vec::new()), Stamp::from_nanos(1));
        let captured = digest.captured();
        let since = digest.coverage();
        let cleared = round(xid, vec![Change { tag, xid }]);
        digest.apply_round(since.as_ref(), &cleared, Stamp::from_nanos(2));
        digest.keyspace(tag);
        assert!(digest.moved(own, &digest.cells(&[tag]), captured));
        assert!(!digest.moved(own, &digest.cells(&[tag]), digest.captured()));
    }
}
