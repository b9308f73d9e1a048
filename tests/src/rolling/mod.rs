//! Rollouts under load: every replica of every service, and every gateway, is replaced by a new
//! process at another address while callers go on, and everything that they are answered is judged.
//!
//! Addresses are told as a headless Service tells them: a list for each service, which a replica
//! joins when it is ready and leaves when it is asked to end. Half of the callers speak HTTP to a
//! gateway and stay with a connection until it ends; the others speak gRPC through
//! [`larder_runtime::client::Client`], the same that the gateway and the services call each other with.
//!
//! In reading order: `fleet.rs` (processes and lists), `browser.rs` (an ordinary HTTP client),
//! `stage.rs` (rows, the judge, what is counted), `callers.rs` (who reads and writes), `ratio.rs`
//! (how much came from a cache, and when), `roll.rs` (what is done to the processes).

mod browser;
mod callers;
mod fleet;
mod ratio;
mod roll;
mod stage;

pub use fleet::Part;
pub use roll::{How, Outcome, Plan, Step, header, roll};
