//! Client of the distribution protocol (OCI distribution-spec, Docker registry HTTP API v2): resolve, pull, push.
//!
//! [`Client`] is a blocking façade over asynchronous requests: call it from threads that may block, never from inside a
//! task of the runtime. What comes from a registry is hostile until its digest is checked, and is checked while it
//! streams; no blob is ever held in memory. Nothing here knows the store, a build or the environment, except that the
//! HTTP client honours the proxy variables that every HTTP client honours.
//!
//! | file | what |
//! |---|---|
//! | `client`, `network` | the façade; waiting, and an end to waiting |
//! | `endpoint`, `transport/` | hosts, schemes, authentication, retries, redirects, errors of requests |
//! | `credentials` | who we are: Docker's `config.json`, credential helpers |
//! | `repository`, `resolve`, `blob` | reading: manifests, images, blobs |
//! | `download` | files at any URL |
//! | `push`, `upload`, `content` | writing: images, blobs, the bytes of blobs |

mod blob;
mod client;
mod content;
mod credentials;
mod download;
mod error;
mod network;
mod push;
mod repository;
mod resolve;
mod settings;
mod transport;
mod upload;

pub use client::Client;
pub use credentials::{Credentials, CredentialsError};
pub use download::{Body, Download, Downloaded};
pub use error::RegistryError;
pub use network::Stop;
pub use push::{OpenBlob, Progress, PushBlob, PushEvent, PushManifest, PushRequest};
pub use repository::Repository;
pub use resolve::{Fetched, Resolved};
pub use settings::{Patience, Settings};
pub use transport::{ContentError, Failure, SafeUrl, Secret, Unreachable};
