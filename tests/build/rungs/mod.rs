//! The ladder: what ordinary users can build, with subordinate ids and without, and that it is what root builds.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make and look at plain files"
)]

mod layers;
mod one_id;
mod outside;
mod stores;
