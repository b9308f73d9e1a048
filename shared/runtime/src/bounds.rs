//! How much of a process somebody may take by connecting to it.
//!
//! Whoever can reach a port can open connections and say little or nothing on them, slowly. Each
//! thing that he can make a port keep or wait for has a bound here, and what is beyond it costs the
//! newest or the slowest its place, and not those who go on.

use std::time::Duration;

/// The bounds of each port of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Connections open at once; one more is closed at once.
    pub connections: usize,
    /// Of these, as many from one address; an IPv6 network of 64 bits counts as one.
    pub connections_per_peer: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take to come, and a connection of HTTP/1 may be idle.
    pub head: Duration,
    /// The longest head in bytes: path and headers.
    pub head_bytes: usize,
    /// How long a request's body may take before it counts as too slow to be worked on.
    pub body: Duration,
    /// How long a peer may take nothing of what it is sent. That it has no room for an answer of HTTP/2
    /// is noticed after at most twice as long, and endured for as long again.
    pub write: Duration,
    /// Calls at once on one connection of HTTP/2.
    pub streams: u32,
    /// Calls that are begun and given up on one connection of HTTP/2 before they are looked at.
    pub resets: usize,
    /// How often a silent peer of HTTP/2 is asked whether it is there; it has half of that to answer.
    pub keepalive: Duration,
    /// How long a connection is used, a tenth more or less, before its peer is asked to make another.
    /// What is still under way on one of HTTP/2 after as long again, such as a stream, is cut.
    pub age: Duration,
}

impl Bounds {
    /// What is used unless something else is said.
    pub const DEFAULT: Self = Self {
        connections: 16_384,
        connections_per_peer: 12_288,
        handshake: Duration::from_secs(5),
        head: Duration::from_secs(20),
        head_bytes: 32 << 10,
        body: Duration::from_secs(10),
        write: Duration::from_secs(20),
        streams: 1024,
        resets: 64,
        keepalive: Duration::from_secs(10),
        age: Duration::from_secs(300),
    };
}

impl Default for Bounds {
    fn default() -> Self {
        Self::DEFAULT
    }
}
