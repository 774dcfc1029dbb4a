//! Pushes an image: blobs first, the manifest last, so that a name never leads to something incomplete.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::oci::{Descriptor, Digest, Reference};

/// Opens some content from its first byte; called again when an upload has to start over.
pub type OpenBlob = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// A layer or config to be pushed.
#[derive(Clone)]
pub struct PushBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Opens it. Not called if the registry has the blob already.
    pub open: OpenBlob,
    /// Registry and repository that hold the blob already, so that it can be mounted from there
    /// (see [`crate::oci::BlobSource::repository`]). Of no consequence if it is another registry.
    pub mount_from: Option<(String, String)>,
}

impl PushBlob {
    /// A small blob that is in memory: a config.
    #[must_use]
    pub fn from_bytes(media_type: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into();
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            open: Arc::new(move || Ok(Box::new(io::Cursor::new(Arc::clone(&bytes))))),
            mount_from: None,
        }
    }
}

impl fmt::Debug for PushBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushBlob")
            .field("descriptor", &self.descriptor)
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

/// A manifest or index to be pushed, exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushManifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An image, or an index of images, and the names it is to get.
pub struct PushRequest {
    /// The names: tags, or references without a tag to push by digest only. May be in several repositories and registries.
    pub references: Vec<Reference>,
    /// What the names will lead to.
    pub manifest: PushManifest,
    /// If that is an index: the manifests it lists.
    pub children: Vec<PushManifest>,
    /// The image configs.
    pub configs: Vec<PushBlob>,
    /// The layers. The same one may be listed more than once.
    pub layers: Vec<PushBlob>,
    /// Is told what happens; called from several threads, must not block.
    pub progress: Arc<dyn Fn(PushEvent) + Send + Sync>,
}

impl fmt::Debug for PushRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushRequest")
            .field("references", &self.references)
            .field("manifest", &self.manifest.media_type)
            .field("configs", &self.configs)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// Something that happened to a blob or a name during a push. Numbers go down when an upload starts over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// The repository has the blob already.
    Exists(Digest),
    /// The registry took the blob over from another of its repositories.
    Mounted {
        /// Which blob.
        digest: Digest,
        /// The other repository.
        from: String,
    },
    /// Part of a blob was handed to the network.
    Sending {
        /// Which blob.
        digest: Digest,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has the whole blob.
    Sent(Digest),
    /// The name leads to the manifest now.
    Named(Reference),
}
