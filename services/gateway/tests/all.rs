//! All tests of this crate that see it from outside, in one binary: to link it takes longer than to
//! compile what is in it.

mod console;
mod guarded;
mod hooks;
mod html;
mod http;
mod json;
mod limits;
mod openapi;
mod pages;
mod shop;
mod support;
