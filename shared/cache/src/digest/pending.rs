//! Hints that were applied and that no round has confirmed yet.

use crate::feed::Written;
use crate::key::Tag;
use crate::snapshot::{Snapshot, Token, Xid};
use std::collections::VecDeque;

/// What bounds the list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// Hints kept until a round confirms them.
    pub hints: usize,
    /// Rounds after which what was committed before a hint came is covered: two, since the first
    /// may have been asked for before the commit.
    pub settle: u32,
    /// Rounds after which a hint that no round confirms is taken for a lie and forgotten; no
    /// fewer than `settle`.
    ///
    /// Forgetting is safe. A token is then no longer honoured by that hint, and a value taken
    /// since is as old as the coverage says it is.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hints: 1024,
            settle: 2,
            rounds: 600,
        }
    }
}

/// The list. While it has overflowed, it vouches for nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    limits: Limits,
    hints: VecDeque<Hint>,
    /// A hint was applied that the list had no room for: how many rounds have come since.
    overflowed: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Hint {
    xid: Xid,
    /// The hash of its tags.
    touched: u64,
    tags: Box<[Tag]>,
    rounds: u32,
}

impl Pending {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            hints: VecDeque::new(),
            overflowed: None,
        }
    }

    /// A new life of the source: the transactions of the old one mean nothing.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Whether this very hint is here: one that names the transaction and other tags is a lie, or
    /// the truth after a lie.
    pub(super) fn knows(&self, written: &Written) -> bool {
        let touched = written.touched();
        let mut hints = self.hints.iter();
        hints.any(|hint| hint.xid == written.xid && hint.touched == touched)
    }

    /// Remembers a hint that was applied whole; false if there is no room.
    pub(super) fn push(&mut self, written: &Written) -> bool {
        if self.hints.len() >= self.limits.hints {
            self.overflowed = Some(0);
            return false;
        }
        self.hints.push_back(Hint {
            xid: written.xid,
            touched: written.touched(),
            tags: written.tags.as_slice().into(),
            rounds: 0,
        });
        true
    }

    /// Whether the token's write was applied whole by a hint of its own.
    pub(super) fn covers(&self, token: &Token) -> bool {
        let its = |hint: &Hint| {
            hint.xid == token.xid && (token.touched == 0 || hint.touched == token.touched)
        };
        self.overflowed.is_none() && self.hints.iter().any(its)
    }

    /// The transactions that touched one of these tags; `None` if that cannot be told.
    pub(super) fn touching(&self, tags: &[Tag]) -> Option<impl Iterator<Item = Xid>> {
        let touches = |tag: &Tag| *tag == Tag::all() || tags.contains(tag);
        let concerned = move |hint: &&Hint| hint.tags.iter().any(touches);
        let hints = self.hints.iter().filter(concerned);
        self.overflowed
            .is_none()
            .then_some(hints.map(|hint| hint.xid))
    }

    /// A round has come: what it shows is confirmed, and what nothing confirms grows old.
    pub(super) fn confirm(&mut self, shown: &Snapshot) {
        self.hints.retain_mut(|hint| {
            hint.rounds += 1;
            !shown.sees(hint.xid) && hint.rounds < self.limits.rounds
        });
        // That the list is empty is not enough: the round may have been asked for before the write
        // whose hint found no room, and emptied the list of others.
        let rounds = self.overflowed.map(|rounds| rounds + 1);
        let settled = |rounds: &u32| *rounds >= self.limits.settle && self.hints.is_empty();
        self.overflowed = rounds.filter(|rounds| !settled(rounds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Epoch;

    fn hint(xid: Xid) -> Written {
        let epoch = Epoch {
            system: 1,
            timeline: 1,
        };
        Written {
            epoch,
            xid,
            tags: vec![Tag(xid)],
        }
    }

    /// 1. A round is asked for, and shows transaction 1 only.
    /// 2. Transaction 2 commits. Its hint is applied, and finds no room beside that of 1.
    /// 3. The round comes, and empties the list; of transaction 2 nothing is known yet.
    #[test]
    fn an_overflow_outlasts_a_round_that_was_asked_for_before_it() {
        let mut pending = Pending::new(Limits {
            hints: 1,
            ..Limits::default()
        });
        assert!(pending.push(&hint(1)));
        assert!(!pending.push(&hint(2)));
        pending.confirm(&Snapshot::up_to(1));
        assert!(pending.touching(&[Tag(2)]).is_none());
        pending.confirm(&Snapshot::up_to(2));
        assert_eq!(pending.touching(&[Tag(2)]).map(Iterator::count), Some(0));
    }
}
