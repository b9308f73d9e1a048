//! The processes, their servers, the rows, and the readers and writers that never rest.

use super::bus::{Bus, Fleet};
use super::cast::{self, Role};
use super::node::Node;
use super::sample::Latencies;
use super::{reads, writes};
use crate::Kind;
use anyhow::{Context as _, Result};
use larder_testkit::history::{Collection, History, Moment, Place, State};
use larder_testkit::postgres;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, RwLock};
use tokio::task::JoinSet;

/// Δ of every keyspace of the suite.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Processes.
    pub processes: u16,
    /// Readers at each process; each has one read under way.
    pub readers: u32,
    /// What a reader rests after a read.
    pub rest: Duration,
    /// Writers; each has one write under way.
    pub writers: u32,
    /// What a writer rests after a write.
    pub write_rest: Duration,
}

/// What a row is believed to be by whoever holds it: it may be more than that, where the outcome
/// of a write is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Belief {
    Held(u64, Collection),
    Absent,
    Unknown,
}

/// A row, and who may write it now.
pub(crate) struct Row {
    pub(crate) role: Role,
    pub(crate) place: Place,
    pub(crate) belief: Arc<AsyncMutex<Belief>>,
}

/// See the module's documentation.
pub struct World {
    // Processes end before their servers.
    pub(crate) nodes: Vec<Node>,
    pub(crate) bus: Bus,
    primary: Mutex<postgres::Postgres>,
    /// Held to write while the primary is away on purpose: what is done by hand waits for it.
    pub(crate) primary_up: RwLock<()>,
    pub(crate) history: History,
    pub(crate) rows: Vec<Row>,
    pub(crate) latencies: Mutex<Latencies>,
    pub(crate) errors: Mutex<BTreeMap<String, u64>>,
    pub(crate) load: Load,
    /// What a fault has to say beside what is measured under all of them.
    pub(crate) notes: Mutex<Vec<String>>,
    /// Readers ask for so large a Δ that the judge's is broken: see `planted.rs`.
    pub(crate) loose: AtomicBool,
    start: Instant,
    stopped: AtomicBool,
    tasks: AsyncMutex<JoinSet<()>>,
}

impl World {
    /// Starts the servers and the processes, makes the rows that stay, and lets readers and
    /// writers go.
    pub async fn start(binary: &Path, load: Load, fleet: Fleet) -> Result<Arc<Self>> {
        let (bus, primary) = (Bus::start(fleet)?, postgres::start()?);
        let node = |number| Node::new(number, binary, bus.way(), primary.address());
        let nodes = (0..load.processes).map(node).collect::<Result<Vec<_>>>()?;
        let roles = cast::roles();
        let history = History::new(BOUND, roles.iter().map(|role| role.id.as_str()));
        let row = |(number, role)| Row {
            role,
            place: history.place(number),
            belief: Arc::new(AsyncMutex::new(Belief::Absent)),
        };
        let rows = roles.into_iter().enumerate().map(row).collect();
        let world = Arc::new(Self {
            nodes,
            bus,
            primary: Mutex::new(primary),
            primary_up: RwLock::default(),
            history,
            rows,
            latencies: Mutex::default(),
            errors: Mutex::default(),
            load,
            notes: Mutex::default(),
            loose: AtomicBool::new(false),
            start: Instant::now(),
            stopped: AtomicBool::new(false),
            tasks: AsyncMutex::default(),
        });
        for node in &world.nodes {
            node.launch()?;
        }
        for node in &world.nodes {
            node.ready().await?;
        }
        for kind in [Kind::Profiles, Kind::Products, Kind::Comments] {
            let steady = world.rows_of(kind).filter(|row| !row.role.comes_and_goes);
            let mut held = Vec::new();
            for row in steady {
                held.push((row, row.belief.clone().lock_owned().await));
            }
            world.insert_by_hand(kind, &mut held, "INSERT").await?;
        }
        world.go().await;
        Ok(world)
    }

    async fn go(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock().await;
        let mut session = 0;
        for node in 0..self.nodes.len() {
            for _ in 0..self.load.readers {
                session += 1;
                tasks.spawn(reads::reader(self.clone(), session, Some(node)));
            }
        }
        session += 1;
        tasks.spawn(reads::reader(self.clone(), session, None));
        for number in 0..self.load.writers as usize {
            session += 1;
            let home = number % self.nodes.len();
            tasks.spawn(writes::writer(self.clone(), session, home));
        }
    }

    /// Ends the readers and the writers. Every call that they have under way has a deadline.
    pub(crate) async fn rest(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Which Redis servers there are.
    pub(crate) fn fleet(&self) -> Fleet {
        self.bus.fleet()
    }

    /// The judge.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    pub(crate) fn rows_of(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.role.kind == kind)
    }

    pub(crate) fn row(&self, kind: Kind, id: &str) -> Option<&Row> {
        self.rows_of(kind).find(|row| row.role.id == id)
    }

    pub(crate) fn primary(&self) -> postgres::Postgres {
        locked(&self.primary).clone()
    }

    pub(crate) fn set_primary(&self, primary: postgres::Postgres) {
        *locked(&self.primary) = primary;
    }

    /// Runs SQL in the database of a service, as a person at a terminal would.
    pub(crate) async fn psql(&self, kind: Kind, sql: &str) -> Result<String> {
        let _up = self.primary_up.read().await;
        let (table, ..) = cast::table(kind);
        let (primary, sql) = (self.primary(), format!("\\connect larder_{table}\n{sql}"));
        let done = tokio::task::spawn_blocking(move || primary.psql(&sql));
        done.await.context("psql")?
    }

    pub(crate) fn note(&self, what: String) {
        locked(&self.notes).push(what);
    }

    pub(crate) fn note_error(&self, what: &str) {
        *locked(&self.errors).entry(what.to_owned()).or_default() += 1;
    }
}

/// A row and the right to write it.
pub(crate) type Held<'a> = (&'a Row, OwnedMutexGuard<Belief>);

impl Row {
    /// The states that a belief stands for.
    pub(crate) fn state(belief: Belief) -> Option<State> {
        match belief {
            Belief::Held(version, _) => Some(State::version(version)),
            _ => None,
        }
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
