//! Tests that need no privileges and no network but loopback.

mod tidy;
