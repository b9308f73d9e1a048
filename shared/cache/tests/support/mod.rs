//! A database in memory that does what PostgreSQL does where it matters here: transactions that
//! commit out of order, snapshots, a journal written with the data, pruning, and new epochs. Its
//! loader can be held between reading and answering. Time stands still unless a test moves it.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test file uses its own part of it, and a test may panic"
)]

use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder::feed::{self, Change, Coverage, Feed, Line, Round, Written};
use larder::remote::Remote as _;
use larder::remote::hub::Hub;
use larder::snapshot::Xid;
use larder::{
    Answer, Ask, Clock, Epoch, Key, Keyspace, Label, Larder, Load, Loaded, Policy, Proof, Read,
    Snapshot, Source, Tag, Tiers, load,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// A row: which collection it is in, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowVersion {
    xid: Xid,
    content: Option<(String, String)>,
}

#[derive(Default)]
struct State {
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
    state: Mutex<State>,
    pub away: AtomicBool,
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

    /// Promoted: the same data, a new timeline.
    pub fn promote(&self) {
        self.state.lock().unwrap().timeline += 1;
    }
}

impl State {
    fn epoch(&self) -> Epoch {
        Epoch {
            system: 7,
            timeline: self.timeline,
        }
    }

    fn snapshot(&self) -> Snapshot {
        let open: Vec<Xid> = self.open.iter().copied().collect();
        let xmin = open.first().copied().unwrap_or(self.next);
        Snapshot::new(xmin, self.next, open).expect("made in order")
    }

    fn row(&self, id: &str, snapshot: &Snapshot) -> Option<(String, String)> {
        let versions = self.rows.get(id)?;
        versions
            .iter()
            .rev()
            .find(|v| snapshot.sees(v.xid))?
            .content
            .clone()
    }

    fn members(&self, collection: &str, snapshot: &Snapshot) -> String {
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

fn gone() -> std::io::Error {
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

/// A key: a row, or the members of a collection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Wanted {
    Row(String),
    Members(String),
}

pub fn row(id: &str) -> Wanted {
    Wanted::Row(id.into())
}

pub fn members(collection: &str) -> Wanted {
    Wanted::Members(collection.into())
}

impl Key for Wanted {
    fn write(&self, text: &mut String) {
        let (kind, name) = match self {
            Self::Row(name) => ('r', name),
            Self::Members(name) => ('m', name),
        };
        text.push(kind);
        text.push_str(name);
    }

    fn parse(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("r", name) => Some(row(name)),
            ("m", name) => Some(members(name)),
            _ => None,
        }
    }

    fn tags(&self, tags: &mut Vec<Tag>) {
        tags.push(match self {
            Self::Row(name) => Tag::of("rows", name),
            Self::Members(name) => Tag::of("rows.collection", name),
        });
    }
}

/// How a loader describes what it read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tells {
    Primary,
    Standby,
    Nothing,
}

/// Reads the database; can be held between its reading and its answer.
pub struct Loader {
    pub database: Arc<Database>,
    pub tells: Tells,
    pub loads: AtomicUsize,
    /// Permits to answer; plenty, unless a test takes them.
    gate: Semaphore,
    pub holds: AtomicBool,
    pub has_read: Notify,
    pub failing: AtomicBool,
    pub panicking: AtomicBool,
    /// What it sees, if not everything: it reads a standby that lags.
    pub lags: Mutex<Option<Snapshot>>,
}

impl Loader {
    pub fn new(database: &Arc<Database>, tells: Tells) -> Arc<Self> {
        Arc::new(Self {
            database: database.clone(),
            tells,
            loads: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            holds: AtomicBool::new(false),
            has_read: Notify::new(),
            failing: AtomicBool::new(false),
            panicking: AtomicBool::new(false),
            lags: Mutex::default(),
        })
    }

    /// From now on a load reads, says so, and waits for [`Loader::release`].
    pub fn hold(&self) {
        self.holds.store(true, Ordering::SeqCst);
    }

    /// Lets one held load answer; later ones are not held.
    pub fn release(&self) {
        self.holds.store(false, Ordering::SeqCst);
        self.gate.add_permits(1);
    }

    pub fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    async fn read(&self, keys: &[Wanted]) -> Result<Vec<Loaded<Bytes>>, load::Error> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        if self.database.away.load(Ordering::SeqCst) {
            return Err(load::Error::unavailable(gone()));
        }
        if self.failing.load(Ordering::SeqCst) {
            return Err(load::Error::failed("told to fail"));
        }
        assert!(!self.panicking.load(Ordering::SeqCst), "told to panic");
        let (label, values) = {
            let state = self.database.state.lock().unwrap();
            let lags = self.lags.lock().unwrap().clone();
            let snapshot = lags.unwrap_or_else(|| state.snapshot());
            let value = |key: &Wanted| match key {
                Wanted::Row(id) => state.row(id, &snapshot).map(|(_, text)| Bytes::from(text)),
                Wanted::Members(name) => Some(Bytes::from(state.members(name, &snapshot))),
            };
            let values: Vec<_> = keys.iter().map(value).collect();
            (
                Label {
                    epoch: state.epoch(),
                    snapshot,
                },
                values,
            )
        };
        let proof = match self.tells {
            Tells::Primary => Proof::Primary(label),
            Tells::Standby => Proof::Claim(Label::of_standby(label.epoch, &label.snapshot)),
            Tells::Nothing => Proof::None,
        };
        if self.holds.load(Ordering::SeqCst) {
            self.has_read.notify_one();
            self.gate.acquire().await.expect("never closed").forget();
        }
        let loaded = |value| Loaded {
            value,
            tags: Vec::new(),
            proof: proof.clone(),
        };
        Ok(values.into_iter().map(loaded).collect())
    }
}

pub struct Through(pub Arc<Loader>);

impl Load<Wanted, Bytes> for Through {
    fn asks_owner(&self) -> bool {
        self.0.tells == Tells::Standby
    }

    fn load<'a>(
        &'a self,
        keys: &'a [Wanted],
        _ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        Box::pin(self.0.read(keys))
    }
}

/// What the processes of one test share.
pub struct World {
    pub database: Arc<Database>,
    pub hub: Arc<Hub>,
    pub clock: Clock,
    pub policy: Policy,
    pub tells: Tells,
    pub tiers: Tiers,
}

impl World {
    pub fn new() -> Self {
        let clock = Clock::manual();
        Self {
            database: Arc::default(),
            hub: Hub::with(clock.clone(), Default::default()),
            clock,
            policy: Policy {
                jitter: 0.0,
                ..Policy::default()
            },
            tells: Tells::Primary,
            tiers: Tiers::Both,
        }
    }

    /// A process that has taken its first round.
    pub async fn node(&self) -> Node {
        let node = self.booting();
        node.source.prove().await.expect("the database is there");
        node
    }

    /// A process that has not.
    pub fn booting(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder
            .source("rows")
            .feed(self.database.clone())
            .poll_by_hand()
            .open();
        self.open(larder, source)
    }

    /// A process that polls its source.
    pub async fn polling(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder.source("rows").feed(self.database.clone()).open();
        let node = self.open(larder, source);
        until(|| node.source.is_proven()).await;
        node
    }

    /// A process whose source has no feed.
    pub fn without_feed(&self) -> Node {
        let larder = Larder::builder(self.hub.clone())
            .clock(self.clock.clone())
            .tiers(self.tiers)
            .build();
        let source = larder.source("rows").open();
        self.open(larder, source)
    }

    fn open(&self, larder: Larder, source: Source) -> Node {
        let loader = Loader::new(&self.database, self.tells);
        let rows = source
            .keyspace("rows", Through(loader.clone()))
            .policy(self.policy.clone())
            .open()
            .expect("a good policy");
        Node {
            larder,
            source,
            rows,
            loader,
        }
    }

    /// Waits until the remote tier holds this key's value.
    pub async fn stored(&self, key: &Wanted) {
        let mut text = String::from("larder:v1:rows:");
        key.write(&mut text);
        let names = [text];
        for _ in 0..10_000 {
            let values = self.hub.get(&names).await.expect("the hub works");
            if values[0].is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nothing was stored");
    }

    pub fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

pub struct Node {
    pub larder: Larder,
    pub source: Source,
    pub rows: Keyspace<Wanted, Bytes>,
    pub loader: Arc<Loader>,
}

pub fn text(answer: &Answer<Bytes>) -> String {
    let value = answer
        .value()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    value.unwrap_or_else(|| "absent".into())
}

impl Node {
    pub async fn get(&self, key: &Wanted) -> String {
        text(&self.answer(key, &Read::bounded()).await)
    }

    pub async fn answer(&self, key: &Wanted, read: &Read) -> Answer<Bytes> {
        self.rows.get(key, read).await.expect("an answer")
    }

    pub async fn prove(&self) {
        self.source.prove().await.expect("the database is there");
    }

    /// Begins a read that will be held in its loader, and returns once it has read.
    pub async fn held(&self, key: &Wanted) -> tokio::task::JoinHandle<String> {
        self.loader.hold();
        let (rows, key) = (self.rows.clone(), key.clone());
        let read = tokio::spawn(async move {
            text(&rows.get(&key, &Read::bounded()).await.expect("an answer"))
        });
        self.loader.has_read.notified().await;
        read
    }

    /// Waits until what this process stores behind its answers is stored.
    pub async fn settled(&self) {
        until(|| self.larder.is_settled()).await;
    }

    /// Waits until hints that were sent have been heeded here: until the count of all that
    /// became of hints reaches `count`.
    pub async fn heard(&self, count: u64) {
        until(|| {
            let stats = self.source.stats();
            stats.hints_applied + stats.hints_known + stats.hints_foreign >= count
        })
        .await;
    }
}

/// Waits for a state of affairs, for at most ten seconds.
pub async fn until(mut reached: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if reached() {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the awaited state did not come");
}
