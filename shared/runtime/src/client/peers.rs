//! The endpoints of a client, and whose turn it is.

use super::peer::{Around, Peer};
use super::resolve::Found;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// How many endpoints a client has at most; what a name has beyond that is left out.
const MOST: usize = 256;

/// The endpoints of one client.
pub(super) struct Peers {
    these: RwLock<Arc<[Arc<Peer>]>>,
    /// Names were asked before: whoever joins now joins others.
    known: AtomicBool,
    around: Around,
}

impl Peers {
    pub(super) fn new(around: Around) -> Self {
        Self {
            these: RwLock::default(),
            known: AtomicBool::new(false),
            around,
        }
    }

    pub(super) fn all(&self) -> Arc<[Arc<Peer>]> {
        let these = self.these.read().unwrap_or_else(PoisonError::into_inner);
        these.clone()
    }

    /// The endpoint for the next call: of two by chance among those that are there, the one with
    /// fewer calls under way. Those in `tried` only when there is no other, those that are away
    /// before them.
    pub(super) fn pick(&self, tried: &[Arc<Peer>]) -> Option<Arc<Peer>> {
        let all = self.all();
        let fresh = |peer: &&Arc<Peer>| !tried.iter().any(|other| Arc::ptr_eq(peer, other));
        let awake = |peer: &&Arc<Peer>| !peer.is_away();
        lighter(all.iter().filter(fresh).filter(awake))
            .or_else(|| lighter(all.iter().filter(fresh)))
            .or_else(|| lighter(all.iter()))
            .cloned()
    }

    /// The names have these now: new ones join, and those that are no longer among them leave.
    /// Nobody there is no answer; what was there stays.
    pub(super) fn become_these(&self, found: Vec<Found>) {
        if found.is_empty() {
            return;
        }
        let mut found: BTreeSet<Found> = found.into_iter().collect();
        while found.len() > MOST {
            found.pop_last();
        }
        let before = self.all();
        let stays = |peer: &&Arc<Peer>| found.contains(&(peer.origin.clone(), peer.address));
        let mut after: Vec<_> = before.iter().filter(stays).cloned().collect();
        for peer in before.iter().filter(|peer| !stays(peer)) {
            tracing::debug!(client.endpoint = %peer.address, "an endpoint is gone");
            peer.remove();
        }
        for peer in &after {
            found.remove(&(peer.origin.clone(), peer.address));
        }
        // The first ones are connected when they are first needed.
        let first = !self.known.swap(true, Ordering::Relaxed);
        for (origin, address) in found {
            let Some(peer) = Peer::new(origin, address, self.around.clone()) else {
                continue;
            };
            if !first {
                tracing::debug!(client.endpoint = %address, "a new endpoint");
                peer.join();
            }
            after.push(peer);
        }
        let mut these = self.these.write().unwrap_or_else(PoisonError::into_inner);
        *these = after.into();
    }
}

/// Of two by chance, the one with fewer calls under way.
fn lighter<'a>(peers: impl Iterator<Item = &'a Arc<Peer>>) -> Option<&'a Arc<Peer>> {
    let peers: SmallVec<[_; 8]> = peers.collect();
    match peers.len() {
        0 | 1 => peers.first().copied(),
        many => {
            let one = rand::random_range(0..many);
            let other = (one + rand::random_range(1..many)) % many;
            let (one, other) = (peers[one], peers[other]);
            Some(if other.load() < one.load() {
                other
            } else {
                one
            })
        }
    }
}
