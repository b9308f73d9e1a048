//! What every service runs on: config, telemetry, admin port, tasks, drain, gRPC layers.
//!
//! A service's `main` reads its [`config`], starts [`telemetry`], makes its [`tasks`] and its
//! [`readiness`], opens what it needs, and then runs a [`server`] beside an [`admin`] port until
//! [`shutdown::requested`]. In between, a call passes through
//!
//! 1. [`coalesce`]: many replies of a connection leave in one system call;
//! 2. [`callers`]: who may not call is turned away, where callers are known;
//! 3. [`warden`]: who asks too often is turned away, if somebody is there to say so;
//! 4. [`trace`]: a call whose trace is recorded has a span around it;
//! 5. [`shortcut`]: what can be answered at once is, and goes no further;
//! 6. [`metrics`]: every call is counted and timed, whatever becomes of it;
//! 7. [`streams`]: open answers end when the process drains;
//! 8. [`refusal`]: what the transport refuses is said in the same words as everything else;
//! 9. `arrival`: what comes too slowly is waited for here, where it keeps nobody out;
//! 10. [`admission`]: too many at once are turned away;
//! 11. [`deadline`]: and none takes longer than its caller waits;
//!
//! and comes to the service, which says what is wrong with [`status`] and reaches others through
//! a [`client`].
//!
//! What somebody can take of a process by connecting to it has [`bounds`]: [`places`] for connections,
//! [`patience`] for what comes slowly, `stall` for what does not move, `untaken` for answers that their
//! peer has no room for. [`transport`] is the one loop that serves connections, of every port.
//!
//! Links are plain TCP unless there are certificates: [`tls`] holds them and reads them again,
//! [`incoming`] are the connections of a port with their handshakes done, and a [`connection`] knows
//! who is at its other end. [`policy`] says who may call what, [`access`] is the check of the admin
//! port, with a [`token`] or a certificate.
//!
//! Touches neither the cache, nor a database, nor a word of any service.

pub mod access;
pub mod admin;
pub mod admission;
mod arrival;
pub mod bounds;
pub mod callers;
pub mod client;
pub mod coalesce;
pub mod config;
pub mod connection;
pub mod deadline;
pub mod drain;
pub mod exposition;
mod files;
#[doc(hidden)]
pub mod fuzzed;
pub mod health;
pub mod incoming;
pub mod linger;
pub mod listen;
pub mod metrics;
pub mod patience;
pub mod places;
pub mod policy;
mod process;
pub mod readiness;
pub mod refusal;
mod reread;
mod seldom;
pub mod server;
pub mod shortcut;
pub mod shutdown;
mod stall;
pub mod status;
pub mod streams;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod trace;
pub mod transport;
mod untaken;
pub mod warden;
