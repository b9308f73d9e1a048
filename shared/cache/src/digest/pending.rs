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
    /// Rounds after which a hint that no round confirms is taken for a lie and forgotten. Two at
    /// least, since the first may have been asked for before the write.
    ///
    /// Forgetting is safe. A token is then no longer honoured by that hint, and a value taken
    /// since is as old as the coverage says it is.
    pub rounds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hints: 1024,
            rounds: 600,
        }
    }
}

/// The list. While it has overflowed, it vouches for nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    limits: Limits,
    hints: VecDeque<Hint>,
    /// A hint was applied that the list had no room for.
    overflowed: bool,
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
            overflowed: false,
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
            self.overflowed = true;
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
        !self.overflowed && self.hints.iter().any(its)
    }

    /// The transactions that touched one of these tags; `None` if that cannot be told.
    pub(super) fn touching(&self, tags: &[Tag]) -> Option<impl Iterator<Item = Xid>> {
        let touches = |tag: &Tag| *tag == Tag::all() || tags.contains(tag);
        let concerned = move |hint: &&Hint| hint.tags.iter().any(touches);
        let hints = self.hints.iter().filter(concerned);
        (!self.overflowed).then_some(hints.map(|hint| hint.xid))
    }

    /// A round has come: what it shows is confirmed, and what nothing confirms grows old.
    pub(super) fn confirm(&mut self, shown: &Snapshot) {
        self.hints.retain_mut(|hint| {
            hint.rounds += 1;
            !shown.sees(hint.xid) && hint.rounds < self.limits.rounds
        });
        if self.hints.is_empty() {
            self.overflowed = false;
        }
    }
}
