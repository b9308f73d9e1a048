//! The cache's words on the wire: what a caller asks for in metadata, what it is told in return,
//! errors, and the feed between services.
//!
//! Owns the mapping between `larder` and gRPC; neither knows the other. Reading order: `ask.rs`
//! and `answer.rs` are the metadata of every call, `refusal.rs` turns errors into statuses, and
//! `serve.rs` and `upstream.rs` are the two ends between a service that owns rows and one that
//! holds copies of them; `operator.rs` is what those who run a process ask of its cache.

mod answer;
mod ask;
mod convert;
#[doc(hidden)]
pub mod fuzzed;
mod metrics;
mod operator;
mod refusal;
mod serve;
mod upstream;

pub use answer::{Mark, mark, put_token, reply};
pub use ask::{read, wanted};
pub use metrics::{measure, measure_remote};
pub use operator::Operator;
pub use refusal::refusal;
pub use serve::Feeds;
pub use upstream::Upstream;

/// The metadata that callers send and services answer with.
pub mod names {
    /// Request: `strong`, `bounded` (default) or `any`.
    pub const FRESHNESS: &str = "larder-freshness";
    /// Request: a Δ of the caller's own, in milliseconds.
    pub const MAX_STALENESS: &str = "larder-max-staleness-ms";
    /// Request: tokens of writes that the answer must reflect, may repeat. Response to a write:
    /// its token.
    pub const TOKEN: &str = "larder-token";
    /// Response: `l1`, `l2`, `db` or `stale`.
    pub const SOURCE: &str = "larder-source";
    /// Response: the version of the entity.
    pub const VERSION: &str = "larder-version";
    /// Response: how far behind its source the answer can be, at most, in milliseconds.
    pub const AGE: &str = "larder-age-ms";
}
