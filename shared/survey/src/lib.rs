//! The caches of all replicas, asked at once.
//!
//! Every replica has a cache of its own, so a question goes to all of them, and each answer says
//! whose it is. One that does not answer in time is a [`Failure`] beside the answers of the others:
//! never left out, and never waited for longer than was said. Knows the contract of
//! `CacheService` and nothing of what is behind it; never finds replicas by itself. Reading order:
//! [`Replicas`] (whom to ask, and how), then what can be asked: [`stats`], [`hot`], [`inspect`],
//! [`invalidate`] and [`watch`].

pub mod error;
pub mod hot;
pub mod inspect;
pub mod invalidate;
mod replicas;
pub mod stats;
pub mod watch;

pub use error::{Error, Failure};
pub use replicas::{Answers, Replica, Replicas, Way};

/// A span in seconds; none is 0.
pub fn seconds(span: Option<&prost_types::Duration>) -> f64 {
    span.map_or(0.0, |span| {
        span.seconds as f64 + f64::from(span.nanos) / 1e9
    })
}
