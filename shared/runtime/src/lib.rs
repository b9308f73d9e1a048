//! What every service runs on: config, telemetry, admin port, tasks, drain, gRPC layers.
//!
//! A service's `main` reads its [`config`], starts [`telemetry`], makes its [`tasks`] and its
//! [`readiness`], opens what it needs, and then runs a [`server`] beside an [`admin`] port until
//! [`shutdown::requested`]. In between, a call passes through
//!
//! 1. [`coalesce`]: many replies of a connection leave in one system call;
//! 2. [`warden`]: who asks too often is turned away, if somebody is there to say so;
//! 3. [`shortcut`]: what can be answered at once is, and goes no further;
//! 4. [`metrics`]: every call is counted and timed, whatever becomes of it;
//! 5. [`streams`]: open answers end when the process drains;
//! 6. [`refusal`]: what the transport refuses is said in the same words as everything else;
//! 7. [`admission`]: too many at once are turned away;
//! 8. [`deadline`]: and none takes longer than its caller waits;
//!
//! and comes to the service, which says what is wrong with [`status`] and reaches others through
//! a [`client`].
//!
//! Touches neither the cache, nor a database, nor a word of any service.

pub mod admin;
pub mod admission;
pub mod client;
pub mod coalesce;
pub mod config;
pub mod deadline;
pub mod listen;
pub mod metrics;
pub mod readiness;
pub mod refusal;
pub mod server;
pub mod shortcut;
pub mod shutdown;
pub mod status;
pub mod streams;
pub mod tasks;
pub mod telemetry;
pub mod warden;
