//! A model of the coherence protocol: the smallest world in which everything can go wrong that
//! may, played through in every order within bounds, and at random beyond them.
//!
//! The judgement in it is the shipped one: [`larder::digest::Ledger`] and
//! [`larder::digest::Memory`], [`larder::judge`], [`larder::Snapshot`]. What stands around them
//! is copied small: a database, a feed, a process that polls, loads, reads and takes values from
//! elsewhere. `README.md` explains the whole to someone who never used a model checker.
//!
//! Reading order: [`database`] and [`process`] (what there is), [`world`] (what can happen), `happen.rs`,
//! `apply.rs` and `read.rs` (what then is), [`check`] (what must be true), [`mutant`] (each rule, removed), [`scenario`] (the
//! bounds), [`explore`] (looking at it all).
//!
//! It touches no network, no clock and no thread; the same run finds the same.

mod apply;
pub mod check;
pub mod database;
pub mod explore;
mod happen;
pub mod mutant;
pub mod play;
pub mod process;
mod read;
pub mod scenario;
pub mod story;
pub mod world;
