//! What tests of both binaries share.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of what is here"
)]

pub(crate) mod registry;
