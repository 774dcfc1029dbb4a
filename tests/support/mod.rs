//! What the tests of both binaries share: a hermetic place to run `builder`, base images, other people's tools, and
//! readers of what was built. No assertions about `builder`'s own behaviour are made here.
//!
//! The readers ([`layout`], [`rootfs`], [`progress`]) use nothing of the crate under test, so that a mistake there cannot
//! hide itself.
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    reason = "each of the two test binaries uses its own part of what is offered here"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

pub mod bases;
pub mod capability;
pub mod container;
pub mod docker;
pub mod docker_registry;
pub mod env;
pub mod expected;
pub(crate) mod file_server;
pub mod http;
pub mod layout;
pub mod lodger;
pub mod podman;
pub mod process;
pub mod progress;
pub(crate) mod registry;
pub mod repeated;
pub mod rootfs;
pub mod rung_cases;
pub mod s3;

pub(crate) use capability::require_capability;
pub use env::TestEnv;
pub use process::Outcome;
