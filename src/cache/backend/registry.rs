//! A cache at a registry: a manifest under a name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Sent, Upload};
use crate::cache::CacheError;
use crate::oci::{BlobSource, Descriptor, Digest, Reference, media_type};
use crate::registry::{Client, PushEvent, PushManifest, PushRequest, Repository};

/// A name at a registry.
#[derive(Clone, Debug)]
pub(in crate::cache) struct RegistryPlace {
    reference: Reference,
    repository: Repository,
    client: Client,
}

impl RegistryPlace {
    pub(super) fn new(reference: &Reference, client: &Client) -> Self {
        Self {
            reference: reference.clone(),
            repository: client.repository(reference),
            client: client.clone(),
        }
    }

    /// The bytes of what the name leads to.
    pub(super) fn named(&self) -> Result<Vec<u8>, CacheError> {
        match self.client.manifest(&self.reference) {
            Ok(fetched) => Ok(fetched.bytes),
            Err(error) if error.is_not_found() => {
                Err(CacheError::Absent(self.reference.familiar()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of a manifest of the repository.
    pub(super) fn by_digest(&self, digest: Digest) -> Result<Vec<u8>, CacheError> {
        let reference = self.reference.with_digest(digest);
        Ok(self.client.manifest(&reference)?.bytes)
    }

    pub(super) fn source(&self) -> Arc<dyn BlobSource> {
        Arc::new(self.repository.clone())
    }

    /// A registry keeps what a manifest that it has refers to.
    pub(super) fn is_current(&self, manifest: Digest, client: &Client) -> bool {
        client
            .digest_of(&self.reference)
            .is_ok_and(|there| there == manifest)
    }

    pub(super) fn write(&self, upload: &Upload, client: &Client) -> Result<Sent, CacheError> {
        let sizes: BTreeMap<Digest, &Descriptor> = upload
            .blobs
            .iter()
            .map(|blob| (blob.descriptor.digest, &blob.descriptor))
            .collect();
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let request = PushRequest {
            references: vec![self.reference.clone()],
            manifest: PushManifest {
                media_type: media_type::OCI_MANIFEST.to_owned(),
                bytes: upload.manifest.clone(),
            },
            children: Vec::new(),
            configs: vec![upload.config_blob()?],
            layers: upload.blobs.clone(),
            progress: Arc::new(move |event| {
                let event = match event {
                    PushEvent::Sent(digest) => (digest, true),
                    PushEvent::Exists(digest) | PushEvent::Mounted { digest, .. } => {
                        (digest, false)
                    }
                    PushEvent::Sending { .. } | PushEvent::Named(_) => return,
                };
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(event);
            }),
        };
        client.push(&request)?;
        let mut sent = Sent::default();
        let events = events.lock().unwrap_or_else(PoisonError::into_inner);
        for (digest, was_sent) in events.iter() {
            if let Some(blob) = sizes.get(digest) {
                sent.count(blob, *was_sent);
            }
        }
        Ok(sent)
    }
}
