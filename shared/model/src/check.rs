//! What must always be true, and how it is said when it is not.
//!
//! There is no clock. A stamp is a moment, and a moment is what was visible then; so "reflects
//! everything committed before `proven_at`" reads: the value is what the database showed at that
//! moment or at a later one.

use crate::database::{Fate, Index, Set};
use crate::mutant::Mutant;
use crate::play::Play;
use crate::process::Entry;
use crate::world::World;
use larder::Label;
use larder::clock::Stamp;
use larder::digest::Step;

/// A broken promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fall {
    /// A value was served that the database showed neither when the proof says nor later.
    Stale {
        /// Of which key.
        key: u8,
        /// The transactions that it shows.
        value: Set,
        /// The moment of its proof.
        reflects: u64,
    },
    /// A token was honoured, and the answer does not show its write.
    Token {
        /// Of which key.
        key: u8,
        /// Whose write.
        index: Index,
    },
    /// A write's hint had been applied, and a value was served that does not show it.
    Hinted {
        /// Of which key.
        key: u8,
        /// The writes that are missing.
        missing: Set,
    },
    /// A value was told with a label that says more than the value shows.
    Told {
        /// Of which key.
        key: u8,
        /// The writes that are missing.
        missing: Set,
    },
    /// `applied` names a count for which a cell is still to be raised.
    Ahead,
    /// Speed, not truth: a write's own hint was taken for known, and its token is not honoured.
    HintDropped {
        /// Whose hint.
        index: Index,
    },
    /// Speed, not truth: an entry that shows all there is was not rescued.
    NotRescued,
}

/// What a fall costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promise {
    /// What every answer says of itself: proofs, tokens, labels.
    Truth,
    /// Who drops a value on a hint does not take it up again.
    Hints,
    /// The memory's own invariant.
    Order,
    /// A rule that refuses everything would be safe, and of no use.
    Speed,
}

impl Promise {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Hints => "hints",
            Self::Order => "order",
            Self::Speed => "speed",
        }
    }
}

impl Fall {
    /// Which promise it breaks.
    pub fn promise(&self) -> Promise {
        match self {
            Self::Stale { .. } | Self::Token { .. } | Self::Told { .. } => Promise::Truth,
            Self::Hinted { .. } => Promise::Hints,
            Self::Ahead => Promise::Order,
            Self::HintDropped { .. } | Self::NotRescued => Promise::Speed,
        }
    }

    /// In words.
    pub fn story(&self) -> String {
        match self {
            Self::Stale {
                key,
                value,
                reflects,
            } => format!(
                "key {key} was served showing {}, proven at moment {}: it did not show that then, nor since",
                names(*value),
                reflects - 1
            ),
            Self::Token { key, index } => {
                format!("key {key} was served to a token of T{index}, and does not show T{index}")
            }
            Self::Hinted { key, missing } => format!(
                "key {key} was served without {}, whose hint had been applied",
                names(*missing)
            ),
            Self::Told { key, missing } => format!(
                "key {key} was told with a label that sees {}, which it does not show",
                names(*missing)
            ),
            Self::HintDropped { index } => {
                format!("the hint of T{index} was dropped as known, and its token is not honoured")
            }
            Self::Ahead => "a load began at a position that the cells had not reached".to_owned(),
            Self::NotRescued => "an entry that shows all there is was not rescued".to_owned(),
        }
    }
}

/// `{T0, T2}`.
pub fn names(set: Set) -> String {
    let names = (0..Set::BITS).filter(|index| set >> index & 1 == 1);
    let names: Vec<String> = names.map(|index| format!("T{index}")).collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

/// An answer from the cache.
pub(crate) struct Served {
    pub(crate) key: u8,
    pub(crate) value: Set,
    /// What the answer's age is counted from.
    pub(crate) reflects: Stamp,
    pub(crate) token: Option<Index>,
    pub(crate) hinted: Set,
}

impl World {
    /// The memory's own invariant: who reads `applied` finds the cells as they were when it was
    /// stored.
    pub(crate) fn check_applied(&self, play: &Play) -> Result<(), Fall> {
        let applied = self.process.memory.applied();
        let ahead = |step: &Step| match *step {
            Step::Raise { seq, .. } => seq <= applied,
            _ => false,
        };
        let work = self.process.work.as_ref();
        match work.is_some_and(|work| work.changes && work.steps.iter().any(ahead)) {
            true => play.minds(Fall::Ahead),
            false => Ok(()),
        }
    }

    pub(crate) fn check_served(&self, served: &Served, play: &Play) -> Result<(), Fall> {
        let Served {
            key,
            value,
            reflects,
            ..
        } = *served;
        let first = reflects.as_nanos().saturating_sub(1) as u8;
        let shown = |at| self.shown(key, at, play) == value;
        if !(first..=self.database.now()).any(shown) {
            let reflects = reflects.as_nanos();
            return play.minds(Fall::Stale {
                key,
                value,
                reflects,
            });
        }
        if let Some(index) = served.token {
            // A write that a restore has undone is nowhere to be seen.
            let exists = self.database.begun[usize::from(index)].fate == Fate::Committed;
            let concerns = play.of_key(key, 1 << index) != 0;
            if exists && concerns && value >> index & 1 == 0 {
                return play.minds(Fall::Token { key, index });
            }
        }
        let missing = play.of_key(key, served.hinted) & !value;
        if missing != 0 {
            return play.minds(Fall::Hinted { key, missing });
        }
        Ok(())
    }

    /// What is told to another service must be true: the value shows all that the label sees.
    pub(crate) fn check_told(
        &self,
        key: u8,
        value: Set,
        label: &Label,
        play: &Play,
    ) -> Result<(), Fall> {
        let seen = |at: &u8| self.database.view(*at).label() == *label;
        let at = (0..=self.database.now()).find(seen);
        let missing = at.map_or(0, |at| self.shown(key, at, play) & !value);
        match missing {
            0 => Ok(()),
            missing => play.minds(Fall::Told { key, missing }),
        }
    }

    /// Where nothing lies, an entry whose label shows every transaction there is must be rescued:
    /// a rule that refuses everything is safe and of no use.
    pub(crate) fn check_rescue(&self, entry: &Entry, play: &Play) -> Result<(), Fall> {
        let ledger = &self.process.ledger;
        let known = ledger.epoch() == Some(entry.epoch) && ledger.coverage().is_some();
        let newest = entry.epoch == self.database.epoch() && entry.xmin == self.database.next();
        let lies = !play.scenario.lies.is_empty() || play.lacks(Mutant::HintOfAnotherLife);
        if known && newest && !lies {
            return play.minds(Fall::NotRescued);
        }
        Ok(())
    }
}
