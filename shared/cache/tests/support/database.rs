//! A database in memory that does what PostgreSQL does where it matters here: transactions that
//! commit out of order, snapshots, a journal written with the data, pruning, and new epochs.

use futures_util::future::BoxFuture;
use larder::feed::{self, Change, Coverage, Feed, Line, Round, Written};
use larder::snapshot::Xid;
use larder::{Epoch, Label, Snapshot};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A row: which collection it is in, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowVersion {
    xid: Xid,
    content: Option<(String, String)>,
}

#[derive(Default)]
pub(super) struct State {
    timeline: u32,
    next: Xid,
    open: BTreeSet<Xid>,
    aborted: BTreeSet<Xid>,
    rows: HashMap<String, Vec<RowVersion>>,
    journal: Vec<(Xid, Line)>,
    low_marked: Xid,
    low_dropped: Xid,
}

pub struct Database {
    pub(super) state: Mutex<State>,
    pub away: AtomicBool,
    /// It follows another one: its rounds make no sense.
    pub standby: AtomicBool,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                next: 100,
                timeline: 1,
                ..State::default()
            }),
            away: AtomicBool::new(false),
            standby: AtomicBool::new(false),
        }
    }
}

pub fn line(collection: &str, key: &str) -> Line {
    Line {
        collection: collection.into(),
        key: key.into(),
    }
}

impl Database {
    pub fn begin(&self) -> Xid {
        let mut state = self.state.lock().unwrap();
        let xid = state.next;
        state.next += 1;
        state.open.insert(xid);
        xid
    }

    /// Writes a row and, as the triggers do, its row's line and its old and new collections'.
    pub fn write(&self, xid: Xid, id: &str, content: Option<(&str, &str)>) {
        let mut state = self.state.lock().unwrap();
        let content = content.map(|(c, t)| (c.to_owned(), t.to_owned()));
        let versions = state.rows.entry(id.to_owned()).or_default();
        let old = versions.last().and_then(|v| v.content.clone());
        versions.push(RowVersion {
            xid,
            content: content.clone(),
        });
        let mut lines = vec![line("rows", id)];
        for (collection, _) in old.into_iter().chain(content) {
            lines.push(line("rows.collection", &collection));
        }
        lines.dedup();
        state
            .journal
            .extend(lines.into_iter().map(|line| (xid, line)));
    }

    pub fn commit(&self, xid: Xid) -> Written {
        let mut state = self.state.lock().unwrap();
        state.open.remove(&xid);
        let epoch = state.epoch();
        let lines = state.journal.iter().filter(|(line, _)| *line == xid);
        Written {
            epoch,
            xid,
            tags: lines.map(|(_, line)| line.tag()).collect(),
        }
    }

    pub fn roll_back(&self, xid: Xid) {
        let mut state = self.state.lock().unwrap();
        state.open.remove(&xid);
        state.aborted.insert(xid);
        state.journal.retain(|(line, _)| *line != xid);
        for versions in state.rows.values_mut() {
            versions.retain(|version| version.xid != xid);
        }
    }

    pub fn put(&self, id: &str, content: Option<(&str, &str)>) -> Written {
        let xid = self.begin();
        self.write(xid, id, content);
        self.commit(xid)
    }

    /// Changes a row behind the journal's back, as one does while its trigger is missing.
    pub fn slip(&self, id: &str, text: &str) {
        let mut state = self.state.lock().unwrap();
        let versions = state.rows.get_mut(id).expect("a row");
        let last = versions.last_mut().expect("a version");
        let (_, old) = last.content.as_mut().expect("not deleted");
        text.clone_into(old);
    }

    pub fn snapshot(&self) -> Snapshot {
        self.state.lock().unwrap().snapshot()
    }

    pub fn label(&self) -> Label {
        let state = self.state.lock().unwrap();
        Label {
            epoch: state.epoch(),
            snapshot: state.snapshot(),
        }
    }

    pub fn row(&self, id: &str) -> Option<(String, String)> {
        let state = self.state.lock().unwrap();
        state.row(id, &state.snapshot())
    }

    /// The first step of pruning: everything ended is old.
    pub fn mark(&self) {
        let mut state = self.state.lock().unwrap();
        let xmin = state.snapshot().xmin();
        let highest = state
            .journal
            .iter()
            .map(|(xid, _)| *xid)
            .filter(|xid| *xid < xmin)
            .max();
        state.low_marked = highest.map_or(state.low_marked, |xid| xid + 1);
    }

    /// The second step.
    pub fn drop_marked(&self) {
        let mut state = self.state.lock().unwrap();
        state.low_dropped = state.low_marked;
        let low = state.low_dropped;
        state.journal.retain(|(xid, _)| *xid >= low);
    }

    /// Restored without its last transactions, and without a sign of it.
    pub fn lose(&self, transactions: u64) {
        self.state.lock().unwrap().next -= transactions;
    }

    /// Promoted: the same data, a new timeline.
    pub fn promote(&self) {
        self.state.lock().unwrap().timeline += 1;
    }
}

impl State {
    pub(super) fn epoch(&self) -> Epoch {
        Epoch {
            system: 7,
            timeline: self.timeline,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let open: Vec<Xid> = self.open.iter().copied().collect();
        let xmin = open.first().copied().unwrap_or(self.next);
        Snapshot::new(xmin, self.next, open).expect("made in order")
    }

    pub(super) fn row(&self, id: &str, snapshot: &Snapshot) -> Option<(String, String)> {
        let versions = self.rows.get(id)?;
        versions
            .iter()
            .rev()
            .find(|v| snapshot.sees(v.xid))?
            .content
            .clone()
    }

    pub(super) fn members(&self, collection: &str, snapshot: &Snapshot) -> String {
        let mut ids: Vec<&str> = self
            .rows
            .keys()
            .filter(|id| self.row(id, snapshot).is_some_and(|(c, _)| c == collection))
            .map(String::as_str)
            .collect();
        ids.sort_unstable();
        ids.join(",")
    }
}

pub(super) fn gone() -> std::io::Error {
    std::io::Error::other("the database is away")
}

impl Feed for Database {
    fn round<'a>(
        &'a self,
        since: Option<&'a Coverage>,
    ) -> BoxFuture<'a, Result<Round, feed::Error>> {
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(feed::Error::Unavailable(Arc::new(gone())));
            }
            if self.standby.load(Ordering::SeqCst) {
                return Err(feed::Error::Unusable("it comes from a standby".into()));
            }
            let state = self.state.lock().unwrap();
            let snapshot = state.snapshot();
            let since = since.filter(|since| since.epoch == state.epoch());
            let new = |xid: Xid| {
                let known = since.is_some_and(|s| xid < s.snapshot.xmin() || s.snapshot.sees(xid));
                snapshot.sees(xid) && !known
            };
            let lines = state.journal.iter().filter(|(xid, _)| new(*xid));
            let changes = lines
                .map(|(xid, line)| Change {
                    tag: line.tag(),
                    xid: *xid,
                })
                .collect();
            Ok(Round {
                epoch: state.epoch(),
                low_marked: state.low_marked,
                low_dropped: state.low_dropped,
                changes,
                snapshot,
            })
        })
    }

    fn touch<'a>(&'a self, lines: &'a [Line]) -> BoxFuture<'a, Result<Written, feed::Error>> {
        Box::pin(async move {
            let xid = self.begin();
            let added = lines.iter().map(|line| (xid, line.clone()));
            self.state.lock().unwrap().journal.extend(added);
            Ok(self.commit(xid))
        })
    }
}
