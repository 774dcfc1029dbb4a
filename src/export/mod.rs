//! Writes a built image somewhere: OCI layout, tarballs, registry.
//!
//! Everything here works on an [`ImageSet`]: finished configs and layers that the store has or can fetch. Compression
//! happens here and is remembered in the store, so that no layer is compressed twice. A file or folder is complete when
//! it gets its name; on a failure nothing of it is left.

mod archive;
mod blobs;
mod document;
mod layout;
mod push;
mod spec;

use std::io;
use std::path::PathBuf;

pub use archive::write_archive;
pub use blobs::{ExportLayer, Image, PreparedImage, blob_of as layer_blob};
pub use document::{ImageSet, PreparedSet, prepare};
pub use layout::write_layout;
pub use push::push;
pub use spec::{Compression, Destination, OutputKind, OutputSpec, OutputSpecError, csv_fields};

use crate::fsio;
use crate::layer;
use crate::oci::{BlobError, Digest};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// An output that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A layer is damaged or gone.
    #[error("cannot read layer {diff_id}: {source}")]
    Layer {
        /// Which layer.
        diff_id: Digest,
        /// Why.
        source: layer::Error,
    },
    /// The store has nothing of a layer.
    #[error("layer {diff_id} is no longer in the store; build again")]
    Gone {
        /// Which layer.
        diff_id: Digest,
    },
    /// A blob of the store is not what its name says; it has been forgotten.
    #[error("a blob in the store is damaged")]
    DamagedBlob,
    /// The user wants to stop.
    #[error("interrupted")]
    Stopped,
    /// A blob cannot be fetched.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// Standard output was closed or is full.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// A tar output would replace a folder.
    #[error("destination `{}` is a folder, expected a file (or add `tar=false` for an OCI layout folder)", .0.display())]
    IsFolder(PathBuf),
    /// The folder is there and is no OCI layout.
    #[error("destination `{}` is neither empty nor an OCI layout", .0.display())]
    NotALayout(PathBuf),
    /// `docker load` takes single images.
    #[error("docker exporter does not currently support exporting manifest lists")]
    DockerIndex,
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What of the store was in the way of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// A layer.
    Layer(Digest),
    /// A blob, which has been forgotten.
    Blob,
}

impl ExportError {
    /// What of the store is damaged or gone, if that is why. Whoever makes it again can go on.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        match self {
            Self::Gone { diff_id } => Some(Damage::Layer(*diff_id)),
            Self::Layer { diff_id, source } if source.is_damage() => Some(Damage::Layer(*diff_id)),
            Self::DamagedBlob => Some(Damage::Blob),
            Self::Disk(error) if error.source.kind() == io::ErrorKind::InvalidData => {
                Some(Damage::Blob)
            }
            _ => None,
        }
    }
}
