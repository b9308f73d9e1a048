//! Everything together, and what can happen next.

use crate::database::{Database, Fate, Index, Moment};
use crate::mutant::Mutant;
use crate::play::Play;
use crate::process::Process;
use std::hash::{BuildHasher, Hash, Hasher};

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "`story` says each in words")]
pub enum Action {
    Begin,
    Commit(Index),
    Abort(Index),
    Mark,
    Drop,
    Restore {
        cut: u8,
    },
    Hint(Index),
    Lie(u8),
    OpenKeyspace,
    Ask,
    Answer {
        at: Moment,
    },
    Apply,
    LoseRound,
    Work,
    BeginLoad {
        key: u8,
    },
    Load {
        at: Moment,
    },
    Label,
    Keep {
        joiner: Option<Index>,
    },
    Read {
        key: u8,
        token: Option<Index>,
    },
    Take {
        key: u8,
        read_at: Moment,
        labelled_at: Moment,
        weak: bool,
        token: Option<Index>,
    },
    Tell {
        key: u8,
    },
    Reader,
    Restart,
}

/// How often what is bounded may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Left {
    pub(crate) loads: u8,
    pub(crate) polls: u8,
    pub(crate) takes: u8,
    pub(crate) prunes: u8,
    pub(crate) restores: u8,
    pub(crate) restarts: u8,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct World {
    pub(crate) database: Database,
    pub(crate) process: Process,
    pub(crate) left: Left,
}

impl World {
    /// Before anything has happened.
    pub fn new(play: &Play) -> Self {
        let scenario = play.scenario;
        Self {
            database: Database::default(),
            process: Process::new(scenario, play.mutant),
            left: Left {
                loads: scenario.loads,
                polls: scenario.polls,
                takes: scenario.takes,
                prunes: scenario.prunes,
                restores: scenario.restores,
                restarts: scenario.restarts,
            },
        }
    }

    /// The same number for states that cannot be told apart.
    pub fn fingerprint(&self) -> u64 {
        let mut state = foldhash::quality::FixedState::default().build_hasher();
        self.database.hash(&mut state);
        self.process.hash_into(&mut state);
        self.left.hash(&mut state);
        state.finish()
    }

    /// What can happen next.
    pub fn actions(&self, play: &Play, actions: &mut Vec<Action>) {
        actions.clear();
        self.of_database(play, actions);
        self.of_feed(play, actions);
        self.of_loads(play, actions);
        self.of_readers(play, actions);
        if self.process.work.is_some() {
            actions.push(Action::Work);
        } else {
            self.of_hints(play, actions);
        }
        if self.left.restarts > 0 {
            actions.push(Action::Restart);
        }
    }

    fn of_database(&self, play: &Play, actions: &mut Vec<Action>) {
        let database = &self.database;
        if database.begun.len() < play.scenario.script.len() {
            actions.push(Action::Begin);
        }
        for (index, transaction) in database.begun.iter().enumerate() {
            if transaction.fate == Fate::Open {
                actions.push(Action::Commit(index as Index));
                if play.scenario.aborts {
                    actions.push(Action::Abort(index as Index));
                }
            }
        }
        if self.left.prunes > 0 {
            let marked = database.is_marked();
            actions.push(if marked { Action::Drop } else { Action::Mark });
        }
        if self.left.restores > 0 {
            let next = database.next() as u8;
            actions.extend((1..=next).map(|cut| Action::Restore { cut }));
        }
    }

    fn of_feed(&self, play: &Play, actions: &mut Vec<Action>) {
        let process = &self.process;
        let Some(poll) = &process.poll else {
            if self.left.polls > 0 && process.unlocked() {
                actions.push(Action::Ask);
            }
            return;
        };
        if poll.answered.is_some() {
            if process.unlocked() {
                actions.push(Action::Apply);
            }
            return;
        }
        let now = self.database.now();
        actions.push(Action::Answer { at: now });
        if play.scenario.feed_goes_back
            && let Some(since) = &poll.since
        {
            let lacks = |at: &Moment| {
                let view = self.database.view(*at);
                view.epoch() == since.epoch && !since.snapshot.within(&view.snapshot())
            };
            actions.extend((0..now).filter(lacks).map(|at| Action::Answer { at }));
        }
        actions.push(Action::LoseRound);
    }

    fn of_loads(&self, play: &Play, actions: &mut Vec<Action>) {
        let now = self.database.now();
        let Some(load) = &self.process.load else {
            if self.left.loads > 0 {
                let keys = self.keys(play);
                actions.extend(keys.map(|key| Action::BeginLoad { key }));
            }
            return;
        };
        match (load.read_at, load.labelled_at) {
            (None, _) => {
                actions.push(Action::Load { at: now });
                if play.lacks(Mutant::OwnersLoadAsOwn) {
                    actions.extend((0..now).map(|at| Action::Load { at }));
                }
                let known = self.process.ledger.epoch() == Some(self.database.epoch());
                if play.scenario.old_primary && known {
                    let at = self.database.end_of_last_life();
                    actions.extend(at.map(|at| Action::Load { at }));
                }
            }
            (Some(_), None) => actions.push(Action::Label),
            // It asks for the cells of its tags, behind the lock.
            (Some(_), Some(_)) if self.process.unlocked() => {
                actions.push(Action::Keep { joiner: None });
                let joiners = self.tokens(play).map(|token| Action::Keep {
                    joiner: Some(token),
                });
                actions.extend(joiners);
            }
            _ => {}
        }
    }

    fn of_readers(&self, play: &Play, actions: &mut Vec<Action>) {
        let scenario = play.scenario;
        if let Some(reader) = &self.process.reader {
            if self.process.unlocked() || !reader.waits(play) {
                actions.push(Action::Reader);
            }
            return;
        }
        for key in self.keys(play) {
            let tokens = || [None].into_iter().chain(self.tokens(play).map(Some));
            if self.process.entries[usize::from(key)].is_some() {
                actions.extend(tokens().map(|token| Action::Read { key, token }));
                if scenario.tells {
                    actions.push(Action::Tell { key });
                }
            }
            if self.left.takes == 0 {
                continue;
            }
            let now = self.database.now();
            let weak = [false, true];
            for (read_at, weak) in (0..=now).flat_map(|at| weak.map(|weak| (at, weak))) {
                if weak && !scenario.standby {
                    continue;
                }
                let last = if play.lacks(Mutant::LabelAfterData) {
                    now
                } else {
                    read_at
                };
                for labelled_at in read_at..=last {
                    let take = |token| Action::Take {
                        key,
                        read_at,
                        labelled_at,
                        weak,
                        token,
                    };
                    actions.extend(tokens().map(take));
                }
            }
        }
    }

    /// The keys of keyspaces that are open.
    fn keys(&self, play: &Play) -> impl Iterator<Item = u8> {
        let keyspace = |key: u8| play.scenario.keys[usize::from(key)].keyspace;
        let open = move |key: &u8| self.process.knows_keyspace(keyspace(*key), play.scenario);
        (0..play.scenario.keys.len() as u8).filter(open)
    }

    /// The writes whose receipts a reader may show.
    fn tokens(&self, play: &Play) -> impl Iterator<Item = Index> {
        let begun = if play.scenario.tokens {
            self.database.begun.len()
        } else {
            0
        };
        (0..begun as Index).filter(|&index| self.database.was_committed(index))
    }

    fn of_hints(&self, play: &Play, actions: &mut Vec<Action>) {
        let scenario = play.scenario;
        if scenario.hints {
            let begun = 0..self.database.begun.len() as Index;
            let heard = begun.filter(|&index| {
                let fate = self.database.begun[usize::from(index)].fate;
                self.database.was_committed(index) || scenario.early_hints && fate == Fate::Open
            });
            actions.extend(heard.map(Action::Hint));
        }
        if self.process.ledger.epoch().is_some() {
            let lies = 0..scenario.lies.len() as u8;
            actions.extend(lies.map(Action::Lie));
        }
        let known = |tag| self.process.knows_keyspace(tag, scenario);
        if scenario.late_keyspace.is_some_and(|tag| !known(tag)) {
            actions.push(Action::OpenKeyspace);
        }
    }
}
