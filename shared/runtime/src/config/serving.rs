//! How a process serves, and how it ends.

use super::{Connecting, Shown};
use crate::server;
use clap::Args;
use std::time::Duration;

/// How a process serves, and how it ends.
#[derive(Args, Clone, Debug)]
pub struct Serving {
    /// Seconds from the wish to end until the end, whatever is still running.
    #[arg(
        long,
        env = "LARDER_DRAIN_SECONDS",
        value_name = "N",
        default_value_t = 25
    )]
    pub drain_seconds: u32,
    /// Of these, the first so many seconds in which calls are still taken, until everybody
    /// knows that this process is not ready.
    #[arg(
        long,
        env = "LARDER_SETTLE_SECONDS",
        value_name = "N",
        default_value_t = 0
    )]
    pub settle_seconds: u32,
    /// Calls served at once; more are turned away.
    #[arg(
        long,
        env = "LARDER_MAX_CALLS",
        value_name = "N",
        default_value_t = 2048
    )]
    pub max_calls: usize,
    /// Milliseconds that a call takes at most, whatever its caller allows.
    #[arg(
        long,
        env = "LARDER_CALL_TIMEOUT_MS",
        value_name = "N",
        default_value_t = 30_000
    )]
    pub call_timeout_ms: u64,
    /// What each port keeps and waits for.
    #[command(flatten)]
    pub connecting: Connecting,
}

impl Serving {
    /// The same, for the server.
    pub fn limits(&self) -> server::Limits {
        server::Limits {
            drain: Duration::from_secs(self.drain_seconds.into()),
            settle: Duration::from_secs(self.settle_seconds.into()),
            calls: self.max_calls,
            call: Duration::from_millis(self.call_timeout_ms),
            bounds: self.connecting.bounds(),
            ..server::Limits::default()
        }
    }

    /// Adds its settings to what is printed.
    pub fn show(&self, shown: Shown) -> Shown {
        let shown = shown
            .line("drain-seconds", self.drain_seconds)
            .line("settle-seconds", self.settle_seconds)
            .line("max-calls", self.max_calls)
            .line("call-timeout-ms", self.call_timeout_ms);
        self.connecting.show(shown)
    }
}
