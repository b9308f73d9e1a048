//! All end-to-end tests, in one binary: to link it takes longer than to compile what is in it.

mod bad_starts;
mod bench;
mod cache;
mod deployed;
mod embedded;
mod faults;
mod fuzzed;
mod gateway;
mod limits;
mod outage;
mod real;
mod replay;
mod reports;
mod rolling;
mod serve;
mod traces;
mod watched;
