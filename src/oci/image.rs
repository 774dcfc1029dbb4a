//! An image as a base: pinned manifest, config, and where its layers can be read.

use std::sync::Arc;

use super::{BlobSource, Config, Descriptor, Digest};

/// One layer of an image that exists somewhere.
#[derive(Clone, Debug)]
pub struct BaseLayer {
    /// Digest of the uncompressed tar, as the config says.
    pub diff_id: Digest,
    /// Its blob; none for a layer that was made here and only exists in the store.
    pub remote: Option<LayerSource>,
}

/// A blob of a layer and who has it.
#[derive(Clone, Debug)]
pub struct LayerSource {
    /// The blob as the manifest names it.
    pub blob: Descriptor,
    /// Who can read the blob.
    pub source: Arc<dyn BlobSource>,
}

/// An image that a stage starts from or copies from, for one platform.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// How it was found, for people: `python:3.8-slim`, `oci-layout:///x`.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its config, raw.
    pub config: Config,
    /// Its layers, bottom first.
    pub layers: Vec<BaseLayer>,
    /// Of a file tree: when what is in it was made, seconds since 1970, where known.
    pub time: Option<i64>,
}
