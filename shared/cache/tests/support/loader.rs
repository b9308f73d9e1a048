//! What is cached of the database, and a loader that can be held between its reading and its answer.

use super::Database;
use super::database::gone;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use larder::{Ask, Key, Label, Load, Loaded, Proof, Snapshot, Tag, load};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

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
    /// What a standby shows, asked by ourselves.
    Standby,
    /// What the process that owns the source serves.
    Owner,
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
            Tells::Standby | Tells::Owner => {
                Proof::Claim(Label::of_standby(label.epoch, &label.snapshot))
            }
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
        self.0.tells == Tells::Owner
    }

    fn load<'a>(
        &'a self,
        keys: &'a [Wanted],
        _ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Vec<Loaded<Bytes>>, load::Error>> {
        Box::pin(self.0.read(keys))
    }
}
