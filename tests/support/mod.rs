//! What tests of both binaries share.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of what is here"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

pub(crate) mod registry;
