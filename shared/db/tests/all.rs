//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod opening;
mod statements;
mod support;
mod tls;
