//! Tests that need no privileges and no network but loopback.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

mod buckets;
mod checks;
mod command_line;
mod context;
mod fetch;
mod fixes;
mod forecast;
mod lint;
mod parse;
mod plan;
mod preferences;
mod registry;
mod remembered;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod tidy;
mod why;
