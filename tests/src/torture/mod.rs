//! Real processes under faults, while everything they answer is judged.
//!
//! A [`World`] is some processes, each behind networks of its own to one Redis and one PostgreSQL;
//! or to a [`Fleet`] of Redis servers, and then without a network between.
//! Readers and writers go on without pause; a [`Fault`] happens meanwhile; the judge is
//! [`larder_testkit::history`].
//!
//! In reading order: `cast.rs` (the rows that all of it is about), `bus.rs`, `node.rs` and `world.rs` (what
//! runs), `reads.rs` and `writes.rs` (what is asked of it), `byhand.rs` (what is done in SQL behind
//! its back), `fault.rs` and the files below `faults/` (what goes wrong), `run.rs` (a fault between
//! two calm spells, and what was measured), `nemesis.rs` (all of them at random), `finale.rs`
//! (everything healed, and every copy looked at), `cuts.rs` (what a thousand broken connections
//! leave behind), `planted.rs` (promises broken on purpose), `report.rs` (the table).

mod bus;
mod byhand;
mod cast;
mod cuts;
mod fault;
mod faults;
mod finale;
mod nemesis;
mod node;
mod planted;
mod reads;
mod report;
mod run;
mod sample;
mod world;
mod writes;

pub use bus::Fleet;
pub use cuts::{Flat, link_cuts};
pub use fault::Fault;
pub use finale::finale;
pub use nemesis::nemesis;
pub use planted::{loose_bound, silent_triggers};
pub use report::{Line, header, print_violations};
pub use run::{Spell, under};
pub use world::{Load, World};
