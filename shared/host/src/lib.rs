//! What every service that owns tables starts with.
//!
//! Owns the order in which such a service starts, watches over its source, and ends; and the few
//! lines between a handler and its cache or its database that would otherwise be written in
//! every service. Names no table and no word of any service.
//!
//! Reading order: [`Service`] is what a service brings, [`Parts`] what its process or the suite
//! brings, and [`Host`] puts them together:
//!
//! 1. the ports are taken; `/live` answers, `/ready` says why not yet;
//! 2. the gRPC server is up, and answers UNAVAILABLE ([`Late`]);
//! 3. the database is opened, for as long as that takes; its tables are brought up to date and the
//!    journal is installed, or that is waited for ([`Parts::migrate`]); the source is opened, and the
//!    keyspaces ([`Base::open`]);
//! 4. calls are answered, and with the first proof the gate `database` opens for good; what other
//!    replicas read most is brought into memory, for a bounded time, and the gate `warming` opens
//!    (`heat.rs`, [`Timing::warm`]);
//! 5. pruning, the check of the triggers, telling what is read most, and a look at whether proofs go on
//!    continue until the end ([`Timing`]).
//!
//! Calls may be limited by address and by user ([`Parts::limiting`]), those answered from memory
//! included.
//!
//! The remote tier is never waited for. Handlers hold a [`Base`]: it says how a request may be
//! read, and runs writes that a caller who hangs up does not stop. [`Entity`] is the value that
//! keyspaces of rows hold, [`status`] and [`load`] turn the database's errors into what callers
//! and the cache are told.

mod base;
mod doubt;
mod entity;
mod error;
mod heat;
mod host;
mod late;
pub mod load;
mod open;
mod parts;
mod place;
mod service;
mod sql;
pub mod status;
#[cfg(feature = "trial")]
pub mod trial;
mod upkeep;

pub use base::{Base, Opening};
pub use entity::{Entity, absent, found, found_at_once, written};
pub use error::Error;
pub use host::{Host, run};
pub use late::Late;
pub use parts::{Parts, Port, Timing};
pub use place::database_url;
pub use service::{BoxError, Grpc, GrpcService, Migrations, Service};
pub use sql::among;
