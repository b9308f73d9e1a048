//! A Redis Cluster: three primaries with a replica each, and more when told to.

use crate::port::Port;
use crate::redis::{self, ADMIN, LOGIN, Redis};
use crate::{wait_blocking, wait_until};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SLOTS: u16 = 16_384;
const SHARDS: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// How a cluster is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    node_timeout: Duration,
    args: Vec<String>,
}

/// Starts three primaries with a replica each.
pub fn start() -> Result<Cluster> {
    Setup::default().start()
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            node_timeout: Duration::from_secs(1),
            args: Vec::new(),
        }
    }
}

impl Setup {
    /// How long a node may be silent before it is replaced.
    pub fn node_timeout(mut self, span: Duration) -> Self {
        self.node_timeout = span;
        self
    }

    /// Adds arguments of each `redis-server`.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts them and waits until each of them says that all is well.
    pub fn start(self) -> Result<Cluster> {
        let cluster = Cluster {
            setup: self,
            nodes: Mutex::default(),
        };
        for _ in 0..2 * SHARDS {
            cluster.begin_node()?;
        }
        let nodes = cluster.nodes();
        let (primaries, replicas) = nodes.split_at(usize::from(SHARDS));
        for (number, primary) in (0..).zip(primaries) {
            let first = SLOTS / SHARDS * number;
            let last = match number + 1 {
                SHARDS => SLOTS - 1,
                next => SLOTS / SHARDS * next - 1,
            };
            let (first, last) = (first.to_string(), last.to_string());
            primary.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        for (number, node) in (1..).zip(&nodes) {
            let epoch = u16::to_string(&number);
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
        }
        for node in &nodes[1..] {
            cluster.introduce(node)?;
        }
        cluster.wait_acquainted()?;
        for (primary, replica) in primaries.iter().zip(replicas) {
            replica.command(&["CLUSTER", "REPLICATE", &primary.id()?])?;
        }
        wait_blocking(
            "a cluster in good order",
            PATIENCE,
            || Ok(cluster.is_well()),
        )?;
        Ok(cluster)
    }
}

/// One server of a cluster.
#[derive(Debug)]
pub struct Node {
    redis: Redis,
    /// Where the nodes talk to each other.
    bus: Port,
}

impl std::ops::Deref for Node {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.redis
    }
}

impl Node {
    /// Its name among the nodes.
    pub fn id(&self) -> Result<String> {
        self.command(&["CLUSTER", "MYID"])
    }

    /// Whether it takes itself for a primary.
    pub fn is_primary(&self) -> bool {
        self.command(&["ROLE"])
            .is_ok_and(|role| role.starts_with("master"))
    }
}

/// Servers that share the slots. Dropping it ends all of them.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    nodes: Mutex<Vec<Arc<Node>>>,
}

impl Cluster {
    /// The address for clients: three of the nodes.
    pub fn url(&self) -> String {
        let nodes = self.nodes();
        let hosts: Vec<_> = nodes
            .iter()
            .take(3)
            .map(|n| n.address().to_string())
            .collect();
        format!("redis-cluster://{LOGIN}@{}", hosts.join(","))
    }

    /// All nodes, those that were killed too; the first three began as primaries, the next three
    /// as their replicas.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.lock().clone()
    }

    /// The slot that a key has.
    pub fn slot(&self, key: &str) -> Result<u16> {
        let slot = self.any()?.command(&["CLUSTER", "KEYSLOT", key])?;
        Ok(slot.parse()?)
    }

    /// The primary that has a slot.
    pub fn owner(&self, slot: u16) -> Result<Arc<Node>> {
        let nodes = self.nodes();
        let alive = nodes.iter().filter(|node| node.is_running());
        let mut primaries = alive.filter(|node| node.is_primary());
        let owner = primaries.find(|node| has_slot(node, slot).unwrap_or(false));
        owner
            .cloned()
            .with_context(|| format!("nobody has slot {slot}"))
    }

    /// SIGKILL to the primary that has a slot; its replica will take over.
    pub fn kill_owner(&self, slot: u16) -> Result<Arc<Node>> {
        let owner = self.owner(slot)?;
        owner.stop()?;
        Ok(owner)
    }

    /// Starts a node that has no slots yet, and waits until it and all others know each other.
    pub fn add_shard(&self) -> Result<Arc<Node>> {
        let node = self.begin_node()?;
        self.introduce(&node)?;
        self.wait_acquainted()?;
        wait_blocking("a cluster in good order", PATIENCE, || Ok(self.is_well()))?;
        Ok(node)
    }

    /// Gives a slot with all that is in it to another node, under load or not.
    pub fn move_slot(&self, slot: u16, to: &Node) -> Result<()> {
        let begun = self.begin_move(slot, to)?;
        begun.move_keys()?;
        begun.end()
    }

    /// Begins to give a slot to another node: from now on, what is not there any more has to be
    /// asked for at the other one.
    pub fn begin_move<'a>(&'a self, slot: u16, to: &'a Node) -> Result<Move<'a>> {
        let from = self.owner(slot)?;
        let (number, to_id) = (slot.to_string(), to.id()?);
        to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &from.id()?])?;
        from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &to_id])?;
        Ok(Move {
            cluster: self,
            slot: number,
            from,
            to,
        })
    }

    /// Waits until every node that runs says that all is well.
    pub async fn wait_well(&self, deadline: Duration) -> Result<()> {
        wait_until("a cluster in good order", deadline, async || self.is_well()).await
    }

    /// SIGKILL to all nodes.
    pub fn stop(&self) -> Result<()> {
        self.nodes().iter().try_for_each(|node| node.stop())
    }

    /// Stops the nodes that run, starts all of them empty, and waits until they have found each
    /// other again.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.nodes().iter().try_for_each(|node| node.restart())?;
        wait_blocking("a cluster in good order", PATIENCE, || Ok(self.is_well()))
    }

    /// SIGSTOP to all nodes.
    pub fn pause(&self) -> Result<()> {
        self.nodes().iter().try_for_each(|node| node.pause())
    }

    /// SIGCONT to all nodes.
    pub fn resume(&self) -> Result<()> {
        self.nodes().iter().try_for_each(|node| node.resume())
    }

    /// Whether all slots are served, replicas are in step and shown to clients, and each node hears
    /// each other one and knows what it is.
    fn is_well(&self) -> bool {
        let nodes = self.nodes();
        let alive: Vec<_> = nodes.iter().filter(|node| node.is_running()).collect();
        let roles: Vec<_> = alive
            .iter()
            .map(|node| match node.is_primary() {
                true => "master",
                false => "slave",
            })
            .collect();
        alive.iter().all(|node| {
            let is_whole = node
                .command(&["CLUSTER", "INFO"])
                .is_ok_and(|info| info.contains("cluster_state:ok"));
            let about = node.command(&["CLUSTER", "NODES"]).unwrap_or_default();
            let mut others = alive.iter().zip(&roles);
            let hears_all = others.all(|(other, role)| is_heard(&about, other.address(), role));
            let in_step = node
                .command(&["INFO", "replication"])
                .is_ok_and(|info| !info.contains("master_link_status:down"));
            // Nodes hide replicas of which they have not heard yet how far they are.
            let shown = node.command(&["CLUSTER", "SLOTS"]).unwrap_or_default();
            let shown: Vec<_> = shown.lines().collect();
            let mut others = alive.iter().zip(&roles);
            let shows_all = others.all(|(other, role)| {
                let port = other.address().port().to_string();
                *role == "master" || shown.contains(&port.as_str())
            });
            is_whole && hears_all && in_step && shows_all
        })
    }

    fn begin_node(&self) -> Result<Arc<Node>> {
        let bus = Port::reserve()?;
        let (timeout, bus_port) = (
            self.setup.node_timeout.as_millis().to_string(),
            bus.number().to_string(),
        );
        let redis = redis::Setup::default()
            .args(["--cluster-enabled", "yes", "--cluster-port", &bus_port])
            .args(["--cluster-node-timeout", &timeout])
            // One that lagged is better than none: nothing here believes what it says.
            .args(["--cluster-replica-validity-factor", "0"])
            .args(["--repl-diskless-sync-delay", "0"])
            .args(["--repl-ping-replica-period", "1"])
            .args(self.setup.args.clone())
            .start()?;
        let node = Arc::new(Node { redis, bus });
        self.lock().push(Arc::clone(&node));
        Ok(node)
    }

    fn introduce(&self, node: &Node) -> Result<()> {
        let (port, bus) = (
            node.address().port().to_string(),
            node.bus.number().to_string(),
        );
        let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
        self.any()?.command(&meet).map(drop)
    }

    /// Waits until each node knows each other one. A greeting that a busy machine holds up for too
    /// long is forgotten, so it is repeated.
    fn wait_acquainted(&self) -> Result<()> {
        let nodes = self.nodes();
        let known = format!("cluster_known_nodes:{}\r", nodes.len());
        let mut greeted = Instant::now();
        wait_blocking("nodes that know each other", PATIENCE, || {
            let alive: Vec<_> = nodes.iter().filter(|node| node.is_running()).collect();
            if greeted.elapsed() > Duration::from_secs(2) {
                greeted = Instant::now();
                alive
                    .iter()
                    .skip(1)
                    .try_for_each(|node| self.introduce(node))?;
            }
            Ok(alive.iter().all(|node| {
                let info = node.command(&["CLUSTER", "INFO"]);
                info.is_ok_and(|info| info.contains(&known))
            }))
        })
    }

    fn any(&self) -> Result<Arc<Node>> {
        let alive = self.nodes().into_iter().find(|node| node.is_running());
        alive.context("no node runs")
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot on its way from one node to another.
pub struct Move<'a> {
    cluster: &'a Cluster,
    slot: String,
    from: Arc<Node>,
    to: &'a Node,
}

impl Move<'_> {
    /// Carries over what is in the slot.
    pub fn move_keys(&self) -> Result<()> {
        let to: SocketAddr = self.to.address();
        let (host, port) = (to.ip().to_string(), to.port().to_string());
        loop {
            let keys = ["CLUSTER", "GETKEYSINSLOT", &self.slot, "100"];
            let keys = self.from.command(&keys)?;
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                return Ok(());
            }
            let mut migrate = vec!["MIGRATE", &host, &port, "", "0", "5000", "REPLACE"];
            migrate.extend(["AUTH2", ADMIN, ADMIN, "KEYS"]);
            migrate.extend(keys);
            self.from.command(&migrate)?;
        }
    }

    /// Says to all who has the slot now, the new owner first.
    pub fn end(self) -> Result<()> {
        let id = self.to.id()?;
        let assign = ["CLUSTER", "SETSLOT", &self.slot, "NODE", &id];
        self.to.command(&assign)?;
        self.from.command(&assign)?;
        for node in self.cluster.nodes() {
            if node.is_running() && node.is_primary() {
                node.command(&assign)?;
            }
        }
        ensure!(
            has_slot(self.to, self.slot.parse()?)?,
            "the slot did not arrive"
        );
        Ok(())
    }
}

/// Whether the answer to CLUSTER NODES has a node in this role, and in good health.
fn is_heard(about: &str, address: SocketAddr, role: &str) -> bool {
    let port = format!(":{}@", address.port());
    let line = about.lines().find(|line| line.contains(&port));
    let mut words = line.unwrap_or_default().split(' ').skip(2);
    let flags: Vec<_> = words.next().unwrap_or_default().split(',').collect();
    let fails = flags.contains(&"fail") || flags.contains(&"fail?");
    flags.contains(&role) && !fails && words.any(|word| word == "connected")
}

/// Whether a node says that a slot is its own.
fn has_slot(node: &Node, slot: u16) -> Result<bool> {
    let about = node.command(&["CLUSTER", "NODES"])?;
    let own = about.lines().find(|line| line.contains("myself"));
    // id, address, flags, primary, ping, pong, epoch, link, and then slots
    let own = own
        .context("a node that does not know itself")?
        .split(' ')
        .skip(8);
    Ok(own.filter(|part| !part.starts_with('[')).any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = (first.parse::<u16>(), last.parse::<u16>());
        matches!(bounds, (Ok(first), Ok(last)) if (first..=last).contains(&slot))
    }))
}
