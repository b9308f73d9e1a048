//! What the end-to-end tests stand on: suites as processes, seen from outside.
//!
//! Owns nothing of the suite and looks into nothing, but for how a [`hook`] is signed: a [`Suite`] is
//! the binary `larder` as it is shipped, [`Replica`] its ports, [`Said`] what an answer's metadata says,
//! [`scene`] the calls that tests make, [`command`] the command line, [`metrics`] what a replica says of
//! itself, [`deployed`] the suite as manifests start it, [`torture`] what all of it goes through under
//! faults, and [`rolling`] how its replicas are replaced under load. The tests are the files beside this
//! folder; the package of the binary builds them.

mod ask;
pub mod binary;
mod block;
pub mod collector;
pub mod command;
pub mod deployed;
pub mod metrics;
pub mod rolling;
pub mod scene;
mod suite;
pub mod torture;

pub use ask::{Said, asking, hook, said};
pub use suite::{Kind, Replica, Setup, Suite};
