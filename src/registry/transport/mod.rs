//! Requests to registries, from the URL to an answer that means something.

mod error;
mod redact;

pub use error::{ContentError, Failure, Unreachable};
pub use redact::{SafeUrl, Secret};
