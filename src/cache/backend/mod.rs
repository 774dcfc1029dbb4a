//! How places are read and written: an OCI manifest under a name, and blobs by digest.

mod folder;
mod registry;
mod s3;

use std::io::Read as _;
use std::sync::Arc;

use super::{CacheError, Means, Place};
use crate::oci::{BlobSource, Descriptor, Digest, Document, Manifest};
use crate::registry::PushBlob;
use folder::FolderPlace;
use registry::RegistryPlace;
use s3::S3Place;

/// The largest config of a manifest that is read: some twenty thousand records.
const LARGEST_CONFIG: u64 = 32 << 20;
/// The largest manifest that is read. Registries refuse those of more than 4 MiB.
const LARGEST_MANIFEST: u64 = 16 << 20;
/// Images of an index that are looked at.
const MOST_IMAGES: usize = 32;

/// A place, open.
#[derive(Debug)]
pub(super) enum Backend {
    Folder(FolderPlace),
    Registry(RegistryPlace),
    S3(S3Place),
}

/// A manifest that is there, with its config.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) manifest: Manifest,
    pub(super) config: Vec<u8>,
}

/// What is to be there.
#[derive(Debug)]
pub(super) struct Upload {
    /// The layers, each once.
    pub(super) blobs: Vec<PushBlob>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl Upload {
    /// The config as the manifest names it.
    fn config_blob(&self) -> Result<PushBlob, CacheError> {
        let manifest = Manifest::parse(&self.manifest)?;
        Ok(PushBlob::from_bytes(
            &manifest.config.media_type,
            self.config.as_slice(),
        ))
    }
}

/// What an upload came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Blobs that were sent.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were there.
    pub there: usize,
}

impl Sent {
    fn count(&mut self, blob: &Descriptor, sent: bool) {
        if sent {
            self.blobs += 1;
            self.bytes = self.bytes.saturating_add(blob.size);
        } else {
            self.there += 1;
        }
    }
}

/// Opens a place. Nothing is asked of it yet.
///
/// # Errors
/// It cannot be asked at all.
pub(super) fn open(place: &Place, means: &Means) -> Result<Backend, CacheError> {
    Ok(match place {
        Place::Folder(folder) => Backend::Folder(FolderPlace::new(folder)),
        Place::Registry { reference, .. } => {
            Backend::Registry(RegistryPlace::new(reference, &means.client))
        }
        Place::S3(s3) => Backend::S3(S3Place::open(s3, means)?),
    })
}

impl Backend {
    /// What its name leads to: one manifest, or those of an index.
    pub(super) fn read(&self, means: &Means) -> Result<Vec<Stored>, CacheError> {
        let bytes = match self {
            Self::Folder(folder) => folder.named()?,
            Self::Registry(registry) => registry.named()?,
            Self::S3(s3) => s3.named()?,
        };
        let manifests = match Document::parse(&bytes)? {
            Document::Manifest(manifest) => vec![*manifest],
            Document::Index(index) => {
                let entries = index.manifests.iter().take(MOST_IMAGES);
                entries
                    .map(|entry| self.manifest(entry))
                    .collect::<Result<_, _>>()?
            }
        };
        manifests
            .into_iter()
            .map(|manifest| {
                let config = self.config(&manifest.config, means)?;
                Ok(Stored { manifest, config })
            })
            .collect()
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Manifest, CacheError> {
        let bytes = match self {
            Self::Registry(registry) => registry.by_digest(entry.digest)?,
            Self::Folder(_) | Self::S3(_) => {
                whole(&*self.source(), entry, "manifest", LARGEST_MANIFEST)?
            }
        };
        Ok(Manifest::parse(&bytes)?)
    }

    /// A config; kept in the store, so that an unchanged cache is not read twice.
    fn config(&self, blob: &Descriptor, means: &Means) -> Result<Vec<u8>, CacheError> {
        let is_small = blob.size <= LARGEST_CONFIG;
        if is_small && let Some(bytes) = means.store.read_blob(blob.digest) {
            return Ok(bytes);
        }
        let bytes = whole(
            &*self.source(),
            blob,
            "document of the cache",
            LARGEST_CONFIG,
        )?;
        // It only saves time.
        let _kept = means.store.put_blob(&blob.media_type, &bytes);
        Ok(bytes)
    }

    /// Who has its blobs.
    pub(super) fn source(&self) -> Arc<dyn BlobSource> {
        match self {
            Self::Folder(folder) => Arc::new(folder.clone()),
            Self::Registry(registry) => registry.source(),
            Self::S3(s3) => Arc::new(s3.clone()),
        }
    }

    /// Whether its name leads to this manifest already and nothing has to be done.
    pub(super) fn is_current(&self, manifest: Digest, means: &Means) -> bool {
        match self {
            Self::Folder(folder) => folder.is_current(manifest),
            Self::Registry(registry) => registry.is_current(manifest, &means.client),
            Self::S3(s3) => s3.is_current(manifest),
        }
    }

    /// Sends what is not there yet, and the manifest last.
    pub(super) fn write(&self, means: &Means, upload: &Upload) -> Result<Sent, CacheError> {
        match self {
            Self::Folder(folder) => folder.write(upload, means.client.stop()),
            Self::Registry(registry) => registry.write(upload, &means.client),
            Self::S3(s3) => s3.write(upload),
        }
    }
}

/// A whole blob that is a document, verified.
pub(super) fn whole(
    source: &dyn BlobSource,
    blob: &Descriptor,
    what: &'static str,
    limit: u64,
) -> Result<Vec<u8>, CacheError> {
    if blob.size > limit {
        let size = blob.size;
        return Err(CacheError::TooLarge { what, size, limit });
    }
    let mut bytes = Vec::new();
    let reader = source.open_blob(blob)?;
    let read = reader.take(blob.size + 1).read_to_end(&mut bytes);
    read.map_err(|source| CacheError::Read { what, source })?;
    match Digest::of(&bytes) == blob.digest {
        true => Ok(bytes),
        false => Err(CacheError::Digest(blob.digest)),
    }
}
