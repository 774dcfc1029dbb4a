//! To a registry: blobs that it does not have yet, then the manifest, then the names.

use std::io;
use std::sync::Arc;

use super::ExportError;
use super::blobs::PreparedImage;
use crate::oci::{Digest, Reference, media_type};
use crate::registry::{Client, Progress, PushBlob, PushManifest, PushRequest};
use crate::store::Store;

/// Pushes an image under each of its names. Blobs that only exist elsewhere are fetched when the registry turns out not to
/// have them.
///
/// # Errors
/// The registry; a blob that cannot be had.
pub fn push(
    client: &Client,
    store: &Arc<Store>,
    image: &PreparedImage,
    names: &[Reference],
    progress: Progress,
) -> Result<Digest, ExportError> {
    let layers = image
        .manifest
        .layers
        .iter()
        .zip(&image.layers)
        .map(|(descriptor, layer)| {
            let (store, digest, remote) =
                (Arc::clone(store), descriptor.digest, layer.remote.clone());
            let mount_from = remote.as_ref().and_then(|remote| {
                let (registry, repository) = remote.source.repository()?;
                Some((registry.to_owned(), repository.to_owned()))
            });
            let open = move || -> io::Result<Box<dyn io::Read + Send>> {
                if let Some(remote) = &remote {
                    store.fetch(remote).map_err(io::Error::other)?;
                }
                Ok(Box::new(
                    store.open_blob_file(digest).map_err(io::Error::other)?,
                ))
            };
            PushBlob {
                descriptor: descriptor.clone(),
                open: Arc::new(open),
                mount_from,
            }
        });
    let manifest = PushManifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        bytes: image.manifest_bytes.clone(),
    };
    let request = PushRequest {
        references: names.to_vec(),
        manifest,
        children: Vec::new(),
        configs: vec![PushBlob::from_bytes(
            media_type::OCI_CONFIG,
            image.config_bytes.as_slice(),
        )],
        layers: layers.collect(),
        progress,
    };
    Ok(client.push(&request)?)
}
