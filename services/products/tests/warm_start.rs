//! Warm starts: what other replicas read most is in memory before a replica says that it is ready;
//! on SQLite and a hub, and on PostgreSQL and Redis.

use crate::support;

use anyhow::{Context as _, Result, ensure};
use larder::remote::hub::Hub;
use larder::remote::{Item, Remote, open};
use larder::{Ask, Keyspace, Loaded, Policy, load};
use larder_host::on_both;
use larder_host::trial::{Home, Replica, SOON};
use larder_host::{Base, BoxError, Grpc, Migrations, Parts, Service};
use larder_journal::Watches;
use larder_products::Products;
use larder_proto::cache::v1::InspectRequest;
use larder_testkit::{redis, wait_until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Node, priced, source};
use tokio::sync::Semaphore;

on_both!(
    what_others_read_most_is_in_memory_when_a_replica_is_ready,
    a_list_is_told_while_a_replica_runs,
    what_is_no_list_and_what_is_no_key_is_passed_over,
    a_replica_is_ready_once_it_is_warm_and_warms_no_heavy_keyspace,
    a_warming_that_hangs_ends_at_its_limit_and_with_the_process,
);

/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// The remote tier of a test.
enum Remotes {
    Hub(Arc<Hub>),
    Redis(Box<redis::Redis>),
}

impl Remotes {
    /// The one that goes with this database.
    fn of(home: &Home) -> Result<Self> {
        Ok(match home {
            Home::Sqlite(_) => Self::Hub(Hub::new()),
            Home::Postgres(_) => Self::Redis(Box::new(redis::start()?)),
        })
    }

    fn open(&self) -> Result<Arc<dyn Remote>> {
        Ok(match self {
            Self::Hub(hub) => hub.clone(),
            Self::Redis(redis) => open(&redis.url())?,
        })
    }

    /// A replica that warms for at most so long, and tells others this often.
    fn parts(&self, home: &Home, warm: Option<Duration>, share: Option<Duration>) -> Result<Parts> {
        let mut parts = Parts::new(self.open()?, home.address());
        (parts.timing.warm, parts.timing.share) = (warm, share);
        Ok(parts)
    }

    /// Puts these where lists of a keyspace are.
    async fn plant(&self, keyspace: &str, lists: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        let items = names(keyspace).into_iter().zip(lists);
        let items: Vec<_> = items
            .map(|(key, list)| Item {
                key,
                value: list.into(),
                ttl: HOUR,
            })
            .collect();
        Ok(self.open()?.set(&items).await?)
    }
}

/// Where the lists of a keyspace of products are.
fn names(keyspace: &str) -> Vec<String> {
    let name = |slot| format!("larder:heat:products:{keyspace}:{slot}");
    (0..8).map(name).collect()
}

/// A list of these keys, each read once.
fn list(keys: &[&str]) -> Vec<u8> {
    let key = |key: &&str| [&[0, 0, 0, 1, 0, key.len() as u8], key.as_bytes()].concat();
    [vec![1], keys.iter().flat_map(key).collect()].concat()
}

/// Ids as a crowd asks for them: the n-th of `many` about one n-th as often as the first.
fn crowd(many: u32, reads: usize) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut id = || format!("p{}", f64::from(many).powf(rng.random::<f64>()) as u32);
    (0..reads).map(|_| id()).collect()
}

/// How many of these reads are answered from each of memory, the remote tier and the database.
async fn read(node: &Node, ids: &[String]) -> Result<[usize; 3]> {
    let mut from = [0; 3];
    for id in ids {
        let answer = node.get(id).await?;
        let tiers = ["l1", "l2", "db"];
        let said = source(answer.metadata());
        from[tiers
            .iter()
            .position(|tier| *tier == said)
            .context(said.to_owned())?] += 1;
    }
    Ok(from)
}

/// How many loads of products a replica has made.
async fn loads(replica: &Replica) -> Result<u64> {
    let (_, metrics) = replica.admin("/metrics").await?;
    let count = "larder_load_seconds_count{keyspace=\"products\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(count));
    Ok(line.context("loads are counted")?.parse()?)
}

async fn what_others_read_most_is_in_memory_when_a_replica_is_ready(home: Home) -> Result<()> {
    const MANY: u32 = 150;
    let remotes = Remotes::of(&home)?;
    // They tell when they end.
    let told = || remotes.parts(&home, None, Some(HOUR));
    let (a, b) = (Node::of(told()?).await?, Node::of(told()?).await?);
    for n in 1..MANY {
        a.create(priced(&format!("p{n}"), "kitchen", 1)).await?;
    }
    let reads = crowd(MANY, 1000);
    let (before, after) = reads.split_at(800);
    read(&a, &before[..400]).await?;
    read(&b, &before[400..]).await?;
    let distinct: HashSet<_> = reads.iter().collect();
    for id in distinct {
        let stored = async || {
            let request = InspectRequest {
                keyspace: "products".to_owned(),
                key: id.clone(),
                skip_source: true,
            };
            let seen = a.replica.operator().inspect(request).await;
            seen.is_ok_and(|seen| seen.into_inner().l2.is_some())
        };
        wait_until("a value in the remote tier", SOON, stored).await?;
    }
    a.replica.stop().await?;
    b.replica.stop().await?;

    let warm = Node::of(remotes.parts(&home, Some(HOUR), None)?).await?;
    let at_start = loads(&warm.replica).await?;
    let cold = Node::of(remotes.parts(&home, None, None)?).await?;
    let [hits, l2, db] = read(&warm, after).await?;
    let [cold_hits, ..] = read(&cold, after).await?;
    let (misses, cold_misses) = (l2 + db, after.len() - cold_hits);
    println!(
        "warm: {misses} misses of {}, cold: {cold_misses}",
        after.len()
    );
    assert!(hits * 100 >= after.len() * 90, "{hits} of {}", after.len());
    assert!(
        cold_misses >= 3 * misses.max(5),
        "{misses} and {cold_misses}"
    );
    assert_eq!((at_start, db, loads(&warm.replica).await?), (0, 0, 0));
    warm.replica.stop().await?;
    cold.replica.stop().await
}

async fn a_list_is_told_while_a_replica_runs(home: Home) -> Result<()> {
    let remotes = Remotes::of(&home)?;
    let often = Some(Duration::from_millis(20));
    let node = Node::of(remotes.parts(&home, None, often)?).await?;
    node.create(priced("kettle", "kitchen", 1)).await?;
    node.get("kettle").await?;
    let (remote, names) = (remotes.open()?, names("products"));
    let told = async || {
        let lists = remote.get(&names).await.unwrap_or_default();
        let mut lists = lists.into_iter().flatten();
        lists.any(|list| list.ends_with(b"\0\x06kettle"))
    };
    wait_until("a list", SOON, told).await?;
    node.replica.stop().await
}

async fn what_is_no_list_and_what_is_no_key_is_passed_over(home: Home) -> Result<()> {
    let remotes = Remotes::of(&home)?;
    let node = Node::of(remotes.parts(&home, None, None)?).await?;
    node.create(priced("kettle", "kitchen", 1)).await?;
    let many: Vec<_> = (0..1001).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let lists = [
        b"not a list".to_vec(),
        vec![1; 1 << 20],
        [list(&["kettle"]), vec![0; 3]].concat(),
        [&[2], &list(&["kettle"])[1..]].concat(),
        list(&many),
        Vec::new(),
        list(&["No <key>", "gone", "kettle"]),
    ];
    remotes.plant("products", lists).await?;
    remotes.plant("products.list", [list(&["no page"])]).await?;
    let warm = Node::of(remotes.parts(&home, Some(HOUR), None)?).await?;
    assert_eq!(source(warm.get("kettle").await?.metadata()), "l1");
    let (_, metrics) = warm.replica.admin("/metrics").await?;
    let entries = "larder_entries{keyspace=\"products\"} 2\n";
    assert!(
        metrics.contains(entries),
        "the product and an absence: {metrics}"
    );
    warm.replica.stop().await?;
    node.replica.stop().await
}

/// The products, and keyspaces whose loads can be held up.
#[derive(Clone)]
struct Slow {
    open: Arc<Mutex<Vec<Keyspace<String, bytes::Bytes>>>>,
    /// Loads that have begun: of the one that is slow, and of the one that is heavy.
    begun: [Arc<AtomicUsize>; 2],
    pass: Arc<Semaphore>,
}

impl Slow {
    fn held() -> Self {
        Self {
            open: Arc::default(),
            begun: Default::default(),
            pass: Arc::new(Semaphore::new(0)),
        }
    }

    fn begun(&self) -> [usize; 2] {
        self.begun
            .each_ref()
            .map(|begun| begun.load(Ordering::SeqCst))
    }
}

impl Service for Slow {
    type Server = <Products as Service>::Server;

    fn name(&self) -> &'static str {
        Products.name()
    }

    fn migrations(&self) -> Migrations {
        Products.migrations()
    }

    fn watches(&self) -> Watches {
        Products.watches()
    }

    fn open(&self, base: &Base) -> Result<Grpc<Self::Server>, BoxError> {
        for (name, sampled, begun) in [
            ("slow", true, &self.begun[0]),
            ("heavy", false, &self.begun[1]),
        ] {
            let (begun, pass) = (begun.clone(), self.pass.clone());
            let loader = move |_: Vec<String>, _: Ask| {
                begun.fetch_add(1, Ordering::SeqCst);
                let pass = pass.clone();
                async move {
                    let _pass = pass.acquire().await;
                    Err::<Vec<Loaded<bytes::Bytes>>, _>(load::Error::failed("on purpose"))
                }
            };
            let policy = Policy {
                load_deadline: HOUR,
                sampled,
                ..Policy::default()
            };
            let keyspace = base.source().keyspace(name, loader).policy(policy).open()?;
            self.open.lock().expect("no panic").push(keyspace);
        }
        Products.open(base)
    }
}

/// Waits until a replica says that it is not ready for this reason, and for no other.
async fn shut(replica: &Replica, reason: &str) -> Result<()> {
    let shut = async || {
        let ready = replica.admin("/ready").await;
        ready.is_ok_and(|(status, said)| {
            status == 503 && said.contains(reason) && !said.contains("database")
        })
    };
    wait_until(reason, SOON, shut).await
}

async fn ready(replica: &Replica) -> Result<()> {
    let ready = async || {
        replica
            .admin("/ready")
            .await
            .is_ok_and(|(status, _)| status == 200)
    };
    wait_until("a replica that is ready", SOON, ready).await
}

const WARMING: &str = "warming: what is read most is brought into memory";

async fn a_replica_is_ready_once_it_is_warm_and_warms_no_heavy_keyspace(home: Home) -> Result<()> {
    let (remotes, slow) = (Remotes::of(&home)?, Slow::held());
    remotes.plant("slow", [list(&["one"])]).await?;
    remotes.plant("heavy", [list(&["one"])]).await?;
    let parts = remotes.parts(&home, Some(HOUR), None)?;
    let replica = Replica::start(slow.clone(), parts).await?;
    shut(&replica, WARMING).await?;
    let begun = async || slow.begun() == [1, 0];
    wait_until("a load", SOON, begun).await?;
    shut(&replica, WARMING).await?;
    // That it fails ends the warming, and nothing else.
    slow.pass.close();
    ready(&replica).await?;
    assert_eq!(slow.begun(), [1, 0]);
    replica.stop().await
}

async fn a_warming_that_hangs_ends_at_its_limit_and_with_the_process(home: Home) -> Result<()> {
    let remotes = Remotes::of(&home)?;
    remotes.plant("slow", [list(&["one"])]).await?;
    let slow = Slow::held();
    let soon = remotes.parts(&home, Some(Duration::from_millis(200)), None)?;
    let replica = Replica::start(slow.clone(), soon).await?;
    ready(&replica).await?;
    ensure!(slow.begun() == [1, 0], "it was not warming");
    replica.stop().await?;

    let replica = Replica::start(Slow::held(), remotes.parts(&home, Some(HOUR), None)?).await?;
    shut(&replica, WARMING).await?;
    // Within the time that a stop may take.
    replica.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_tier_that_is_silent_or_away_keeps_nobody_from_being_ready() -> Result<()> {
    let (home, redis) = (Home::sqlite()?, redis::start()?);
    let remotes = Remotes::Redis(Box::new(redis));
    let Remotes::Redis(redis) = &remotes else {
        unreachable!()
    };
    let parts = || remotes.parts(&home, Some(HOUR), Some(Duration::from_millis(20)));
    let empty = Node::of(parts()?).await?;
    empty.create(priced("kettle", "kitchen", 1)).await?;
    redis.pause()?;
    let silent = Node::of(parts()?).await?;
    silent.get("kettle").await?;
    redis.resume()?;
    redis.stop()?;
    let away = Node::of(parts()?).await?;
    away.get("kettle").await?;
    for node in [empty, silent, away] {
        node.replica.stop().await?;
    }
    Ok(())
}
