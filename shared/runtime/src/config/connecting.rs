//! How much of a process somebody may take by connecting to it.

use super::Shown;
use crate::bounds::Bounds;
use clap::Args;
use std::time::Duration;

const DEFAULT: Bounds = Bounds::DEFAULT;

/// What each port keeps and waits for at most.
#[derive(Args, Clone, Debug)]
pub struct Connecting {
    /// Connections open at once on each port; one more is closed at once.
    #[arg(long, env = "LARDER_MAX_CONNECTIONS", value_name = "N", default_value_t = DEFAULT.connections)]
    pub max_connections: usize,
    /// Of these, as many from one address; an IPv6 network of 64 bits counts as one. Behind a proxy
    /// everybody has the proxy's address [default: three quarters of them].
    #[arg(long, env = "LARDER_MAX_CONNECTIONS_PER_PEER", value_name = "N")]
    pub max_connections_per_peer: Option<usize>,
    /// Milliseconds that a TLS handshake may take.
    #[arg(long, env = "LARDER_HANDSHAKE_TIMEOUT_MS", value_name = "N", default_value_t = millis(DEFAULT.handshake))]
    pub handshake_timeout_ms: u64,
    /// Milliseconds that the head of a request may take to come, and that a connection of HTTP/1 may
    /// be idle.
    #[arg(long, env = "LARDER_HEAD_TIMEOUT_MS", value_name = "N", default_value_t = millis(DEFAULT.head))]
    pub head_timeout_ms: u64,
    /// Bytes that the head of a request may have: its path and headers.
    #[arg(long, env = "LARDER_MAX_HEAD_BYTES", value_name = "N", default_value_t = DEFAULT.head_bytes as u32,
        value_parser = clap::value_parser!(u32).range(8192..=1 << 20))]
    pub max_head_bytes: u32,
    /// Milliseconds that the body of a request may take to come.
    #[arg(long, env = "LARDER_BODY_TIMEOUT_MS", value_name = "N", default_value_t = millis(DEFAULT.body))]
    pub body_timeout_ms: u64,
    /// Milliseconds that a peer may take nothing of what it is sent, or have no room for an answer.
    #[arg(long, env = "LARDER_WRITE_TIMEOUT_MS", value_name = "N", default_value_t = millis(DEFAULT.write), value_parser = clap::value_parser!(u64).range(1..))]
    pub write_timeout_ms: u64,
    /// Calls at once on one connection of HTTP/2.
    #[arg(long, env = "LARDER_MAX_STREAMS", value_name = "N", default_value_t = DEFAULT.streams)]
    pub max_streams: u32,
    /// Calls that may be begun and given up at one stroke on a connection of HTTP/2, before it is
    /// closed.
    #[arg(long, env = "LARDER_MAX_RESETS", value_name = "N", default_value_t = DEFAULT.resets)]
    pub max_resets: usize,
    /// Milliseconds after which a silent peer of HTTP/2 is asked whether it is there.
    #[arg(long, env = "LARDER_KEEPALIVE_MS", value_name = "N", default_value_t = millis(DEFAULT.keepalive),
        value_parser = clap::value_parser!(u64).range(1..))]
    pub keepalive_ms: u64,
    /// Seconds after which a peer is asked to make another connection, a tenth more or less. After as
    /// long again what is still open on one of HTTP/2 is cut, such as a stream.
    #[arg(long, env = "LARDER_CONNECTION_AGE_SECONDS", value_name = "N", default_value_t = DEFAULT.age.as_secs() as u32,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub connection_age_seconds: u32,
}

const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Connecting {
    /// The same, for ports.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections: self.max_connections,
            connections_per_peer: self.connections_per_peer(),
            handshake: Duration::from_millis(self.handshake_timeout_ms),
            head: Duration::from_millis(self.head_timeout_ms),
            head_bytes: self.max_head_bytes as usize,
            body: Duration::from_millis(self.body_timeout_ms),
            write: Duration::from_millis(self.write_timeout_ms),
            streams: self.max_streams,
            resets: self.max_resets,
            keepalive: Duration::from_millis(self.keepalive_ms),
            age: Duration::from_secs(self.connection_age_seconds.into()),
        }
    }

    fn connections_per_peer(&self) -> usize {
        let most = self.max_connections;
        self.max_connections_per_peer.unwrap_or(most - most / 4)
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        shown
            .line("max-connections", self.max_connections)
            .line("max-connections-per-peer", self.connections_per_peer())
            .line("handshake-timeout-ms", self.handshake_timeout_ms)
            .line("head-timeout-ms", self.head_timeout_ms)
            .line("max-head-bytes", self.max_head_bytes)
            .line("body-timeout-ms", self.body_timeout_ms)
            .line("write-timeout-ms", self.write_timeout_ms)
            .line("max-streams", self.max_streams)
            .line("max-resets", self.max_resets)
            .line("keepalive-ms", self.keepalive_ms)
            .line("connection-age-seconds", self.connection_age_seconds)
    }
}
