//! One checker of everything that has to hold of an image in a layout. Used by tests on every produced image.

use std::io;
use std::path::Path;

use super::{Layout, LayoutError};
use crate::fsio::HashingReader;
use crate::layer::Decompressor;
use crate::oci::{BlobSource as _, Config, Descriptor, Digest, Document, Manifest};

/// Something that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// The layout or a document in it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Anything else, in words.
    #[error("{0}")]
    Broken(String),
}

/// Checks every image of a layout: all blobs are there with their digests and sizes, layers have the diff IDs that the
/// config lists, history matches the layers, documents are canonical enough to be read back.
///
/// # Errors
/// The first thing that does not hold.
pub fn validate_layout(path: &Path) -> Result<usize, ValidationError> {
    let layout = Layout::open(path)?;
    let mut images = 0;
    let mut queue = layout.index()?.manifests;
    while let Some(entry) = queue.pop() {
        let bytes = layout.document(&entry)?;
        if bytes.len() as u64 != entry.size {
            return Err(broken(&entry, "has another size than its descriptor says"));
        }
        match Document::parse(&bytes).map_err(|e| broken(&entry, &e.to_string()))? {
            Document::Index(index) => queue.extend(index.manifests),
            Document::Manifest(manifest) => {
                validate_image(&layout, &manifest)?;
                images += 1;
            }
        }
    }
    Ok(images)
}

fn broken(descriptor: &Descriptor, what: &str) -> ValidationError {
    ValidationError::Broken(format!("{} {what}", descriptor.digest))
}

fn validate_image(layout: &Layout, manifest: &Manifest) -> Result<(), ValidationError> {
    let config = Config::parse(&layout.document(&manifest.config)?)
        .map_err(|e| broken(&manifest.config, &e.to_string()))?;
    let diff_ids = config.diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        return Err(broken(
            &manifest.config,
            "has another number of diff IDs than the manifest has layers",
        ));
    }
    let with_layer = config
        .history()
        .iter()
        .filter(|entry| !entry.empty_layer)
        .count();
    if !config.history().is_empty() && with_layer != diff_ids.len() {
        return Err(broken(
            &manifest.config,
            "has another number of history entries with a layer than layers",
        ));
    }
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        validate_layer(layout, layer, diff_id)?;
    }
    Ok(())
}

fn validate_layer(
    layout: &Layout,
    layer: &Descriptor,
    diff_id: Digest,
) -> Result<(), ValidationError> {
    let blob = layout
        .open_blob(layer)
        .map_err(|e| broken(layer, &e.to_string()))?;
    let compressed = HashingReader::new(blob);
    let mut plain = HashingReader::new(
        Decompressor::new(compressed).map_err(|e| broken(layer, &e.to_string()))?,
    );
    io::copy(&mut plain, &mut io::sink()).map_err(|e| broken(layer, &e.to_string()))?;
    let (found, _, _) = plain.finish();
    if Digest::from_bytes(found) != diff_id {
        return Err(broken(layer, "does not unpack to its diff ID"));
    }
    let mut blob = HashingReader::new(
        layout
            .open_blob(layer)
            .map_err(|e| broken(layer, &e.to_string()))?,
    );
    io::copy(&mut blob, &mut io::sink()).map_err(|e| broken(layer, &e.to_string()))?;
    let (found, size, _) = blob.finish();
    if Digest::from_bytes(found) != layer.digest || size != layer.size {
        return Err(broken(layer, "is not what its descriptor says"));
    }
    Ok(())
}
