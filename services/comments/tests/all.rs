//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod coherence;
mod crowd;
mod history;
mod names;
mod rpc;
mod sample;
mod start;
mod support;
