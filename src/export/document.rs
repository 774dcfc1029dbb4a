//! The document that a name leads to: the manifest of the one image, or an index over those of several platforms.

use super::blobs::{self, Image, PreparedImage};
use super::{ExportError, OutputKind, OutputSpec};
use crate::oci::{Descriptor, Index, Reference, media_type};
use crate::registry::Stop;
use crate::store::Store;

/// What is exported together under the same names: one image a platform.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// The images, in the order in which their platforms were asked for.
    pub images: Vec<Image>,
    /// Whether one image alone gets an index too.
    pub index: bool,
    /// Names.
    pub names: Vec<Reference>,
    /// The user's wish to stop.
    pub stop: Stop,
}

/// Images with all their blobs known, and the document over them.
#[derive(Clone, Debug)]
pub struct PreparedSet {
    /// The images.
    pub images: Vec<PreparedImage>,
    /// The bytes of the index, where there is one.
    pub index: Option<Vec<u8>>,
    /// The user's wish to stop.
    pub stop: Stop,
}

impl ImageSet {
    /// Whether an index is written over the images.
    #[must_use]
    pub fn wants_index(&self) -> bool {
        self.index || self.images.len() != 1
    }

    /// Refuses an output that has no place for an index.
    ///
    /// # Errors
    /// It is for `docker load`, which takes single images.
    pub fn check(index: bool, spec: &OutputSpec) -> Result<(), ExportError> {
        match spec.kind {
            OutputKind::Docker if index => Err(ExportError::DockerIndex),
            _ => Ok(()),
        }
    }
}

/// Makes sure that every layer of every image has a blob in the compression asked for, and writes the manifests, and
/// the index where one is wanted, over them. Layers that exist elsewhere are not fetched yet.
///
/// # Errors
/// A layer that is damaged or gone; the disk; an index for an output that cannot hold one.
pub fn prepare(
    store: &Store,
    set: &ImageSet,
    spec: &OutputSpec,
) -> Result<PreparedSet, ExportError> {
    ImageSet::check(set.wants_index(), spec)?;
    let mut images = Vec::with_capacity(set.images.len());
    for image in &set.images {
        images.push(blobs::prepare(store, image, spec, &set.stop)?);
    }
    let index = set.wants_index().then(|| {
        let manifests = images.iter().map(|image| Descriptor {
            platform: Some(image.platform.clone()),
            ..image.manifest_descriptor()
        });
        Index {
            manifests: manifests.collect(),
        }
        .to_bytes()
    });
    Ok(PreparedSet {
        images,
        index,
        stop: set.stop.clone(),
    })
}

impl PreparedSet {
    /// What a name leads to.
    #[must_use]
    pub fn root(&self) -> Descriptor {
        match (&self.index, self.images.as_slice()) {
            (Some(index), _) => Descriptor::of(media_type::OCI_INDEX, index),
            (None, [image, ..]) => image.manifest_descriptor(),
            // There is an index unless there is exactly one image.
            (None, []) => Descriptor::of(media_type::OCI_INDEX, b""),
        }
    }

    /// When the images were made, RFC 3339: what the first one says.
    #[must_use]
    pub fn created(&self) -> Option<&str> {
        self.images.first()?.created.as_deref()
    }

    /// Every layer of every image beside its descriptor. Images may share some.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&Descriptor, &super::ExportLayer)> {
        self.images
            .iter()
            .flat_map(|image| image.manifest.layers.iter().zip(&image.layers))
    }

    /// The small blobs, by descriptor: configs, then manifests, then the index, so that nothing comes before what it names.
    pub(super) fn documents(&self) -> Vec<(Descriptor, &[u8])> {
        let configs = self
            .images
            .iter()
            .map(|image| (image.manifest.config.clone(), image.config_bytes.as_slice()));
        let manifests = self
            .images
            .iter()
            .map(|image| (image.manifest_descriptor(), image.manifest_bytes.as_slice()));
        let index = self
            .index
            .iter()
            .map(|index| (self.root(), index.as_slice()));
        configs.chain(manifests).chain(index).collect()
    }
}
