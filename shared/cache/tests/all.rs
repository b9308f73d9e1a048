//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod acl;
mod eviction;
mod failover;
mod flights;
mod fresh;
mod full;
mod last_value;
mod measure;
mod operate;
mod pinned;
mod races;
mod reads;
mod redis_tls;
mod remote;
mod sealed;
mod support;
mod tiers;
mod walk;
