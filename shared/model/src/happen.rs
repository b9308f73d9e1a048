//! What an action does to the world: the order of `source.rs` and `fill.rs`.

use crate::check::{Fall, Served};
use crate::database::{Fate, Index, Moment, SOURCE, Set};
use crate::mutant::Mutant;
use crate::play::{Play, stamp};
use crate::process::{Entry, Errand, Load, Poll, Process};
use crate::world::{Action, World};
use larder::digest::{Hinted, Step};
use larder::feed::Written;

impl World {
    /// The world after an action, or why the protocol has fallen.
    pub fn after(&self, action: Action, play: &Play) -> Result<World, Fall> {
        let mut world = self.clone();
        world.happen(action, play)?;
        if !play.scenario.fine {
            while world.process.work.is_some() {
                world.process.work(play.mutant);
            }
            while world.process.reader.is_some() {
                world.read_on(play)?;
            }
        }
        Ok(world)
    }

    fn happen(&mut self, action: Action, play: &Play) -> Result<(), Fall> {
        let scenario = play.scenario;
        match action {
            Action::Begin => self.database.begin(),
            Action::Commit(index) => self.database.end(index, Fate::Committed),
            Action::Abort(index) => self.database.end(index, Fate::Aborted),
            Action::Mark => self.database.mark(play.mutant),
            Action::Drop => {
                self.left.prunes -= 1;
                self.database.drop_marked();
            }
            Action::Restore { cut } => {
                self.left.restores -= 1;
                self.database.restore(cut);
            }
            Action::Hint(index) => return self.hear(index, play),
            Action::Lie(which) => self.hear_lie(which, play),
            Action::OpenKeyspace => {
                let (mut ledger, mut steps) = (self.process.ledger.clone(), Vec::new());
                let applied = self.process.memory.applied();
                if let Some(tag) = scenario.late_keyspace {
                    ledger.keyspace(tag, applied, |step| steps.push(step));
                }
                if let Some(Step::Raise { xid, seq, .. }) = steps.first_mut() {
                    match play.mutant {
                        Some(Mutant::LateKeyspaceUntouched) => *xid = 0,
                        Some(Mutant::LateKeyspaceUnmoved) => *seq = 0,
                        _ => {}
                    }
                }
                self.process.begin_work(ledger, steps, play);
            }
            Action::Ask => {
                self.left.polls -= 1;
                self.process.poll = Some(Poll {
                    since: self.process.ledger.coverage().cloned(),
                    asked_at: stamp(self.database.now()),
                    answered: None,
                });
            }
            Action::Answer { at } => {
                let answered = self.database.answer(at);
                if let Some(poll) = &mut self.process.poll {
                    poll.answered = Some(answered);
                }
            }
            Action::Apply => self.apply(play),
            Action::LoseRound => self.process.poll = None,
            Action::Work => self.process.work(play.mutant),
            Action::BeginLoad { key } => {
                self.check_applied(play)?;
                self.left.loads -= 1;
                self.process.load = Some(Load {
                    key,
                    captured: self.process.memory.applied(),
                    loaded_at: stamp(self.database.now()),
                    read_at: None,
                    labelled_at: None,
                });
            }
            Action::Load { at } => {
                if let Some(load) = &mut self.process.load {
                    load.read_at = Some(at);
                    let later = play.lacks(Mutant::LabelAfterData);
                    load.labelled_at = (!later).then_some(at);
                }
            }
            Action::Label => {
                let now = self.database.now();
                if let Some(load) = &mut self.process.load {
                    load.labelled_at = Some(now);
                }
            }
            Action::Keep { joiner } => return self.keep(joiner, play),
            Action::Read { key, token } => self.begin_read(key, Errand::Hit, token, play),
            Action::Take {
                key,
                read_at,
                labelled_at,
                weak,
                token,
            } => {
                self.left.takes -= 1;
                let errand = Errand::Take {
                    read_at,
                    labelled_at,
                    weak,
                };
                self.begin_read(key, errand, token, play);
            }
            Action::Tell { key } => {
                self.begin_read(key, Errand::Tell { coverage: None }, None, play);
            }
            Action::Reader => return self.read_on(play),
            Action::Restart => {
                self.left.restarts -= 1;
                self.process = Process::new(scenario, play.mutant);
            }
        }
        Ok(())
    }

    /// A hint arrives: the process's own, or another's.
    fn hear(&mut self, index: Index, play: &Play) -> Result<(), Fall> {
        let process = &mut self.process;
        let mut written = self.database.written(index, play.scenario);
        let token = written.token(SOURCE);
        if play.lacks(Mutant::HintOfAnotherLife)
            && let Some(epoch) = process.ledger.epoch()
        {
            written.epoch = epoch;
        }
        let hinted = process.hint(&written, play);
        let whole = matches!(hinted, Hinted::Applied | Hinted::Overflowed);
        let this_life = process.ledger.epoch() == Some(self.database.epoch());
        if whole && this_life && self.database.begun[usize::from(index)].fate == Fate::Committed {
            // From when all of it is in the cells.
            if let Some(work) = &mut process.work {
                work.hint = Some(index);
            }
        }
        let room = play.scenario.script.len() + play.scenario.lies.len();
        let whole_list = play.scenario.pending_hints >= room && written.epoch == token.epoch;
        if hinted == Hinted::Known && whole_list && !process.ledger.covers(&token) {
            return play.minds(Fall::HintDropped { index });
        }
        Ok(())
    }

    fn hear_lie(&mut self, which: u8, play: &Play) {
        let (xid, tags) = play.scenario.lies[usize::from(which)];
        if let Some(epoch) = self.process.ledger.epoch() {
            let tags = tags.to_vec();
            self.process.hint(&Written { epoch, xid, tags }, play);
        }
    }

    /// A round arrives.
    fn apply(&mut self, play: &Play) {
        let Some(poll) = self.process.poll.take() else {
            return;
        };
        let Some(answered) = poll.answered else {
            return;
        };
        let since = poll.since.as_ref();
        let round = self
            .database
            .round(since, answered, play.scenario, play.mutant);
        let asked_at = match play.mutant {
            Some(Mutant::ProofAtReceipt) => stamp(self.database.now()),
            _ => poll.asked_at,
        };
        self.process.round(&poll, round, asked_at, play);
    }

    /// A load is done: its value is kept, and answered to whoever joined its flight.
    fn keep(&mut self, joiner: Option<Index>, play: &Play) -> Result<(), Fall> {
        let Some(load) = self.process.load.take() else {
            return Ok(());
        };
        let (Some(read_at), Some(labelled_at)) = (load.read_at, load.labelled_at) else {
            return Ok(());
        };
        let label = self.database.view(labelled_at).label();
        let epoch = self.process.ledger.epoch();
        let ours = epoch.is_none_or(|epoch| epoch == label.epoch);
        if !ours && !play.lacks(Mutant::LoadOfAnotherLife) {
            return Ok(());
        }
        let late = play.lacks(Mutant::CaptureAfterRead);
        let applied = self.process.memory.applied();
        let entry = Entry {
            value: self.shown(load.key, read_at, play),
            captured: if late { applied } else { load.captured },
            loaded_at: load.loaded_at,
            epoch: label.epoch,
            xmin: play.xmin_of(&label),
            cells: self.process.cells_of(load.key, play.scenario),
        };
        self.process.entries[usize::from(load.key)] = Some(entry.clone());
        let Some(token) = joiner else { return Ok(()) };
        if play.lacks(Mutant::JoinerUnjudged) {
            let served = Served {
                key: load.key,
                value: entry.value,
                reflects: entry.loaded_at,
                token: Some(token),
                hinted: 0,
            };
            return self.check_served(&served, play);
        }
        if self.process.reader.is_none() {
            self.begin_read(load.key, Errand::Hit, Some(token), play);
        }
        Ok(())
    }

    /// What a key's value was at a moment.
    pub(crate) fn shown(&self, key: u8, at: Moment, play: &Play) -> Set {
        play.of_key(key, self.database.view(at).present)
    }
}
