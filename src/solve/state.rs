//! States of the file system while solving: stacks of layers that may still be elsewhere.

use std::sync::Arc;

use crate::oci::{BaseImage, Descriptor, Digest, Hasher, LayerSource};

/// A stack of layers. States share what is below, so that a thousand steps, each on top of the one before, do not take
/// the room and time of half a million layers.
#[derive(Clone, Debug)]
pub struct State {
    top: Option<Arc<Link>>,
    /// Names the content of the stack: the chain of its layers' identities.
    pub identity: Digest,
}

/// A layer on top of others.
#[derive(Debug)]
struct Link {
    layer: Arc<LayerHandle>,
    below: Option<Arc<Link>>,
}

impl Drop for Link {
    /// One link after the other: each from within the one above it would take the stack of the thread.
    fn drop(&mut self) {
        let mut next = self.below.take();
        while let Some(mut link) = next.and_then(Arc::into_inner) {
            next = link.below.take();
        }
    }
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
            top: None,
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
        Self {
            top: Some(Arc::new(Link {
                layer,
                below: self.top.clone(),
            })),
            identity: hasher.finish(),
        }
    }

    /// The layers, bottom first.
    #[must_use]
    pub fn layers(&self) -> Vec<Arc<LayerHandle>> {
        let links = std::iter::successors(self.top.as_ref(), |link| link.below.as_ref());
        let mut layers: Vec<_> = links.map(|link| Arc::clone(&link.layer)).collect();
        layers.reverse();
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u32) -> Arc<LayerHandle> {
        let digest = Digest::of(number.to_string());
        Arc::new(LayerHandle {
            diff_id: digest,
            identity: digest,
            bytes: 0,
            remote: None,
        })
    }

    #[test]
    fn layers_are_told_from_the_bottom_and_states_share_them() {
        let one = State::scratch().with(layer(1));
        let two = one.with(layer(2));
        let other = one.with(layer(3));
        let numbers = |state: &State| {
            let digests = state.layers().into_iter().map(|layer| layer.diff_id);
            digests.collect::<Vec<_>>()
        };
        let of = |numbers: &[u32]| {
            numbers
                .iter()
                .map(|n| layer(*n).diff_id)
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&two), of(&[1, 2]));
        drop(two);
        assert_eq!(numbers(&other), of(&[1, 3]));
        assert_eq!(numbers(&State::scratch()), of(&[]));
    }

    #[test]
    fn a_tall_stack_is_dropped_without_a_tall_stack_of_calls() {
        let mut state = State::scratch();
        for number in 0..300_000 {
            state = state.with(layer(number % 10));
        }
        assert_eq!(state.layers().len(), 300_000);
        drop(state);
    }
}
