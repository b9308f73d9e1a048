//! Random walks through the protocol: transactions that commit in any order, hints that are lost,
//! late, doubled or lies, a remote tier that returns any value ever stored, loads that finish at
//! any time, standbys, pruning, restarts, new epochs. No clock: wherever the digest would let an
//! entry be served, the entry must reflect everything that the digest's coverage shows.

use crate::support;

use larder::clock::Stamp;
use larder::digest::{Applied, Digest};
use larder::feed::{Coverage, Feed as _, Written};
use larder::snapshot::Xid;
use larder::{Label, Tag};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::Database;

const ROWS: [&str; 3] = ["1", "2", "3"];
const KEYSPACE: &str = "rows";

/// A value: what it depends on, and the transactions on it that it shows.
#[derive(Clone, Debug)]
struct Shown {
    tag: Tag,
    label: Label,
    reflects: Vec<Xid>,
}

#[derive(Debug)]
struct Entry {
    shown: Shown,
    captured: u64,
    /// Not for entries of a standby, whose label is not the whole truth.
    own: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    Commit(prop::sample::Index),
    Abort(prop::sample::Index),
    Hint(prop::sample::Index),
    Lie(usize, u64),
    Note,
    Poll,
    BeginLoad(usize),
    FinishLoad(prop::sample::Index),
    StandbyLoad(usize),
    TakeRemote(prop::sample::Index),
    Rescue(prop::sample::Index),
    Mark,
    Drop,
    Restart,
    Promote,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = 0..ROWS.len();
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => row.clone().prop_map(Step::Begin),
        4 => index().prop_map(Step::Commit),
        1 => index().prop_map(Step::Abort),
        3 => index().prop_map(Step::Hint),
        1 => (row.clone(), 95u64..130).prop_map(|(row, xid)| Step::Lie(row, xid)),
        1 => Just(Step::Note),
        4 => Just(Step::Poll),
        3 => row.clone().prop_map(Step::BeginLoad),
        3 => index().prop_map(Step::FinishLoad),
        2 => row.prop_map(Step::StandbyLoad),
        4 => index().prop_map(Step::TakeRemote),
        2 => index().prop_map(Step::Rescue),
        1 => Just(Step::Mark),
        1 => Just(Step::Drop),
        1 => Just(Step::Restart),
        1 => Just(Step::Promote),
    ];
    proptest::collection::vec(step, 1..120)
}

/// One process and its database.
struct Walk {
    database: Database,
    digest: Digest,
    cells: usize,
    keyspace: u32,
    open: Vec<(Xid, usize)>,
    /// Transactions that committed, by what they touched.
    committed: BTreeMap<Xid, Tag>,
    hints: Vec<Written>,
    loading: Vec<(u64, Shown)>,
    entries: Vec<Entry>,
    remote: Vec<Shown>,
    /// A snapshot taken some time ago, as a lagging standby has it.
    standby: Option<(Label, Vec<Xid>)>,
}

fn tag(row: usize) -> Tag {
    Tag::of("rows", ROWS[row])
}

impl Walk {
    fn new(cells: usize) -> Self {
        let digest = Digest::new(1, cells);
        let keyspace = digest.keyspace(Tag::keyspace(KEYSPACE));
        Self {
            database: Database::default(),
            digest,
            cells,
            keyspace,
            open: Vec::new(),
            committed: BTreeMap::new(),
            hints: Vec::new(),
            loading: Vec::new(),
            entries: Vec::new(),
            remote: Vec::new(),
            standby: None,
        }
    }

    fn restart(&mut self) {
        self.digest = Digest::new(1, self.cells);
        self.keyspace = self.digest.keyspace(Tag::keyspace(KEYSPACE));
        self.entries.clear();
        self.loading.clear();
    }

    fn shown(&self, row: usize) -> Shown {
        let reflects = self
            .committed
            .iter()
            .filter(|(_, touched)| **touched == tag(row));
        let reflects = reflects.map(|(xid, _)| *xid).collect();
        Shown {
            tag: tag(row),
            label: self.database.label(),
            reflects,
        }
    }

    fn poll(&self) {
        for _ in 0..2 {
            let since = self.digest.coverage();
            let round = futures_util::FutureExt::now_or_never(self.database.round(since.as_ref()));
            let round = round.expect("never waits").expect("never fails");
            let applied = self
                .digest
                .apply_round(since.as_ref(), &round, Stamp::from_nanos(1));
            assert_ne!(applied, Applied::WentBack);
            if applied != Applied::Gap {
                return;
            }
        }
        panic!("a gap in a whole journal");
    }

    fn take(&mut self, shown: Shown, own: bool) {
        let tags = [shown.tag, Tag::keyspace(KEYSPACE)];
        if let Ok(admission) = self.digest.admit(&shown.label, &tags) {
            self.entries.push(Entry {
                shown,
                captured: admission.captured,
                own,
            });
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            // One writer a row at a time, as row locks have it.
            Step::Begin(row) if self.open.iter().all(|(_, open)| *open != row) => {
                let xid = self.database.begin();
                self.database.write(xid, ROWS[row], Some(("a", "x")));
                self.open.push((xid, row));
            }
            Step::Commit(which) if !self.open.is_empty() => {
                let (xid, row) = self.open.remove(which.index(self.open.len()));
                self.hints.push(self.database.commit(xid));
                self.committed.insert(xid, tag(row));
            }
            Step::Abort(which) if !self.open.is_empty() => {
                let (xid, _) = self.open.remove(which.index(self.open.len()));
                self.database.roll_back(xid);
            }
            Step::Hint(which) if !self.hints.is_empty() => {
                self.digest
                    .apply_hint(&self.hints[which.index(self.hints.len())]);
            }
            Step::Lie(row, xid) => {
                if let Some(epoch) = self.digest.epoch() {
                    let tags = vec![tag(row), Tag::of("lie", ROWS[row])];
                    self.digest.apply_hint(&Written { epoch, xid, tags });
                }
            }
            Step::Note => {
                let committed = self.committed.keys().copied().collect();
                self.standby = Some((self.database.label(), committed));
            }
            Step::Poll => self.poll(),
            Step::BeginLoad(row) => {
                let captured = self.digest.captured();
                self.loading.push((captured, self.shown(row)));
            }
            Step::FinishLoad(which) if !self.loading.is_empty() => {
                let (captured, shown) = self.loading.swap_remove(which.index(self.loading.len()));
                self.remote.push(shown.clone());
                let epoch = self.digest.epoch();
                if epoch.is_none_or(|epoch| epoch == shown.label.epoch) {
                    self.entries.push(Entry {
                        shown,
                        captured,
                        own: true,
                    });
                }
            }
            Step::StandbyLoad(row) => {
                if let Some((label, committed)) = self.standby.clone() {
                    // What a standby showed then: its data, and of its snapshot what is right.
                    let ours = committed
                        .iter()
                        .filter(|xid| self.committed[xid] == tag(row));
                    let reflects = ours.copied().collect();
                    let label = Label::of_standby(label.epoch, &label.snapshot);
                    self.remote.push(Shown {
                        tag: tag(row),
                        label: label.clone(),
                        reflects,
                    });
                    let shown = self.remote.last().cloned().expect("just pushed");
                    self.take(shown, false);
                }
            }
            Step::TakeRemote(which) if !self.remote.is_empty() => {
                let shown = self.remote[which.index(self.remote.len())].clone();
                self.take(shown, false);
            }
            Step::Rescue(which) if !self.entries.is_empty() => {
                let index = which.index(self.entries.len());
                let entry = &mut self.entries[index];
                let cells = self.digest.cells(&[entry.shown.tag]);
                let (epoch, xmin) = (entry.shown.label.epoch, entry.shown.label.snapshot.xmin());
                if let Some(seq) = self.digest.rescue(epoch, xmin, self.keyspace, &cells) {
                    entry.captured = entry.captured.max(seq);
                }
            }
            Step::Mark => self.database.mark(),
            Step::Drop => self.database.drop_marked(),
            Step::Restart => self.restart(),
            Step::Promote => self.database.promote(),
            _ => {}
        }
    }

    /// The rule, without its clock: every entry that has not moved reflects all that is visible
    /// in the coverage, and whatever a token vouches for.
    fn check(&self) {
        let coverage: Option<Coverage> = self.digest.coverage();
        for entry in &self.entries {
            let cells = self.digest.cells(&[entry.shown.tag]);
            if self.digest.moved(self.keyspace, &cells, entry.captured) {
                continue;
            }
            for (&xid, &touched) in &self.committed {
                let shown = entry.shown.reflects.contains(&xid);
                if touched != entry.shown.tag || shown {
                    continue;
                }
                let covered = coverage.as_ref().is_some_and(|c| c.snapshot.sees(xid));
                assert!(
                    !covered,
                    "served without {xid}, which the coverage shows: {entry:?}"
                );
                let written = self.hints.iter().find(|hint| hint.xid == xid);
                let written = written.expect("every commit has one");
                let vouched = self.digest.covers(&written.token(1));
                assert!(!vouched, "served without {xid}, whose token is honoured");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_has_not_moved_reflects_all_that_is_covered(steps in steps(), cells in 0u32..5) {
        let mut walk = Walk::new(1 << cells);
        for step in steps {
            walk.step(step);
            walk.check();
        }
        let own = walk.entries.iter().filter(|entry| entry.own).count();
        prop_assert!(own <= walk.entries.len());
    }
}
