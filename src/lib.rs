//! `builder` compiles a Dockerfile into an OCI image.

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
