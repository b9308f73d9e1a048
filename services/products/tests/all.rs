//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod catalogue;
mod coherence;
mod history;
mod launch;
mod launch_ahead;
mod limits;
mod operator;
mod rpc;
mod sample;
mod support;
mod tiers;
mod warm_start;
