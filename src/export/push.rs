//! To a registry: blobs that it does not have yet, then manifests, then the index where there is one, then the names.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ExportError;
use super::blobs::PreparedImage;
use super::document::PreparedSet;
use crate::oci::{Digest, Reference, media_type};
use crate::registry::{Client, Progress, PushBlob, PushManifest, PushRequest};
use crate::store::{Store, VerifyingReader};

/// Pushes images under each of their names. Blobs that only exist elsewhere are fetched when the registry turns out not to
/// have them.
///
/// # Errors
/// The registry; a blob that cannot be had.
pub fn push(
    client: &Client,
    store: &Arc<Store>,
    set: &PreparedSet,
    names: &[Reference],
    progress: Progress,
) -> Result<Digest, ExportError> {
    let damaged = Arc::new(AtomicBool::new(false));
    let layers = set.layers().map(|(descriptor, layer)| {
        let (damaged, stop) = (Arc::clone(&damaged), set.stop.clone());
        let (store, digest, remote) = (Arc::clone(store), descriptor.digest, layer.remote.clone());
        let mount_from = remote.as_ref().and_then(|remote| {
            let (registry, repository) = remote.source.repository()?;
            Some((registry.to_owned(), repository.to_owned()))
        });
        let open = move || -> io::Result<Box<dyn io::Read + Send>> {
            if let Some(remote) = remote
                .as_ref()
                .filter(|remote| remote.blob.digest == digest)
            {
                store
                    .fetch(remote, || stop.is_requested())
                    .map_err(io::Error::other)?;
            }
            Ok(Box::new(Watched {
                inner: store.open_blob_file(digest).map_err(io::Error::other)?,
                digest,
                store: Arc::clone(&store),
                damaged: Arc::clone(&damaged),
            }))
        };
        PushBlob {
            descriptor: descriptor.clone(),
            open: Arc::new(open),
            mount_from,
        }
    });
    let config = |image: &PreparedImage| {
        PushBlob::from_bytes(media_type::OCI_CONFIG, image.config_bytes.as_slice())
    };
    let manifest = |image: &PreparedImage| PushManifest {
        media_type: media_type::OCI_MANIFEST.to_owned(),
        bytes: image.manifest_bytes.clone(),
    };
    let mut children: Vec<PushManifest> = set.images.iter().map(manifest).collect();
    let root = match &set.index {
        Some(index) => PushManifest {
            media_type: media_type::OCI_INDEX.to_owned(),
            bytes: index.clone(),
        },
        None => children.remove(0),
    };
    let request = PushRequest {
        references: names.to_vec(),
        manifest: root,
        children,
        configs: set.images.iter().map(config).collect(),
        layers: layers.collect(),
        progress,
    };
    client
        .push(&request)
        .map_err(|error| match damaged.load(Ordering::Relaxed) {
            true => ExportError::DamagedBlob,
            false => error.into(),
        })
}

/// Forgets a blob that turns out not to be what its name says.
struct Watched {
    inner: VerifyingReader<File>,
    digest: Digest,
    store: Arc<Store>,
    damaged: Arc<AtomicBool>,
}

impl io::Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                self.store.forget_blob(self.digest);
                self.damaged.store(true, Ordering::Relaxed);
            }
        })
    }
}
