//! Processes around a database in memory, with loaders that can be held. Time stands still unless a
//! test moves it.
#![allow(
    dead_code,
    missing_docs,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses its own part of it, and a test may panic"
)]

mod database;
mod loader;
mod world;

pub use database::{Database, line};
pub use loader::{Loader, Tells, Through, Wanted, members, row};
pub use world::{Node, World, text, token_of, until};
