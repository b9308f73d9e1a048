//! What a digest knows under its lock, and what follows from it: pure state, no cell is written
//! here. A change of the ledger says, step by step, what is to become of the [memory](super::Memory)
//! that readers look at meanwhile; the steps are to be taken in their order, before the lock is
//! given back.
//!
//! Invariant: every change visible in the coverage has hit its cell, or lies below the horizon.

use super::pending::{Limits, Pending};
use super::{Applied, Cells, Hinted, Refused};
use crate::clock::Stamp;
use crate::feed::{Change, Coverage, Round, Written};
use crate::judge::{self, Seq};
use crate::key::Tag;
use crate::snapshot::{Epoch, Label, Token, Xid};
use std::collections::BTreeMap;

/// One write to the memory that readers look at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// No cell was hit by any transaction: those that were are of another life.
    Forget,
    /// A change hits a cell.
    Raise {
        /// The cell.
        cell: u32,
        /// Who changed it.
        xid: Xid,
        /// The change's count.
        seq: Seq,
    },
    /// All changes up to this count are in the cells.
    Publish(Seq),
    /// Everything committed before this moment is in the cells.
    Prove(Stamp),
}

/// How many cells a digest has: those that tags are hashed to, a power of two, and after them
/// those of keyspaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    /// Cells for tags.
    pub hashed: usize,
    /// Cells for whole keyspaces. A keyspace beyond shares a hashed cell: that costs misses only.
    pub keyspaces: usize,
}

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ledger {
    source: u64,
    shape: Shape,
    /// S_p with its epoch and its pruning mark; `None` at the start and after a gap.
    coverage: Option<Coverage>,
    /// The last epoch seen, also while the coverage is unknown.
    epoch: Option<Epoch>,
    horizon: Xid,
    pending: Pending,
    keyspaces: BTreeMap<Tag, u32>,
    /// The highest transaction applied: where the cell of a late keyspace begins.
    highest: Xid,
}

impl Ledger {
    /// Nothing is known of the source with this hash.
    pub fn new(source: u64, shape: Shape, limits: Limits) -> Self {
        Self {
            source,
            shape,
            coverage: None,
            epoch: None,
            horizon: 0,
            pending: Pending::new(limits),
            keyspaces: BTreeMap::new(),
            highest: 0,
        }
    }

    /// The cell of a keyspace's own tag.
    ///
    /// A keyspace that comes late finds a cell which nothing has hit, and earlier changes of its
    /// tag went elsewhere. So it starts as if everything applied so far had hit it: who captured
    /// before looks at a cell that moved, and who brings a label must have seen it all.
    pub fn keyspace(&mut self, tag: Tag, applied: Seq, mut take: impl FnMut(Step)) -> u32 {
        if let Some(&cell) = self.keyspaces.get(&tag) {
            return cell;
        }
        let cell = if self.keyspaces.len() < self.shape.keyspaces {
            (self.shape.hashed + self.keyspaces.len()) as u32
        } else {
            self.slot(tag)
        };
        take(Step::Raise {
            cell,
            xid: self.highest,
            seq: applied,
        });
        self.keyspaces.insert(tag, cell);
        cell
    }

    /// The cells of these tags.
    pub fn cells(&self, tags: &[Tag]) -> Cells {
        let cell = |tag| {
            let own = self.keyspaces.get(tag).copied();
            own.unwrap_or_else(|| self.slot(*tag))
        };
        tags.iter().map(cell).collect()
    }

    /// The last snapshot whose changes are all known.
    pub fn coverage(&self) -> Option<&Coverage> {
        self.coverage.as_ref()
    }

    /// The epoch known now.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Changes below were never seen.
    pub fn horizon(&self) -> Xid {
        self.horizon
    }

    /// Takes the round that was asked for at `asked_at` with `since` what [`Ledger::coverage`]
    /// said. The changes get the count `seq`, the next after all that were applied.
    pub fn round(
        &mut self,
        (since, asked_at): (Option<&Coverage>, Stamp),
        round: &Round,
        seq: Seq,
        mut take: impl FnMut(Step),
    ) -> Applied {
        let same_life = since.filter(|since| since.epoch == round.epoch);
        if let Some(since) = same_life {
            if round.low_dropped > since.low_marked {
                self.coverage = None;
                return Applied::Gap;
            }
            if !since.snapshot.within(&round.snapshot) {
                return Applied::WentBack;
            }
        }
        let whole = same_life.is_none();
        if whole {
            self.begin_anew(round, seq, &mut take);
        }
        for change in &round.changes {
            self.hit(*change, seq, &mut take);
        }
        // Readers that see this count see the cells above; those that do not find them ahead of
        // their own and take them for moved.
        take(Step::Publish(seq));
        self.advance(round);
        // Last: a proof vouches for all that came before it.
        take(Step::Prove(asked_at));
        Applied::Round {
            lines: round.changes.len(),
            whole,
        }
    }

    /// A start, a gap, or a new life of the source: what was dropped from the journal was never
    /// seen. Labels below the horizon prove nothing, and whatever is held or being loaded moves.
    fn begin_anew(&mut self, round: &Round, seq: Seq, take: &mut impl FnMut(Step)) {
        if self.epoch != Some(round.epoch) {
            self.pending.clear();
            self.highest = 0;
            // Transactions of another life say nothing of labels of this one.
            take(Step::Forget);
        }
        self.epoch = Some(round.epoch);
        self.horizon = round.low_dropped;
        self.move_keyspaces(0, seq, take);
    }

    /// The coverage becomes the round's snapshot, and the hints that it shows are confirmed.
    fn advance(&mut self, round: &Round) {
        self.pending.confirm(&round.snapshot);
        self.coverage = Some(Coverage {
            epoch: round.epoch,
            snapshot: round.snapshot.clone(),
            low_marked: round.low_marked,
        });
    }

    /// Takes a hint, whose changes get the count `seq`.
    pub fn hint(&mut self, written: &Written, seq: Seq, mut take: impl FnMut(Step)) -> Hinted {
        if self.epoch != Some(written.epoch) {
            return Hinted::Foreign;
        }
        let shown = |coverage: &Coverage| coverage.snapshot.sees(written.xid);
        if self.coverage.as_ref().is_some_and(shown) || self.pending.knows(written) {
            return Hinted::Known;
        }
        self.touch(&written.tags, written.xid, seq, &mut take);
        match self.pending.push(written) {
            true => Hinted::Applied,
            false => Hinted::Overflowed,
        }
    }

    /// Moves these tags; the changes get the count `seq`.
    pub fn touch(&mut self, tags: &[Tag], xid: Xid, seq: Seq, mut take: impl FnMut(Step)) {
        for &tag in tags {
            self.hit(Change { tag, xid }, seq, &mut take);
        }
        take(Step::Publish(seq));
    }

    /// Whether a value from elsewhere, that depends on `tags`, reflects all that has been applied;
    /// then the cells of its tags. `touched` tells the highest transaction that hit a cell.
    pub fn admit(
        &self,
        label: &Label,
        tags: &[Tag],
        touched: impl Fn(u32) -> Xid,
    ) -> Result<Cells, Refused> {
        let coverage = self.coverage.as_ref().ok_or(Refused::Unknown)?;
        if coverage.epoch != label.epoch {
            return Err(Refused::Epoch);
        }
        let cells = self.cells(tags);
        let highest = cells.iter().map(|&cell| touched(cell));
        let clears = judge::label_clears(label.snapshot.xmin(), self.horizon, highest);
        let covers = || {
            let hints = self.pending.touching(tags);
            hints.is_some_and(|hints| judge::label_covers(label, &coverage.snapshot, hints))
        };
        if clears || covers() {
            Ok(cells)
        } else {
            Err(Refused::Label)
        }
    }

    /// Whether the label of an entry that moved shows that it reflects what moved it; `touched`
    /// are the highest transactions that hit its cells.
    pub fn rescues(&self, epoch: Epoch, xmin: Xid, touched: impl Iterator<Item = Xid>) -> bool {
        self.epoch == Some(epoch)
            && self.coverage.is_some()
            && judge::label_clears(xmin, self.horizon, touched)
    }

    /// Whether entries that have not moved reflect the write of this token of its source.
    pub fn covers(&self, token: &Token) -> bool {
        if self.epoch != Some(token.epoch) {
            return false;
        }
        let shown = |coverage: &Coverage| coverage.snapshot.sees(token.xid);
        self.coverage.as_ref().is_some_and(shown) || self.pending.covers(token)
    }

    /// The highest transaction known to have touched these tags; `None` where nothing did.
    pub fn newest(&self, tags: &[Tag], touched: impl Fn(u32) -> Xid) -> Option<Token> {
        let epoch = self.epoch?;
        let xid = self.cells(tags).iter().map(|&cell| touched(cell)).max()?;
        (xid > 0).then_some(Token {
            source: self.source,
            epoch,
            xid,
            touched: 0,
        })
    }

    fn slot(&self, tag: Tag) -> u32 {
        (tag.0 & (self.shape.hashed as u64 - 1)) as u32
    }

    /// A change hits its cell. The tag of a keyspace hits the hashed cell too: an entry of
    /// another keyspace may have resolved it before the keyspace was known.
    fn hit(&mut self, change: Change, seq: Seq, take: &mut impl FnMut(Step)) {
        let Change { tag, xid } = change;
        self.highest = self.highest.max(xid);
        if tag == Tag::all() {
            self.move_keyspaces(xid, seq, take);
        }
        if let Some(&cell) = self.keyspaces.get(&tag) {
            take(Step::Raise { cell, xid, seq });
        }
        let cell = self.slot(tag);
        take(Step::Raise { cell, xid, seq });
    }

    fn move_keyspaces(&self, xid: Xid, seq: Seq, take: &mut impl FnMut(Step)) {
        for &cell in self.keyspaces.values() {
            take(Step::Raise { cell, xid, seq });
        }
    }
}
