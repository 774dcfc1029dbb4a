//! States of the file system while solving: stacks of layers that may still be elsewhere.

use std::sync::Arc;

use crate::oci::{BaseImage, Descriptor, Digest, Hasher, LayerSource};

/// A stack of layers, bottom first.
#[derive(Clone, Debug)]
pub struct State {
    /// The layers, bottom first.
    pub layers: Vec<Arc<LayerHandle>>,
    /// Names the content of the stack: the chain of its layers' identities.
    pub identity: Digest,
}

/// A layer by identity, and where to get it if the store does not have it.
#[derive(Debug)]
pub struct LayerHandle {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// What the layer is for the identity of states: for a layer made here the digest of its table of contents without
    /// times, so that the same content made at another time is the same; for a base's layer its diff ID, which
    /// is known without fetching it.
    pub identity: Digest,
    /// Bytes of file content, where known.
    pub bytes: u64,
    /// For a base's layer: its blob and who has it.
    pub remote: Option<LayerSource>,
}

impl LayerHandle {
    /// The original blob of a layer that was not made here.
    #[must_use]
    pub fn blob(&self) -> Option<&Descriptor> {
        self.remote.as_ref().map(|remote| &remote.blob)
    }
}

impl State {
    /// No layers.
    #[must_use]
    pub fn scratch() -> Self {
        Self {
            layers: Vec::new(),
            identity: Digest::of("scratch"),
        }
    }

    /// The layers of a base image.
    #[must_use]
    pub fn of_base(base: &BaseImage) -> Self {
        base.layers.iter().fold(Self::scratch(), |state, layer| {
            state.with(Arc::new(LayerHandle {
                diff_id: layer.diff_id,
                identity: layer.diff_id,
                bytes: 0,
                remote: layer.remote.clone(),
            }))
        })
    }

    /// This stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: Arc<LayerHandle>) -> Self {
        let mut hasher = Hasher::new("state");
        hasher.field(self.identity.as_bytes());
        hasher.field(layer.identity.as_bytes());
        let mut layers = self.layers.clone();
        layers.push(layer);
        Self {
            layers,
            identity: hasher.finish(),
        }
    }
}
