//! Requests to registries, from a path to an answer that means something.
//!
//! One call of [`Transport::send`] is one attempt: it finds the scheme, shows who is asking, follows redirects without
//! telling other hosts who that is, renews a refused token once, and turns answers that are no success into a
//! [`Failure`]. Whether to try again is for [`retry`], around a whole operation.

mod answer;
mod authorize;
mod bearer;
mod challenge;
mod endpoint;
mod envelope;
mod error;
mod http;
mod mirror;
mod redact;
mod redirect;
mod retry;
mod scope;
mod send;

pub(super) use answer::{Answer, DIGEST_HEADER};
pub(super) use endpoint::Endpoint;
pub use error::{ContentError, Failure, Unreachable};
pub(super) use mirror::Place;
pub use redact::{SafeUrl, Secret};
pub(super) use retry::{pause, retry};
pub(super) use scope::Scopes;
pub(super) use send::{Introduction, Outgoing, Request, Target, Transport};
