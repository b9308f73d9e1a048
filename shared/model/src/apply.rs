//! A change on its way through the ledger: which steps it takes, and what a mutant makes of them.

use crate::database::SOURCE;
use crate::mutant::Mutant;
use crate::play::Play;
use crate::process::{Poll, Process, Work};
use larder::clock::Stamp;
use larder::digest::{Applied, Hinted, Ledger, Step};
use larder::feed::{Round, Written};

impl Process {
    /// Takes the lock: what follows happens step by step.
    pub(crate) fn begin_work(&mut self, ledger: Ledger, mut steps: Vec<Step>, play: &Play) {
        let publishes = |step: &Step| matches!(step, Step::Publish(_));
        let changes = steps.iter().any(publishes);
        let count = |step: &Step| match step {
            Step::Forget => 0,
            Step::Raise { .. } => 1,
            Step::Publish(_) => 2,
            Step::Prove(_) => 3,
        };
        match play.mutant {
            Some(Mutant::PublishBeforeCells) => {
                steps.sort_by_key(|step| matches!(count(step), 1 | 3));
            }
            Some(Mutant::ProofBeforeCells) => steps.sort_by_key(|step| count(step) != 3),
            _ => {}
        }
        if play.lacks(Mutant::EarlyUnlock) {
            self.ledger = ledger.clone();
        }
        self.work = Some(Work {
            steps: steps.into(),
            ledger,
            changes,
            hint: None,
        });
    }

    pub(crate) fn hint(&mut self, written: &Written, play: &Play) -> Hinted {
        let before = &self.ledger;
        let mut any = written.token(SOURCE);
        any.touched = 0;
        if play.lacks(Mutant::HintKnownByXid) && before.covers(&any) {
            return Hinted::Known;
        }
        let (mut ledger, mut steps) = (before.clone(), Vec::new());
        let seq = self.memory.applied() + 1;
        let hinted = ledger.hint(written, seq, |step| steps.push(step));
        if hinted == Hinted::Overflowed && play.lacks(Mutant::OverflowIgnored) {
            ledger = before.clone();
        }
        if !steps.is_empty() {
            self.begin_work(ledger, steps, play);
        }
        hinted
    }

    pub(crate) fn round(&mut self, poll: &Poll, mut round: Round, asked_at: Stamp, play: &Play) {
        let mut since = poll.since.clone();
        let whole = since
            .as_ref()
            .is_none_or(|since| since.epoch != round.epoch);
        match play.mutant {
            Some(Mutant::NoHorizon) if whole => round.low_dropped = 0,
            Some(Mutant::NoGapRule) if !whole => round.low_dropped = 0,
            Some(Mutant::HintedLineSkipped) => {
                let epoch = round.epoch;
                round.changes.retain(|change| {
                    let tags = vec![change.tag];
                    let written = Written {
                        epoch,
                        xid: change.xid,
                        tags,
                    };
                    let mut any = written.token(SOURCE);
                    any.touched = 0;
                    !self.ledger.covers(&any)
                });
            }
            Some(Mutant::WentBackFollowed) => {
                if let Some(since) = &mut since {
                    since.snapshot = larder::Snapshot::up_to(0);
                }
            }
            _ => {}
        }
        let new_life = self
            .ledger
            .epoch()
            .is_some_and(|epoch| epoch != round.epoch);
        let (mut ledger, mut steps) = (self.ledger.clone(), Vec::new());
        let seq = self.memory.applied() + 1;
        let applied = ledger.round((since.as_ref(), asked_at), &round, seq, |step| {
            steps.push(step);
        });
        if play.lacks(Mutant::GapMovesNothing) && whole {
            steps.retain(|step| !matches!(step, Step::Raise { xid: 0, .. }));
        }
        if play.lacks(Mutant::LateKeyspaceHitsOwnCell) {
            let own = |tag| self.knows_keyspace(tag, play.scenario);
            let hashed = play.scenario.hashed as u64;
            let shared: Vec<u32> = (round.changes.iter())
                .filter(|change| own(change.tag))
                .map(|change| (change.tag.0 & (hashed - 1)) as u32)
                .collect();
            steps.retain(|step| !matches!(step, Step::Raise { cell, .. } if shared.contains(cell)));
        }
        if new_life {
            self.hinted = 0;
            if let Some(reader) = &mut self.reader {
                reader.hinted = 0;
            }
            if play.lacks(Mutant::EpochKeepsHints) {
                self.past_life = Some(self.ledger.clone());
            }
        }
        match applied {
            Applied::Round { .. } => self.begin_work(ledger, steps, play),
            Applied::Gap | Applied::WentBack => self.ledger = ledger,
        }
    }
}
