//! The places of a port: how many connections are open at once, and how many of one peer.
//!
//! Over the bound the newest is closed at once, before a byte of it is read, and counted. One peer
//! has less than all places, so that it alone cannot shut the others out.

use crate::bounds::Bounds;
use crate::exposition::{Metric, Page};
use crate::files::{self, File};
use crate::seldom::{SAY_EVERY, Seldom};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const CONNECTIONS: Metric = Metric::gauge("larder_connections", "Connections that are open.");
const REFUSED: Metric = Metric::counter(
    "larder_connections_refused_total",
    "Connections that were closed over a limit.",
);

/// Why a connection was closed by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    /// All places were taken.
    Full,
    /// Its peer had as many as one may have.
    Peer,
    /// The process has no files left.
    Files,
    /// Its TLS handshake, or its first words, did not come in time.
    Silent,
    /// It took nothing of what it was sent.
    Stalled,
}

const REASONS: [&str; 5] = ["full", "peer", "files", "silent", "stalled"];

/// The places of one port. Clones are of the same port.
#[derive(Clone)]
pub struct Places(Arc<Port>);

struct Port {
    name: &'static str,
    most: usize,
    most_of_peer: usize,
    /// How many connections each peer has open; only those who have one are in it.
    open: Mutex<Open>,
    closed: [AtomicU64; REASONS.len()],
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Places {
    /// The places of a port. `name` is what metrics call it.
    pub fn new(name: &'static str, bounds: &Bounds) -> Self {
        files::check(bounds.connections);
        Self(Arc::new(Port {
            name,
            most: bounds.connections,
            most_of_peer: bounds.connections_per_peer,
            open: Mutex::default(),
            closed: Default::default(),
        }))
    }

    /// A place for a connection, if there is one; if there is none, that is counted.
    pub(crate) fn take(&self, address: SocketAddr) -> Option<Place> {
        match self.0.enter(peer(address.ip())) {
            Ok(file) => Some(Place {
                port: self.0.clone(),
                peer: peer(address.ip()),
                _file: file,
            }),
            Err(reason) => {
                self.count(reason);
                self.say(reason, address);
                None
            }
        }
    }

    pub(crate) fn count(&self, reason: Reason) {
        self.0.closed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Says it seldom: whoever can reach the port can bring it about.
    fn say(&self, reason: Reason, address: SocketAddr) {
        static SAID: Seldom = Seldom::new();
        if SAID.is_due() {
            tracing::warn!(
                port = self.0.name,
                peer.address = %address,
                reason = REASONS[reason as usize],
                "a connection was refused; others that are refused are counted, and said every \
                 {SAY_EVERY:?} at most"
            );
        }
    }
}

/// Adds what these ports count.
pub fn measure(page: &mut Page, ports: &[Places]) {
    for Places(port) in ports {
        let open = port.open().all;
        page.add(CONNECTIONS, &[("port", port.name)], open as f64);
        for (reason, count) in REASONS.iter().zip(&port.closed) {
            let labels = [("port", port.name), ("reason", reason)];
            page.count(REFUSED, &labels, count.load(Ordering::Relaxed));
        }
    }
}

impl Port {
    fn enter(&self, peer: IpAddr) -> Result<File, Reason> {
        let mut open = self.open();
        if open.all >= self.most {
            return Err(Reason::Full);
        }
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or_default();
        if of_peer >= self.most_of_peer {
            return Err(Reason::Peer);
        }
        let file = File::take().ok_or(Reason::Files)?;
        open.all += 1;
        open.by_peer.insert(peer, of_peer + 1);
        Ok(file)
    }

    fn leave(&self, peer: IpAddr) {
        let mut open = self.open();
        open.all -= 1;
        if let Some(of_peer) = open.by_peer.get_mut(&peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                open.by_peer.remove(&peer);
            }
        }
    }

    /// Whole whatever happened to whoever held it.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; to drop it is to leave.
pub(crate) struct Place {
    port: Arc<Port>,
    peer: IpAddr,
    _file: File,
}

impl Place {
    /// Of which port.
    pub(crate) fn port(&self) -> Places {
        Places(self.port.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.port.leave(self.peer);
    }
}

/// Whose connection it is: of IPv6, whoever has one address has all of its network.
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(connections: usize, connections_per_peer: usize) -> Places {
        let bounds = Bounds {
            connections,
            connections_per_peer,
            ..Bounds::DEFAULT
        };
        Places::new("test", &bounds)
    }

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().expect("an address"), 1)
    }

    #[test]
    fn the_newest_has_no_place_where_all_are_taken_until_somebody_leaves() {
        let places = places(2, 2);
        let one = places.take(at("192.0.2.1")).expect("a place");
        let _two = places.take(at("192.0.2.2")).expect("a place");
        assert!(places.take(at("192.0.2.3")).is_none());
        drop(one);
        let _three = places.take(at("192.0.2.3")).expect("a place");
        let text = Page::of(|page| measure(page, &[places])).text();
        assert!(
            text.contains("larder_connections{port=\"test\"} 2\n"),
            "{text}"
        );
        let line = "larder_connections_refused_total{port=\"test\",reason=\"full\"} 1\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn one_peer_cannot_take_all_places_and_a_network_of_ipv6_is_one_peer() {
        let places = places(5, 2);
        let held = ["2001:db8::1", "2001:db8::2:1"].map(|address| places.take(at(address)));
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(at("2001:db8::3")).is_none());
        let others = ["2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"];
        let others = others.map(|address| places.take(at(address)));
        assert!(others.iter().all(Option::is_some));
        assert_eq!(places.0.open().by_peer.len(), 3);
        drop((held, others));
        assert!(places.0.open().by_peer.is_empty());
    }
}
