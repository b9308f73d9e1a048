//! The database of the model: transactions that commit in any order, a past that can be looked
//! at, a journal that is pruned in two steps, and lives that end.

use crate::mutant::Mutant;
use crate::scenario::Scenario;
use larder::feed::{Change, Coverage, Round, Written};
use larder::snapshot::Xid;
use larder::{Epoch, Label, Snapshot, Token};

/// Transactions, one bit for each, in the order in which they began.
pub type Set = u16;
/// Which transaction of the script.
pub type Index = u8;
/// How many things had ended: transactions that committed or aborted, and lives.
pub type Moment = u8;

/// The source's hash; there is one source.
pub const SOURCE: u64 = 1;

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It runs.
    Open,
    /// It can be seen.
    Committed,
    /// It changed nothing.
    Aborted,
    /// It could be seen, in a life that the database has left.
    Undone,
}

/// One transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Transaction {
    /// Its number, which another life may give to another one.
    pub xid: u8,
    /// The life that it began in.
    pub life: u8,
    /// What became of it.
    pub fate: Fate,
}

/// The database as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct View {
    life: u8,
    /// The transactions that could be seen.
    pub present: Set,
    xmax: u8,
    /// Numbers below `xmax` that had not ended.
    open: u16,
}

/// See the module's documentation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Database {
    life: u8,
    next: u8,
    /// The transactions of the script that have begun.
    pub begun: Vec<Transaction>,
    past: Vec<View>,
    low_marked: u8,
    low_dropped: u8,
}

/// An answer of the feed on its way: when it was given, and what had been pruned by then.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Answered {
    /// The moment that it shows.
    pub at: Moment,
    low_marked: u8,
    low_dropped: u8,
}

fn epoch(life: u8) -> Epoch {
    Epoch {
        system: 1,
        timeline: life.into(),
    }
}

impl View {
    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        epoch(self.life)
    }

    /// What was visible.
    pub fn snapshot(&self) -> Snapshot {
        let open = (0..self.xmax).filter(|xid| self.open >> xid & 1 == 1);
        let open: Vec<Xid> = open.map(Xid::from).collect();
        let xmin = open.first().copied().unwrap_or(self.xmax.into());
        Snapshot::new(xmin, self.xmax.into(), open).expect("made within its bounds")
    }

    /// The label of what was read then.
    pub fn label(&self) -> Label {
        Label {
            epoch: self.epoch(),
            snapshot: self.snapshot(),
        }
    }

    /// The snapshot that a standby shows when it has come this far: nothing in progress.
    pub fn standby_snapshot(&self) -> Snapshot {
        let snapshot = self.snapshot();
        Snapshot::new(snapshot.xmin(), snapshot.xmax(), Vec::new()).expect("in order")
    }
}

impl Default for Database {
    fn default() -> Self {
        let mut new = Self {
            life: 1,
            next: 1,
            begun: Vec::new(),
            past: Vec::new(),
            low_marked: 0,
            low_dropped: 0,
        };
        new.note();
        new
    }
}

impl Database {
    /// The present moment.
    pub fn now(&self) -> Moment {
        self.past.len() as Moment - 1
    }

    /// The database as it was.
    pub fn view(&self, at: Moment) -> &View {
        &self.past[usize::from(at)]
    }

    /// Its epoch now.
    pub fn epoch(&self) -> Epoch {
        epoch(self.life)
    }

    /// The number that the next transaction gets.
    pub fn next(&self) -> Xid {
        self.next.into()
    }

    /// The last moment of the life before this one.
    pub fn end_of_last_life(&self) -> Option<Moment> {
        let before = |view: &View| view.life < self.life;
        self.past.iter().rposition(before).map(|at| at as Moment)
    }

    /// Whether a transaction can be seen or could be.
    pub fn was_committed(&self, index: Index) -> bool {
        let fate = self.begun[usize::from(index)].fate;
        matches!(fate, Fate::Committed | Fate::Undone)
    }

    /// What a transaction tells of itself after its commit.
    pub fn written(&self, index: Index, scenario: &Scenario) -> Written {
        let transaction = self.begun[usize::from(index)];
        Written {
            epoch: epoch(transaction.life),
            xid: transaction.xid.into(),
            tags: scenario.script[usize::from(index)].to_vec(),
        }
    }

    /// Its receipt; `touched` is the hash of its tags.
    pub fn token(&self, index: Index, touched: u64) -> Token {
        let transaction = self.begun[usize::from(index)];
        Token {
            source: SOURCE,
            epoch: epoch(transaction.life),
            xid: transaction.xid.into(),
            touched,
        }
    }

    /// A transaction gets its number.
    pub fn begin(&mut self) {
        self.begun.push(Transaction {
            xid: self.next,
            life: self.life,
            fate: Fate::Open,
        });
        self.next += 1;
    }

    /// A transaction ends.
    pub fn end(&mut self, index: Index, fate: Fate) {
        self.begun[usize::from(index)].fate = fate;
        self.note();
    }

    fn note(&mut self) {
        let present = self
            .begun
            .iter()
            .enumerate()
            .filter(|(_, transaction)| transaction.fate == Fate::Committed)
            .fold(0, |set, (index, _)| set | 1 << index);
        let of_this_life = |t: &&Transaction| t.life == self.life;
        let open = |t: &&Transaction| t.fate == Fate::Open;
        let ended = self
            .begun
            .iter()
            .filter(of_this_life)
            .filter(|t| !open(t))
            .map(|t| t.xid + 1)
            .max();
        let start = self.past.iter().rfind(|view| view.life == self.life);
        let xmax = ended
            .unwrap_or(0)
            .max(start.map_or(self.next, |view| view.xmax));
        let open = self
            .begun
            .iter()
            .filter(of_this_life)
            .filter(open)
            .filter(|t| t.xid < xmax)
            .fold(0, |set, t| set | 1 << t.xid);
        self.past.push(View {
            life: self.life,
            present,
            xmax,
            open,
        });
    }

    /// The first step of pruning: every ended line is old, up to the current xmin.
    pub fn mark(&mut self, mutant: Option<Mutant>) {
        let view = self.view(self.now());
        let xmin = match mutant {
            Some(Mutant::MarkPassesXmin) => view.xmax.into(),
            _ => view.snapshot().xmin(),
        };
        let lines = (self.begun.iter()).filter(|t| t.fate == Fate::Committed);
        let old = lines.map(|t| t.xid).filter(|xid| Xid::from(*xid) < xmin);
        let mark = old.max().map_or(0, |xid| xid + 1);
        self.low_marked = self.low_marked.max(mark);
    }

    /// The second step.
    pub fn drop_marked(&mut self) {
        self.low_dropped = self.low_marked;
    }

    /// Whether lines wait to be dropped.
    pub fn is_marked(&self) -> bool {
        self.low_marked > self.low_dropped
    }

    /// A new life, in which no transaction from `cut` on has happened.
    pub fn restore(&mut self, cut: u8) {
        self.life += 1;
        for transaction in &mut self.begun {
            transaction.fate = match transaction.fate {
                Fate::Open => Fate::Aborted,
                Fate::Committed if transaction.xid >= cut => Fate::Undone,
                fate => fate,
            };
        }
        self.next = cut;
        self.low_marked = self.low_marked.min(cut);
        self.low_dropped = self.low_dropped.min(cut);
        self.note();
    }

    /// The feed answers now.
    pub fn answer(&self, at: Moment) -> Answered {
        Answered {
            at,
            low_marked: self.low_marked,
            low_dropped: self.low_dropped,
        }
    }

    /// The round that an answer carries: what `shared/journal` asks for in SQL.
    pub fn round(
        &self,
        since: Option<&Coverage>,
        answered: Answered,
        scenario: &Scenario,
        mutant: Option<Mutant>,
    ) -> Round {
        let view = self.view(answered.at);
        let since = since.filter(|since| since.epoch == view.epoch());
        let is_new = |xid: Xid| match (since, mutant) {
            (None, _) => true,
            // "Everything after the highest that I have seen."
            (Some(since), Some(Mutant::CursorFeed)) => xid >= since.snapshot.xmax(),
            (Some(since), _) => !since.snapshot.sees(xid),
        };
        // The highest first, as the statement in `shared/journal` has them; nothing may depend on it.
        let lines = (self.begun.iter().zip(scenario.script).enumerate())
            .rev()
            .filter(|(index, (line, _))| {
                view.present >> index & 1 == 1 && line.xid >= answered.low_dropped
            })
            .filter(|(_, (line, _))| is_new(line.xid.into()));
        let changes = lines.flat_map(|(_, (line, tags))| {
            let xid = line.xid.into();
            tags.iter().map(move |&tag| Change { tag, xid })
        });
        let snapshot = match mutant {
            Some(Mutant::StandbyFeed) => view.standby_snapshot(),
            _ => view.snapshot(),
        };
        Round {
            epoch: view.epoch(),
            snapshot,
            low_marked: answered.low_marked.into(),
            low_dropped: answered.low_dropped.into(),
            changes: changes.collect(),
        }
    }
}
