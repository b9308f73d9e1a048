//! How often somebody may ask: limits per address and per user that all processes share.
//!
//! Owns the decision who passes, and what is told to who does not. Never touches a database, a
//! handler or a word of any service, and checks nobody's name: a user is whatever a header says,
//! so that the limit per user only ever adds to the one per address.
//!
//! Reading order: `forwarded.rs` (whose address it is, when proxies stand between), [`Subject`]
//! (who is counted), [`Limiter`] (one limit: what was refused is refused here, who asks at once
//! asks together, and what becomes of it while the remote tier is away), [`Limits`] (both limits
//! of a port), and its two faces, [`grpc`] and [`http`].
//!
//! # What it promises
//!
//! - Of any number of requests, over any number of processes on one remote tier, no more pass in
//!   any stretch of time than a burst and what the rate brings in that time
//!   ([`larder::remote::rate`]); and nobody is refused who may pass.
//! - Whoever was refused and comes again too soon costs the remote tier nothing. Whoever comes
//!   often costs a process one call per round trip, however many requests that are.
//! - While the remote tier is away, each process limits by itself: n processes then let n times
//!   as much pass, and each begins with a whole burst. It is not divided by n, since no process
//!   knows n, and with a balancer that holds on to clients the honest ones would be refused. With
//!   [`Away::Refuse`](larder_runtime::config::Away) nobody passes instead. A change is logged
//!   once, and both are counted ([`DECISIONS`], [`AWAY`]).
//!
//! A remote tier that loses what it knew (a restart, a failover before the last writes were
//! copied, keys that were evicted) lets at most one more burst pass for each subject.
//!
//! ```
//! use larder::remote::{self, Rate};
//! use larder_limit::{Limiter, Settings, Subject, Verdict};
//! use larder_runtime::config::Away;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings {
//!     namespace: "larder".to_owned(),
//!     scope: "ip",
//!     rate: Rate::new(1, Duration::from_secs(60), 2)?,
//!     away: Away::Alone,
//! };
//! let limiter = Limiter::new(settings, remote::open("hub:")?);
//! let who = Subject::address("203.0.113.7".parse()?);
//! assert!(matches!(limiter.ask(who).await, Verdict::Passed(_)));
//! assert!(matches!(limiter.ask(who).await, Verdict::Passed(_)));
//! assert!(matches!(limiter.ask(who).await, Verdict::Refused(_)));
//! # Ok(())
//! # }
//! ```

mod counts;
mod forwarded;
mod gather;
pub mod grpc;
pub mod http;
mod limiter;
mod limits;
mod refused;
mod subject;

pub use counts::{AWAY, Counts, DECISIONS, MALFORMED};
pub use forwarded::{Malformed, Proxies};
pub use limiter::{Limiter, Settings, Standing, Verdict};
pub use limits::{Error, LIMITS_AWAY, Limited, Limits, RATE_LIMITED, Refusal, Standings};
pub use subject::Subject;
