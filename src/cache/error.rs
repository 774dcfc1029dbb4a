//! Errors of this module: what was being done with a cache, and why it did not work.

use crate::export::ExportError;
use crate::fsio;
use crate::image::LayoutError;
use crate::oci::{BlobError, Digest, DocumentError};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// A cache that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Nothing has been put there yet.
    #[error("there is no cache at {0} yet")]
    Absent(String),
    /// The document is of another kind or of a newer version.
    #[error("{0}")]
    Form(&'static str),
    /// A document is larger than any of ours.
    #[error("the {what} has {size} bytes, expected at most {limit}")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// How large it says it is.
        size: u64,
        /// What is read.
        limit: u64,
    },
    /// Bytes that are no JSON of the form that is expected.
    #[error("the {what} cannot be read: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A document that is not what its name says.
    #[error("content does not match its digest: expected {0}")]
    Digest(Digest),
    /// A manifest that is none.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The source of a blob broke off.
    #[error("cannot read {what}: {source}")]
    Read {
        /// What was being read.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A folder that has something else in it.
    #[error("`{}` is neither empty nor an OCI layout", .0.display())]
    NotALayout(std::path::PathBuf),
    /// The object store.
    #[error("{bucket}: {what}: {reason}")]
    S3 {
        /// What was being done.
        what: String,
        /// The bucket, as shown to people.
        bucket: String,
        /// Why, in words.
        reason: String,
    },
    /// The network is off.
    #[error("`--offline` keeps builder from asking")]
    Offline,
    /// A layer cannot be made a blob.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The local store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// A layer's table or a directory.
    #[error(transparent)]
    Layer(#[from] crate::layer::Error),
    /// A manifest of a cache mount that says what cannot be.
    #[error("the saved folder of `{id}` cannot be used: {reason}")]
    Mount {
        /// Which cache mount.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The user wanted to stop.
    #[error("interrupted")]
    Stopped,
}
