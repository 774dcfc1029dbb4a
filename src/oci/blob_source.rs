//! Where blobs come from: a registry, an OCI layout or the store.

use std::fmt::Debug;
use std::io::Read;

use super::{Descriptor, Digest};

/// A blob that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The source does not have it.
    #[error("blob {0} is not there")]
    NotFound(Digest),
    /// The source is elsewhere, and the user wants no network to be touched.
    #[error(
        "blob {digest} of `{repository}` is not on this machine, and `--offline` keeps builder from asking"
    )]
    Offline {
        /// Which blob.
        digest: Digest,
        /// Who has it.
        repository: String,
    },
    /// The source could not be asked, or broke off.
    #[error("cannot read blob {digest}: {reason}")]
    Unreadable {
        /// Which blob.
        digest: Digest,
        /// Why, in words.
        reason: String,
    },
}

/// Reads blobs by digest. Whoever reads verifies: a source may be hostile.
pub trait BlobSource: Debug + Send + Sync {
    /// Opens a blob from its first byte. The reader blocks; call it from a blocking thread.
    ///
    /// # Errors
    /// The blob is not there, or the source cannot be asked.
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError>;

    /// In how many places it would look now. Where one of them turned out to have other bytes there are fewer, and another
    /// attempt looks elsewhere.
    fn places(&self) -> usize {
        1
    }

    /// The repository that already holds the blobs, `registry` and `repository`, so that a push to the same registry can
    /// mount them instead of sending them.
    fn repository(&self) -> Option<(&str, &str)> {
        None
    }
}
