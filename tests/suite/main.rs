//! Tests that need no privileges and no network but loopback.

mod registry;
#[path = "../support/mod.rs"]
mod support;
mod tidy;
