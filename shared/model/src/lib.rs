//! A model of the coherence protocol.

pub mod check;
pub mod database;
pub mod explore;
pub mod mutant;
pub mod process;
mod read;
pub mod scenario;
pub mod story;
pub mod world;
