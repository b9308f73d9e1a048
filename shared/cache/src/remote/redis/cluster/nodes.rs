//! The nodes, with a link to each.

use super::super::address::elsewhere;
use super::super::link::Link;
use super::super::server::{Manners, Server};
use super::super::whereabouts::Whereabouts;
use super::slots::{Address, Part, SLOTS};
use crate::remote::Error;
use redis::ConnectionInfo;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nodes that are believed in; Redis itself advises against more.
const MOST_NODES: usize = 1_000;

/// One node.
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) server: Server,
    pub(super) link: Link,
    /// Whether it was needed since it was last looked at.
    is_used: AtomicBool,
}

/// All nodes that are in use: those of the map, and those that calls were sent on to.
pub(super) struct Nodes {
    like: ConnectionInfo,
    manners: Manners,
    name: String,
    open: Mutex<HashMap<Address, Arc<Node>>>,
}

impl Nodes {
    pub(super) fn new(
        seeds: &[ConnectionInfo],
        replica_reads: bool,
        name: &str,
    ) -> Result<Self, Error> {
        let like = seeds.first().cloned();
        Ok(Self {
            like: like.ok_or_else(|| Error::Address("there is no host".to_owned()))?,
            manners: match replica_reads {
                true => Manners::Replica,
                false => Manners::Plain,
            },
            name: name.to_owned(),
            open: Mutex::default(),
        })
    }

    pub(super) fn server(&self, info: ConnectionInfo) -> Result<Server, Error> {
        Server::new(info, self.manners)
    }

    /// The node at an address. It is met when it was not known before.
    pub(super) fn node(&self, address: &Address) -> Result<Arc<Node>, Error> {
        let mut open = self.open();
        if let Some(node) = open.get(address) {
            node.is_used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(node));
        }
        if open.len() >= MOST_NODES {
            return Err(Error::Failed(Arc::new(TooMany)));
        }
        let (host, port) = address.clone();
        let addr = elsewhere(self.like.addr(), host, port);
        let server = self.server(self.like.clone().set_addr(addr))?;
        let whereabouts = Whereabouts::fixed(server.clone());
        let node = Arc::new(Node {
            address: address.clone(),
            link: Link::open(whereabouts, &self.name)?,
            server,
            is_used: AtomicBool::new(true),
        });
        open.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    /// Leaves those that are neither in the map nor were asked anything since the last time.
    pub(super) fn leave_unused(&self, map: &Map) {
        self.open().retain(|address, node| {
            let was_used = node.is_used.swap(false, Ordering::Relaxed);
            was_used || map.has(address)
        });
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Address, Arc<Node>>> {
        // A panic under this lock leaves a table that is true.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has which slot, as far as is known.
pub(super) struct Map {
    parts: Vec<Part>,
    shards: Vec<Shard>,
    by_slot: Box<[u16]>,
    nodes: Vec<Arc<Node>>,
    start: usize,
    turn: AtomicUsize,
}

struct Shard {
    primary: Arc<Node>,
    replicas: Vec<Arc<Node>>,
}

const NOBODY: u16 = u16::MAX;

impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Map {
    pub(super) fn new(parts: Vec<Part>, nodes: &Nodes) -> Result<Self, Error> {
        let mut by_slot = vec![NOBODY; usize::from(SLOTS)].into_boxed_slice();
        let mut shards = Vec::with_capacity(parts.len());
        for part in &parts {
            let mut members = part.nodes.iter().map(|address| nodes.node(address));
            let Some(primary) = members.next() else {
                continue;
            };
            let number = shards.len() as u16;
            for slot in part.slots.clone() {
                by_slot[usize::from(slot)] = number;
            }
            shards.push(Shard {
                primary: primary?,
                replicas: members.collect::<Result<_, _>>()?,
            });
        }
        let primaries = shards.iter().map(|shard| &shard.primary);
        let replicas = shards.iter().flat_map(|shard| &shard.replicas);
        let mut seen = HashSet::new();
        let all = primaries
            .chain(replicas)
            .filter(|node| seen.insert(node.address.clone()));
        // Not every process begins with the same one.
        let start = getrandom::u32().unwrap_or(0) as usize;
        Ok(Self {
            nodes: all.cloned().collect(),
            shards,
            by_slot,
            start,
            turn: AtomicUsize::new(start),
            parts,
        })
    }

    pub(super) fn has(&self, address: &Address) -> bool {
        self.nodes.iter().any(|node| node.address == *address)
    }

    /// The nodes, each time beginning with another one; those that answer first.
    pub(super) fn in_turn(&self) -> Vec<&Arc<Node>> {
        alive_first(rotated(&self.nodes, self.turn()))
    }

    /// The nodes in an order that changes only when one falls silent; those that answer first.
    /// Messages that are sent to the first of them keep their order.
    pub(super) fn in_order(&self) -> Vec<&Arc<Node>> {
        alive_first(rotated(&self.nodes, self.start))
    }

    pub(super) fn primary(&self, slot: u16) -> Option<&Arc<Node>> {
        Some(&self.shard(slot)?.primary)
    }

    /// A number that is another one each time.
    pub(super) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Who may be asked for what lies in a slot, in the order of asking: the replicas, of which
    /// it is `turn`'s turn, then the primary; those that do not answer last.
    pub(super) fn readers(&self, slot: u16, turn: usize) -> Vec<&Arc<Node>> {
        let Some(shard) = self.shard(slot) else {
            return Vec::new();
        };
        let primary = std::iter::once(&shard.primary);
        alive_first(rotated(&shard.replicas, turn).chain(primary))
    }

    fn shard(&self, slot: u16) -> Option<&Shard> {
        let number = self.by_slot.get(usize::from(slot))?;
        self.shards.get(usize::from(*number))
    }
}

fn rotated(nodes: &[Arc<Node>], turn: usize) -> impl Iterator<Item = &Arc<Node>> {
    let start = turn.checked_rem(nodes.len()).unwrap_or(0);
    let (head, tail) = nodes.split_at(start);
    tail.iter().chain(head)
}

fn alive_first<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Vec<&'a Arc<Node>> {
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_by_key(|node| node.link.is_doubtful());
    nodes
}

#[derive(Debug, thiserror::Error)]
#[error("a cluster of more nodes than there can be")]
struct TooMany;
