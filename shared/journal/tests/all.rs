//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod folding;
mod follow;
mod installing;
mod pruning;
mod reads;
mod rounds;
mod server;
mod support;
