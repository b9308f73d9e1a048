//! Everything together: what can happen next, and what then is.

use crate::check::Fall;
use crate::database::{Database, Fate, Index, Moment, SOURCE, Set};
use crate::mutant::Mutant;
use crate::process::{Entry, Errand, Load, Poll, Process, Work};
use crate::scenario::{KEYS, SCRIPT, Scenario};
use larder::Label;
use larder::clock::Stamp;
use larder::digest::{Applied, Hinted, Step};
use larder::feed::{Round, Written};
use std::hash::{BuildHasher, Hash, Hasher};

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "`story` says each in words")]
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
struct Left {
    loads: u8,
    polls: u8,
    takes: u8,
    prunes: u8,
    restores: u8,
    restarts: u8,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct World {
    pub(crate) database: Database,
    pub(crate) process: Process,
    left: Left,
}

/// What is played: a scenario, with every rule or with all but one.
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
}

/// A moment as the clock of the process shows it; `Stamp::NEVER` is before all moments.
pub(crate) fn stamp(at: Moment) -> Stamp {
    Stamp::from_nanos(u64::from(at) + 1)
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
            let served = crate::check::Served {
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

impl Play {
    /// The one number of an entry's label that it keeps.
    pub(crate) fn xmin_of(&self, label: &Label) -> u64 {
        match self.mutant {
            Some(Mutant::XmaxAsLabel) => label.snapshot.xmax(),
            _ => label.snapshot.xmin(),
        }
    }
}

impl Process {
    /// Takes the lock: what follows happens step by step.
    fn begin_work(&mut self, ledger: larder::digest::Ledger, mut steps: Vec<Step>, play: &Play) {
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

    fn hint(&mut self, written: &Written, play: &Play) -> Hinted {
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

    fn round(&mut self, poll: &Poll, mut round: Round, asked_at: Stamp, play: &Play) {
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
