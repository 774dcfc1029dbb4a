//! `builder` compiles a Dockerfile into an OCI image.

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests make and spoil files in ways that fsio does not offer"
    )
)]

pub mod build;
pub mod cli;
pub mod context;
pub mod dockerfile;
pub mod export;
pub mod fsio;
pub mod image;
pub mod layer;
pub mod oci;
pub mod plan;
pub mod registry;
pub mod sandbox;
pub mod snapshot;
pub mod solve;
pub mod source;
pub mod store;
pub mod sys;
pub mod ui;
