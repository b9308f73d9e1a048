//! A read, one access to shared memory at a time: the order of `cache.rs`, `fill.rs` and
//! `tell.rs`.

use crate::check::{Fall, Served};
use crate::database::{Index, SOURCE};
use crate::mutant::Mutant;
use crate::play::{Play, stamp};
use crate::process::{Entry, Errand, Process, Reader, Stage};
use crate::world::World;
use larder::clock::Stamp;
use larder::digest::{Cells, Refused};
use larder::judge::{self, Verdict};
use larder::{Label, Snapshot, Token};
use std::time::Duration;

impl Reader {
    /// Whether its next step needs the lock.
    pub fn waits(&self, play: &Play) -> bool {
        if play.lacks(Mutant::EarlyUnlock) {
            return false;
        }
        match self.stage {
            Stage::Token => self.token.is_some(),
            Stage::Rescue | Stage::Coverage => true,
            Stage::Admit => !play.lacks(Mutant::PositionAfterLock),
            Stage::Proof | Stage::Cell(_) | Stage::Position | Stage::Serve => false,
        }
    }

    /// The order of its steps; looking at the cells is one of them here.
    fn order(&self, play: &Play) -> &'static [Stage] {
        use Stage::{Admit, Cell, Coverage, Position, Proof, Serve, Token};
        match (&self.errand, play.mutant) {
            (Errand::Hit, Some(Mutant::CellsBeforeProof)) => &[Token, Cell(0), Proof, Serve],
            (Errand::Hit, Some(Mutant::TokenAfterCells)) => &[Proof, Cell(0), Token, Serve],
            (Errand::Hit, _) => &[Token, Proof, Cell(0), Serve],
            (Errand::Take { .. }, Some(Mutant::PositionAfterLock)) => {
                &[Token, Proof, Admit, Position, Serve]
            }
            (Errand::Take { .. }, _) => &[Token, Proof, Admit, Serve],
            (Errand::Tell { .. }, Some(Mutant::ToldCoverageLate)) => &[Cell(0), Coverage, Serve],
            (Errand::Tell { .. }, _) => &[Coverage, Cell(0), Serve],
        }
    }

    fn go_on(&mut self, play: &Play) {
        let same = |stage: &&Stage| match (stage, self.stage) {
            (Stage::Cell(_), Stage::Cell(_)) => true,
            (stage, own) => **stage == own,
        };
        let mut rest = self.order(play).iter().skip_while(|stage| !same(stage));
        self.stage = rest.nth(1).copied().unwrap_or(Stage::Serve);
    }
}

impl World {
    pub(crate) fn begin_read(
        &mut self,
        key: u8,
        errand: Errand,
        token: Option<Index>,
        play: &Play,
    ) {
        let entry = match errand {
            Errand::Take { .. } => None,
            Errand::Hit | Errand::Tell { .. } => self.process.entries[usize::from(key)].clone(),
        };
        let mut reader = Reader {
            key,
            errand,
            token,
            hinted: self.process.hinted,
            stage: Stage::Serve,
            proven_at: Stamp::NEVER,
            entry,
            rescued: false,
        };
        reader.stage = reader.order(play)[0];
        self.process.reader = Some(reader);
    }

    /// The reader's next step; it is gone when it has answered, or has found a miss.
    pub(crate) fn read_on(&mut self, play: &Play) -> Result<(), Fall> {
        let Some(mut reader) = self.process.reader.take() else {
            return Ok(());
        };
        match reader.stage {
            Stage::Token => {
                let covered = |index| self.process.honours(self.token(index, play), play);
                if !reader.token.is_none_or(covered) {
                    return Ok(());
                }
                reader.go_on(play);
            }
            Stage::Proof => {
                reader.proven_at = self.process.memory.proven_at();
                reader.go_on(play);
            }
            Stage::Coverage => {
                let coverage = self.process.ledger.coverage();
                let coverage = coverage.map(|coverage| Label {
                    epoch: coverage.epoch,
                    snapshot: coverage.snapshot.clone(),
                });
                reader.errand = Errand::Tell { coverage };
                reader.go_on(play);
            }
            Stage::Cell(at) => {
                let Some(entry) = &reader.entry else {
                    return Ok(());
                };
                // The keyspace's own first.
                let first = entry.cells.len() - 1;
                let cell = entry.cells[(first + usize::from(at)) % entry.cells.len()];
                if self.process.memory.moved(cell, &[], entry.captured) {
                    if reader.is_told_as_it_is(play) {
                        return Ok(());
                    }
                    let tells = matches!(reader.errand, Errand::Tell { .. });
                    if !tells && reader.rescued {
                        return Ok(());
                    }
                    if !tells {
                        reader.stage = Stage::Rescue;
                    } else {
                        reader.go_on(play);
                    }
                } else if usize::from(at) < first {
                    reader.stage = Stage::Cell(at + 1);
                } else {
                    reader.go_on(play);
                }
            }
            Stage::Rescue => {
                let Some(entry) = &mut reader.entry else {
                    return Ok(());
                };
                if !self.process.rescues(entry, play) {
                    return self.check_rescue(entry, play);
                }
                let held = &mut self.process.entries[usize::from(reader.key)];
                let is_held = held.as_ref() == Some(entry);
                entry.captured = entry.captured.max(self.process.memory.applied());
                if is_held {
                    *held = Some(entry.clone());
                }
                reader.rescued = true;
                reader.stage = Stage::Cell(0);
            }
            Stage::Admit => {
                let Some(entry) = self.admitted(&reader, play) else {
                    return Ok(());
                };
                reader.entry = Some(entry);
                reader.go_on(play);
            }
            Stage::Position => {
                if let Some(entry) = &mut reader.entry {
                    entry.captured = self.process.memory.applied();
                }
                reader.go_on(play);
            }
            Stage::Serve => return self.serve(reader, play),
        }
        self.process.reader = Some(reader);
        Ok(())
    }

    fn token(&self, index: Index, play: &Play) -> Token {
        self.database.token(index, play.touched(index))
    }

    /// The test of a value from elsewhere, and the entry that it becomes.
    fn admitted(&self, reader: &Reader, play: &Play) -> Option<Entry> {
        let Errand::Take {
            read_at,
            labelled_at,
            weak,
        } = reader.errand
        else {
            return None;
        };
        let view = self.database.view(labelled_at);
        let mut label = match weak {
            false => view.label(),
            true if play.lacks(Mutant::StandbyLabelWhole) => Label {
                epoch: view.epoch(),
                snapshot: view.standby_snapshot(),
            },
            true => Label::of_standby(view.epoch(), &view.standby_snapshot()),
        };
        let (process, mutant) = (&self.process, play.mutant);
        match mutant {
            Some(Mutant::XmaxAsLabel) => {
                label.snapshot = Snapshot::up_to(label.snapshot.xmax() - 1);
            }
            Some(Mutant::LabelOfAnotherLife) => label.epoch = process.ledger.epoch()?,
            _ => {}
        }
        let cells = process.admit(reader.key, &label, play).ok()?;
        Some(Entry {
            value: self.shown(reader.key, read_at, play),
            captured: process.memory.applied(),
            loaded_at: reader.proven_at,
            epoch: label.epoch,
            xmin: label.snapshot.xmin(),
            cells,
        })
    }

    fn serve(&mut self, reader: Reader, play: &Play) -> Result<(), Fall> {
        let Some(entry) = reader.entry else {
            return Ok(());
        };
        if let Errand::Tell { coverage } = reader.errand {
            let told = coverage.filter(|told| told.snapshot.xmin() > entry.xmin);
            return told.map_or(Ok(()), |label| {
                self.check_told(reader.key, entry.value, &label, play)
            });
        }
        if matches!(reader.errand, Errand::Take { .. }) {
            self.process.entries[usize::from(reader.key)] = Some(entry.clone());
        }
        let now = stamp(self.database.now());
        // Any Δ, but not for ever: what was never proven is not served.
        let longest = Duration::from_nanos(now.as_nanos() - 1);
        let verdict = judge::verdict(now, entry.loaded_at, reader.proven_at, false, longest);
        if !matches!(verdict, Verdict::Fresh(_)) {
            return Ok(());
        }
        let served = Served {
            key: reader.key,
            value: entry.value,
            reflects: entry.loaded_at.max(reader.proven_at),
            token: reader.token,
            hinted: reader.hinted,
        };
        self.check_served(&served, play)
    }
}

impl Reader {
    /// A told entry that moved keeps its own label, which is right.
    fn is_told_as_it_is(&self, play: &Play) -> bool {
        matches!(self.errand, Errand::Tell { .. }) && !play.lacks(Mutant::ToldThoughMoved)
    }
}

impl Process {
    fn honours(&self, mut token: Token, play: &Play) -> bool {
        match play.mutant {
            Some(Mutant::TokenByAnyHint) => token.touched = 0,
            Some(Mutant::TokenOfAnotherLife) => {
                token.epoch = self.ledger.epoch().unwrap_or(token.epoch);
            }
            _ => {}
        }
        let in_the_past = |past: &larder::digest::Ledger| {
            let epoch = past.epoch();
            epoch.is_some_and(|epoch| {
                past.covers(&Token {
                    epoch,
                    source: SOURCE,
                    ..token
                })
            })
        };
        self.ledger.covers(&token)
            || self.ledger.epoch() == Some(token.epoch)
                && self.past_life.as_ref().is_some_and(in_the_past)
    }

    fn rescues(&self, entry: &Entry, play: &Play) -> bool {
        let touched = entry.cells.iter().map(|&cell| self.touched(cell));
        match play.mutant {
            Some(Mutant::RescueWithoutXmin) => {
                let none = [].into_iter();
                self.ledger.rescues(entry.epoch, entry.xmin, none)
            }
            Some(Mutant::RescueWithoutHorizon) => {
                self.ledger.epoch() == Some(entry.epoch)
                    && self.ledger.coverage().is_some()
                    && judge::label_clears(entry.xmin, 0, touched)
            }
            _ => self.ledger.rescues(entry.epoch, entry.xmin, touched),
        }
    }

    fn admit(&self, key: u8, label: &Label, play: &Play) -> Result<Cells, Refused> {
        let tags = play.scenario.tags(key);
        let touched = |cell| self.touched(cell);
        match play.mutant {
            Some(Mutant::RemoteBelieved) => Ok(self.ledger.cells(&tags)),
            Some(Mutant::PendingIgnored) => {
                let shipped = self.ledger.admit(label, &tags, touched);
                let coverage = self.ledger.coverage();
                let covers = |label: &Label| {
                    coverage.is_some_and(|coverage| {
                        coverage.epoch == label.epoch
                            && judge::label_covers(label, &coverage.snapshot, [])
                    })
                };
                shipped.or_else(|refused| match covers(label) {
                    true => Ok(self.ledger.cells(&tags)),
                    false => Err(refused),
                })
            }
            _ => self.ledger.admit(label, &tags, touched),
        }
    }
}
