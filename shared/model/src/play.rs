//! What is played: a scenario, with every rule or with all but one.

use crate::check::Fall;
use crate::database::{Database, Index, Moment, SOURCE, Set};
use crate::mutant::Mutant;
use crate::scenario::{KEYS, SCRIPT, Scenario};
use larder::Label;
use larder::clock::Stamp;
use larder::feed::Written;

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// What may happen.
    pub scenario: &'static Scenario,
    /// The rule that is missing.
    pub mutant: Option<Mutant>,
    /// For each key, the transactions that change it.
    concerning: [Set; KEYS],
    /// For each transaction, the hash of what it touches, which its token carries.
    touched: [u64; SCRIPT],
}

impl Play {
    /// This scenario, without this rule.
    pub fn new(scenario: &'static Scenario, mutant: Option<Mutant>) -> Self {
        let mut concerning = [0; KEYS];
        for (key, set) in concerning.iter_mut().take(scenario.keys.len()).enumerate() {
            *set = scenario.concerning(key as u8);
        }
        let mut touched = [0; SCRIPT];
        for (hash, tags) in touched.iter_mut().zip(scenario.script) {
            let written = Written {
                epoch: Database::default().epoch(),
                xid: 0,
                tags: tags.to_vec(),
            };
            *hash = written.token(SOURCE).touched;
        }
        Self {
            scenario,
            mutant,
            concerning,
            touched,
        }
    }

    /// Of these transactions, those that change a key's value.
    pub(crate) fn of_key(&self, key: u8, set: Set) -> Set {
        set & self.concerning[usize::from(key)]
    }

    /// The hash of what a transaction touches.
    pub(crate) fn touched(&self, index: Index) -> u64 {
        self.touched[usize::from(index)]
    }

    /// A mutant is caught only by the promise that its rule keeps.
    pub(crate) fn minds(&self, fall: Fall) -> Result<(), Fall> {
        let minded = |mutant: Mutant| mutant.breaks() == fall.promise();
        if self.mutant.is_none_or(minded) {
            Err(fall)
        } else {
            Ok(())
        }
    }

    pub(crate) fn lacks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The one number of an entry's label that it keeps.
    pub(crate) fn xmin_of(&self, label: &Label) -> u64 {
        match self.mutant {
            Some(Mutant::XmaxAsLabel) => label.snapshot.xmax(),
            _ => label.snapshot.xmin(),
        }
    }
}

/// A moment as the clock of the process shows it; `Stamp::NEVER` is before all moments.
pub(crate) fn stamp(at: Moment) -> Stamp {
    Stamp::from_nanos(u64::from(at) + 1)
}
