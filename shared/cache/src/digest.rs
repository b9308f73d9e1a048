//! What one process knows of the changes in one source: a counter, and cells indexed by tag.
//!
//! Pure state: no I/O and no clock; stamps are handed in. Reading order: [`Digest::moved`] is the
//! whole check on a hit, [`Digest::apply_round`] and [`Digest::apply_hint`] write what it reads,
//! [`Digest::admit`] judges what comes from elsewhere.
//!
//! Invariant: every change visible in the coverage has hit its cell, or lies below the horizon.
//! Invariant: who reads `applied` or `proven_at` sees the cells as they were when it was stored.

use crate::clock::Stamp;
use crate::feed::{Change, Coverage, Round, Written};
use crate::judge::{self, Seq};
use crate::key::Tag;
use crate::pending::Pending;
use crate::snapshot::{Epoch, Label, Token, Xid};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hashed cells of a digest, unless its maker says otherwise: 4 MiB of them.
pub const CELLS: usize = 1 << 18;
/// Cells for whole keyspaces. A keyspace beyond shares a hashed cell, which costs misses only.
const KEYSPACES: usize = 256;
/// Which cells an entry depends on, beside its keyspace's own.
pub type Cells = SmallVec<[u32; 4]>;

#[derive(Default)]
struct Cell {
    /// The counter when a change last hit this cell.
    seq: AtomicU64,
    /// The highest transaction that hit it.
    xid: AtomicU64,
}

/// See the module's documentation.
pub struct Digest {
    source: u64,
    applied: AtomicU64,
    proven_at: AtomicU64,
    cells: Box<[Cell]>,
    /// Hashed cells, a power of two; those of keyspaces come after.
    hashed: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// S_p with its epoch and its pruning mark; `None` at the start and after a gap.
    coverage: Option<Coverage>,
    /// The last epoch seen, also while the coverage is unknown.
    epoch: Option<Epoch>,
    horizon: Xid,
    pending: Pending,
    keyspaces: HashMap<Tag, u32, foldhash::fast::RandomState>,
    /// The highest transaction applied: where the cell of a late keyspace begins.
    highest: Xid,
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
        let hashed = cells.max(1).next_power_of_two();
        Self {
            source,
            applied: AtomicU64::new(0),
            proven_at: AtomicU64::new(Stamp::NEVER.as_nanos()),
            cells: (0..hashed + KEYSPACES).map(|_| Cell::default()).collect(),
            hashed,
            state: Mutex::default(),
        }
    }

    /// Notes where the digest stands; whoever is about to read the source does so first.
    #[inline]
    pub fn captured(&self) -> Seq {
        self.applied.load(Ordering::Acquire)
    }

    /// Everything committed before this moment, in this process's time, is in the cells. Must be
    /// read before [`Digest::moved`] is asked.
    #[inline]
    pub fn proven_at(&self) -> Stamp {
        Stamp::from_nanos(self.proven_at.load(Ordering::Acquire))
    }

    /// Whether something hit one of these cells after `captured`: the whole check on a hit.
    #[inline]
    pub fn moved(&self, keyspace: u32, cells: &[u32], captured: Seq) -> bool {
        let after = |cell: u32| self.cells[cell as usize].seq.load(Ordering::Acquire) > captured;
        after(keyspace) || cells.iter().any(|&cell| after(cell))
    }

    /// The cell of a keyspace's own tag.
    ///
    /// A keyspace that comes late finds a cell which nothing has hit. It starts as if the last
    /// change of all had, since an earlier change of its tag went elsewhere.
    pub fn keyspace(&self, tag: Tag) -> u32 {
        let mut state = self.lock();
        if let Some(&cell) = state.keyspaces.get(&tag) {
            return cell;
        }
        let free = self.hashed + state.keyspaces.len();
        let cell = if free < self.cells.len() {
            free as u32
        } else {
            self.slot(tag)
        };
        self.cells[cell as usize]
            .xid
            .fetch_max(state.highest, Ordering::Relaxed);
        state.keyspaces.insert(tag, cell);
        cell
    }

    /// The cells of these tags.
    pub fn cells(&self, tags: &[Tag]) -> Cells {
        let state = self.lock();
        self.resolve(&state, tags)
    }

    /// What the feed is to be asked for: the round since here.
    pub fn coverage(&self) -> Option<Coverage> {
        self.lock().coverage.clone()
    }

    /// Takes a round that was asked for at `asked_at` with `since` what [`Digest::coverage`] said.
    ///
    /// Rounds come one at a time, from one task. A line always moves its cell, hinted or not:
    /// hints are never believed, so a lying one can cost speed but not truth.
    pub fn apply_round(&self, since: Option<&Coverage>, round: &Round, asked_at: Stamp) -> Applied {
        let mut state = self.lock();
        let same_life = since.filter(|since| since.epoch == round.epoch);
        if let Some(since) = same_life {
            if round.low_dropped > since.low_marked {
                state.coverage = None;
                return Applied::Gap;
            }
            if !since.snapshot.within(&round.snapshot) {
                return Applied::WentBack;
            }
        }
        let whole = same_life.is_none();
        if whole {
            self.begin_anew(&mut state, round);
        }
        let seq = self.next_seq();
        for change in &round.changes {
            self.hit(&mut state, *change, seq);
        }
        // Readers that see this count see the cells above; those that do not find them ahead of
        // their own and take them for moved.
        self.applied.store(seq, Ordering::Release);
        state.advance(round);
        // Last: a proof vouches for all that came before it.
        self.proven_at
            .fetch_max(asked_at.as_nanos(), Ordering::Release);
        Applied::Round {
            lines: round.changes.len(),
            whole,
        }
    }

    /// A start, a gap, or a new life of the source: what was dropped from the journal was never
    /// seen. Labels below the horizon prove nothing, and whatever is held or being loaded moves.
    fn begin_anew(&self, state: &mut State, round: &Round) {
        if state.epoch != Some(round.epoch) {
            state.pending = Pending::default();
            state.highest = 0;
            // Transactions of another life say nothing of labels of this one.
            for cell in &self.cells {
                cell.xid.store(0, Ordering::Release);
            }
        }
        state.epoch = Some(round.epoch);
        state.horizon = round.low_dropped;
        self.move_keyspaces(state, 0);
    }

    /// Takes a hint, from this process's own writes or from a channel.
    pub fn apply_hint(&self, written: &Written) -> Hinted {
        let mut state = self.lock();
        if state.epoch != Some(written.epoch) {
            return Hinted::Foreign;
        }
        let visible = state
            .coverage
            .as_ref()
            .is_some_and(|c| c.snapshot.sees(written.xid));
        if visible || state.pending.knows(written) {
            return Hinted::Known;
        }
        let seq = self.next_seq();
        for &tag in &written.tags {
            self.hit(
                &mut state,
                Change {
                    tag,
                    xid: written.xid,
                },
                seq,
            );
        }
        self.applied.store(seq, Ordering::Release);
        match state.pending.push(written) {
            true => Hinted::Applied,
            false => Hinted::Overflowed,
        }
    }

    /// Moves these tags on nobody's authority: for a source that has no feed, whose values live
    /// for Δ, and for what an operator wants gone from this process.
    pub fn touch(&self, tags: &[Tag]) {
        let mut state = self.lock();
        let seq = self.next_seq();
        for &tag in tags {
            self.hit(&mut state, Change { tag, xid: 0 }, seq);
        }
        self.applied.store(seq, Ordering::Release);
    }

    /// Judges a value from elsewhere by its label: one from the remote tier, from a standby, or
    /// from another service. `tags` are all that it depends on, its keyspace's included.
    ///
    /// The position is noted under the lock that the test holds, after the value was fetched;
    /// since nothing is applied in between, the value reflects all that was applied before it.
    pub fn admit(&self, label: &Label, tags: &[Tag]) -> Result<Admission, Refused> {
        let proven_at = self.proven_at();
        let state = self.lock();
        let coverage = state.coverage.as_ref().ok_or(Refused::Unknown)?;
        if coverage.epoch != label.epoch {
            return Err(Refused::Epoch);
        }
        let cells = self.resolve(&state, tags);
        let touched = cells.iter().map(|&cell| self.touched(cell));
        let clears = judge::label_clears(label.snapshot.xmin(), state.horizon, touched);
        let covers = || {
            let hints = state.pending.touching(tags);
            hints.is_some_and(|hints| judge::label_covers(label, &coverage.snapshot, hints))
        };
        if !clears && !covers() {
            return Err(Refused::Label);
        }
        Ok(Admission {
            captured: self.captured(),
            proven_at,
            cells,
        })
    }

    /// A new position for an entry that moved, when its label shows that it reflects what moved
    /// it: a write's hint and then its round move the entry twice, and it was loaded between.
    pub fn rescue(&self, epoch: Epoch, xmin: Xid, keyspace: u32, cells: &[u32]) -> Option<Seq> {
        let state = self.lock();
        if state.epoch != Some(epoch) || state.coverage.is_none() {
            return None;
        }
        let captured = self.captured();
        let all = cells.iter().chain([&keyspace]);
        let touched = all.map(|&cell| self.touched(cell));
        judge::label_clears(xmin, state.horizon, touched).then_some(captured)
    }

    /// Whether entries that have not moved reflect the token's write. Must be asked before
    /// [`Digest::moved`].
    pub fn covers(&self, token: &Token) -> bool {
        if token.source != self.source {
            return true;
        }
        let state = self.lock();
        if state.epoch != Some(token.epoch) {
            return false;
        }
        let visible = state
            .coverage
            .as_ref()
            .is_some_and(|c| c.snapshot.sees(token.xid));
        visible || state.pending.covers(token)
    }

    /// The highest transaction known to have touched these tags, as a token that asks another
    /// process for an answer that reflects it; `None` where nothing did.
    pub fn newest(&self, tags: &[Tag]) -> Option<Token> {
        let state = self.lock();
        let epoch = state.epoch?;
        let cells = self.resolve(&state, tags);
        let xid = cells.iter().map(|&cell| self.touched(cell)).max()?;
        (xid > 0).then_some(Token {
            source: self.source,
            epoch,
            xid,
            touched: 0,
        })
    }

    /// The epoch known now.
    pub fn epoch(&self) -> Option<Epoch> {
        self.lock().epoch
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half way through a change of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_seq(&self) -> Seq {
        // Only ever stored under the lock, which the caller holds.
        self.applied.load(Ordering::Relaxed) + 1
    }

    fn slot(&self, tag: Tag) -> u32 {
        (tag.0 & (self.hashed as u64 - 1)) as u32
    }

    fn touched(&self, cell: u32) -> Xid {
        self.cells[cell as usize].xid.load(Ordering::Acquire)
    }

    fn resolve(&self, state: &State, tags: &[Tag]) -> Cells {
        let cell = |tag| {
            state
                .keyspaces
                .get(tag)
                .copied()
                .unwrap_or_else(|| self.slot(*tag))
        };
        tags.iter().map(cell).collect()
    }

    /// A change hits its cell. The tag of a keyspace hits the hashed cell too: an entry of
    /// another keyspace may have resolved it before the keyspace was known.
    fn hit(&self, state: &mut State, change: Change, seq: Seq) {
        state.highest = state.highest.max(change.xid);
        if change.tag == Tag::all() {
            self.move_keyspaces(state, change.xid);
        }
        if let Some(&cell) = state.keyspaces.get(&change.tag) {
            self.raise(cell, change.xid, seq);
        }
        self.raise(self.slot(change.tag), change.xid, seq);
    }

    fn move_keyspaces(&self, state: &State, xid: Xid) {
        let seq = self.next_seq();
        for &cell in state.keyspaces.values() {
            self.raise(cell, xid, seq);
        }
    }

    /// The highest transaction first, then the count that makes readers look at it.
    fn raise(&self, cell: u32, xid: Xid, seq: Seq) {
        let cell = &self.cells[cell as usize];
        cell.xid.fetch_max(xid, Ordering::Release);
        cell.seq.store(seq, Ordering::Release);
    }
}

impl State {
    /// The coverage becomes the round's snapshot, and the hints that it shows are confirmed.
    fn advance(&mut self, round: &Round) {
        self.pending.confirm(&round.snapshot);
        self.coverage = Some(Coverage {
            epoch: round.epoch,
            snapshot: round.snapshot.clone(),
            low_marked: round.low_marked,
        });
    }
}
