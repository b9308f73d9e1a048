//! The rule, as pure functions: no I/O, no clock, no lock. The model checker runs these lines.
//!
//! > Serve a cached value iff nothing it depends on has moved since it was captured, and
//! > `now − max(loaded_at, proven_at) ≤ Δ`.

use crate::clock::Stamp;
use crate::snapshot::{Label, Snapshot, Xid};
use std::time::Duration;

/// A position in a digest's order of changes: its counter when something was noted.
pub type Seq = u64;

/// What the rule says of one cached value at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Serve it; it is at most this far behind its source.
    Fresh(Duration),
    /// Something it depends on was touched after it was captured.
    Moved,
    /// Nothing known against it, but the last proof is older than Δ.
    Unproven(Duration),
}

/// How far behind its source a value can be that has not moved.
pub fn age(now: Stamp, loaded_at: Stamp, proven_at: Stamp) -> Duration {
    now.since(loaded_at.max(proven_at))
}

/// The rule.
///
/// `proven_at` must have been read before `moved` was found: a proof that arrives in between
/// vouches for changes whose cells were not looked at.
#[inline]
pub fn verdict(
    now: Stamp,
    loaded_at: Stamp,
    proven_at: Stamp,
    moved: bool,
    max_staleness: Duration,
) -> Verdict {
    if moved {
        return Verdict::Moved;
    }
    match age(now, loaded_at, proven_at) {
        age if age <= max_staleness => Verdict::Fresh(age),
        age => Verdict::Unproven(age),
    }
}

/// Whether a label alone shows that its value reflects everything that ever hit the cells:
/// `touched` are their highest transactions, and what was dropped from the journal unseen lies
/// below `horizon`.
///
/// Only `xmin` will do. Below it everything had ended; between `xmin` and `xmax` some had not,
/// and a cell keeps only the highest of many transactions, so a lower one may be invisible.
pub fn label_clears(xmin: Xid, horizon: Xid, touched: impl IntoIterator<Item = Xid>) -> bool {
    xmin >= horizon && touched.into_iter().all(|xid| xmin > xid)
}

/// Whether a label shows that its value reflects everything that this digest knows: all that its
/// coverage shows, and the hints on the value's tags that no round has confirmed yet. This holds
/// only while nothing is applied, that is under the digest's lock.
pub fn label_covers(
    label: &Label,
    coverage: &Snapshot,
    pending: impl IntoIterator<Item = Xid>,
) -> bool {
    coverage.within(&label.snapshot) && pending.into_iter().all(|xid| label.snapshot.sees(xid))
}
