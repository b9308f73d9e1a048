//! Several caches over one remote tier, which fails over under them while rows are written and
//! read: no answer is older than it may be or than it says, no read fails or waits for the remote
//! tier to come back, and memory goes on answering all the while.

use crate::support;

use anyhow::{Context, Result, ensure};
use larder::remote::{self, Remote as _};
use larder::{Larder, Origin, Policy, Read, Token};
use larder_testkit::{cluster, sentinel, wait_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};
use support::{Database, Loader, Node, Tells, Through, row};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(30);
const PROCESSES: usize = 3;
const ROWS: usize = 60;
/// A guarded call ends within 50 ms, and a read makes a few. One in a hundred reads may be slow for
/// other reasons, such as a machine that is busy; if reads waited for a failover, it would be all
/// that need the remote tier meanwhile.
const SLOW: Duration = Duration::from_secs(1);
/// A failover takes longer than that, and memory does not wait for it.
const SILENCE: Duration = Duration::from_secs(2);

/// What was committed when, per row; the versions are 1, 2, 3, …
type Written = Arc<Vec<RwLock<Vec<Instant>>>>;

/// Caches that are written to and read from until the end, and what came of it.
struct Trial {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<Result<()>>>,
    nodes: Arc<Vec<Node>>,
    staleness: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    reads: usize,
    from_memory: usize,
    from_remote: usize,
    from_source: usize,
    slow: usize,
    longest: Duration,
    /// The longest time without an answer from memory, and the last such answer.
    longest_without: Duration,
    last_from_memory: Option<Instant>,
    violations: Vec<String>,
}

impl Trial {
    async fn start(url: &str) -> Result<Self> {
        let database = Arc::<Database>::default();
        let written: Written = Arc::new((0..ROWS).map(|_| RwLock::default()).collect());
        for number in 0..ROWS {
            write(&database, &written, number);
        }
        let policy = Policy::default();
        let staleness = policy.max_staleness;
        let mut nodes = Vec::new();
        for _ in 0..PROCESSES {
            nodes.push(process(url, &database, policy.clone())?);
        }
        let mut trial = Self {
            stop: Arc::default(),
            seen: Arc::default(),
            tasks: Vec::new(),
            nodes: Arc::new(nodes),
            staleness,
        };
        for number in 0..PROCESSES {
            trial.write(number, &database, &written);
            trial.read(number, &written);
        }
        trial.wait_warm().await?;
        Ok(trial)
    }

    fn write(&mut self, process: usize, database: &Arc<Database>, written: &Written) {
        let (database, written) = (Arc::clone(database), Arc::clone(written));
        let (nodes, stop) = (Arc::clone(&self.nodes), Arc::clone(&self.stop));
        let seen = Arc::clone(&self.seen);
        self.tasks.push(tokio::spawn(async move {
            let node = &nodes[process];
            // Each process writes rows of its own, so that versions are given out in order.
            for turn in (0..).map(|turn| turn * PROCESSES + process) {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let number = turn % ROWS;
                let (version, done) = write(&database, &written, number);
                let token = node.source.wrote(done).await;
                own_write_is_read(&nodes, turn, number, version, token, &seen).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }));
    }

    fn read(&mut self, process: usize, written: &Written) {
        let (written, nodes) = (Arc::clone(written), Arc::clone(&self.nodes));
        let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
        let staleness = self.staleness;
        self.tasks.push(tokio::spawn(async move {
            let mut turn = process;
            while !stop.load(Ordering::Relaxed) {
                turn = turn.wrapping_mul(31).wrapping_add(7);
                let number = turn % ROWS;
                let begun = Instant::now();
                let answer = nodes[process]
                    .rows
                    .get(&name(number), &Read::bounded())
                    .await?;
                let version = support::text(&answer).parse::<usize>()?;
                let due = |age: Duration| {
                    let commits = written[number].read().expect("no panic under it");
                    commits.partition_point(|commit| *commit + age < begun)
                };
                let (bound, told) = (due(staleness), due(answer.age));
                let mut complaint = None;
                if version < bound || version < told {
                    complaint = Some(format!(
                        "row {number}: {version} from {:?}, where the bound asks for {bound} and \
                         the age of {:?} for {told}",
                        answer.origin, answer.age
                    ));
                }
                note(&seen, &answer.origin, begun, complaint);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        }));
    }

    async fn wait_warm(&self) -> Result<()> {
        wait_until(
            "answers from memory and from the remote tier",
            LONG,
            async || {
                let seen = self.seen.lock().expect("no panic under it");
                seen.from_memory > 500 && seen.from_remote > 20
            },
        )
        .await?;
        *self.seen.lock().expect("no panic under it") = Seen::default();
        Ok(())
    }

    /// Waits until the remote tier answers each process.
    async fn wait_shared(&self) -> Result<()> {
        for node in self.nodes.iter() {
            let keys = ["larder:any".to_owned()];
            wait_until("the remote tier", LONG, async || {
                node.larder.remote().get(&keys).await.is_ok()
            })
            .await?;
        }
        let before = self.seen.lock().expect("no panic under it").from_remote;
        wait_until("answers from the remote tier", LONG, async || {
            self.seen.lock().expect("no panic under it").from_remote > before + 20
        })
        .await
    }

    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let ended = tokio::time::timeout(LONG, task).await;
            ended.context("a read or a write hangs")???;
        }
        let seen = self.seen.lock().expect("no panic under it");
        println!("{seen:?}");
        ensure!(seen.violations.is_empty(), "{:?}", seen.violations);
        ensure!(seen.slow * 100 < seen.reads, "reads waited");
        ensure!(seen.longest_without < SILENCE, "memory fell silent");
        ensure!(
            seen.from_memory * 2 > seen.reads,
            "memory answered too little"
        );
        Ok(())
    }
}

impl Seen {
    fn note(&mut self, origin: &Origin, begun: Instant) {
        self.reads += 1;
        self.slow += usize::from(begun.elapsed() > SLOW);
        self.longest = self.longest.max(begun.elapsed());
        match origin {
            Origin::L1 => {
                self.from_memory += 1;
                let last = self.last_from_memory.replace(Instant::now());
                let without = last.map_or(Duration::ZERO, |last| last.elapsed());
                self.longest_without = self.longest_without.max(without);
            }
            Origin::L2 => self.from_remote += 1,
            _ => self.from_source += 1,
        }
    }
}

fn note(seen: &Mutex<Seen>, origin: &Origin, begun: Instant, complaint: Option<String>) {
    let mut seen = seen.lock().expect("no panic under it");
    seen.note(origin, begun);
    seen.violations.extend(complaint);
}

fn name(number: usize) -> support::Wanted {
    row(&number.to_string())
}

fn process(url: &str, database: &Arc<Database>, policy: Policy) -> Result<Node> {
    let larder = Larder::builder(remote::open(url)?).build();
    let source = larder.source("rows").feed(database.clone()).open();
    let loader = Loader::new(database, Tells::Primary);
    let rows = source.keyspace("rows", Through(loader.clone()));
    let rows = rows.policy(policy).open()?;
    Ok(Node {
        larder,
        source,
        rows,
        loader,
    })
}

fn write(database: &Database, written: &Written, number: usize) -> (usize, larder::feed::Written) {
    let version = written[number].read().expect("no panic under it").len() + 1;
    let text = version.to_string();
    let done = database.put(&number.to_string(), Some(("all", &text)));
    let mut commits = written[number].write().expect("no panic under it");
    commits.push(Instant::now());
    (version, done)
}

/// Some other process, shown the token, does not answer with what was before.
async fn own_write_is_read(
    nodes: &[Node],
    turn: usize,
    number: usize,
    version: usize,
    token: Token,
    seen: &Mutex<Seen>,
) -> Result<()> {
    let read = Read::bounded().reflecting([token]);
    let node = &nodes[(turn / 7) % PROCESSES];
    let answer = node.rows.get(&name(number), &read).await?;
    if support::text(&answer).parse::<usize>()? < version {
        let mut seen = seen.lock().expect("no panic under it");
        seen.violations.push(format!(
            "row {number}: the token of {version} was not honoured"
        ));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_the_tail_makes_no_answer_old() -> Result<()> {
    let servers = sentinel::start()?;
    let trial = Trial::start(&servers.url()).await?;
    servers.cut_replication()?;
    // What is stored, locked and unlocked now is the tail that will be lost.
    trial.wait_shared().await?;
    let old = servers.kill_primary()?;
    servers.wait_for_another(old, LONG).await?;
    trial.wait_shared().await?;
    // Empty, and taking itself for a primary until the sentinels tell it otherwise.
    let mut returning = servers.servers().iter();
    let returning = returning.find(|server| server.address() == old);
    returning.context("the old primary")?.restart()?;
    servers.wait_replicated(LONG).await?;
    trial.wait_shared().await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_sleeps_through_a_failover_makes_no_answer_old() -> Result<()> {
    let servers = sentinel::start()?;
    let trial = Trial::start(&servers.url()).await?;
    let old = servers.primary()?;
    old.pause()?;
    servers.wait_for_another(old.address(), LONG).await?;
    trial.wait_shared().await?;
    old.resume()?;
    servers.wait_replicated(LONG).await?;
    trial.wait_shared().await?;
    trial.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_primary_and_gains_a_shard_makes_no_answer_old() -> Result<()> {
    let servers = cluster::start()?;
    let trial = Trial::start(&servers.url()).await?;
    let slot = servers.slot("larder:v1:rows:r1")?;
    let killed = servers.kill_owner(slot)?;
    wait_until("another owner", LONG, async || servers.owner(slot).is_ok()).await?;
    servers.wait_well(LONG).await?;
    trial.wait_shared().await?;
    killed.restart()?;
    servers.wait_well(LONG).await?;
    let shard = servers.add_shard()?;
    for number in 0..ROWS / 2 {
        let slot = servers.slot(&format!("larder:v1:rows:r{number}"))?;
        if servers.owner(slot)?.address() != shard.address() {
            servers.move_slot(slot, &shard)?;
        }
    }
    servers.wait_well(LONG).await?;
    trial.wait_shared().await?;
    trial.end().await
}
