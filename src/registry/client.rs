//! The blocking façade.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::blob::Repository;
use super::{Fetched, PushRequest, RegistryError, Resolved, Settings};
use crate::oci::{Digest, Platform, Reference};

/// Talks to registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Arc<Settings>,
    runtime: Handle,
}

impl Client {
    /// A client that runs its requests on `runtime`, which must have the multi-thread flavour. Nothing is contacted or loaded before it is
    /// needed.
    #[must_use]
    pub fn new(settings: Settings, runtime: Handle) -> Self {
        Self {
            settings: Arc::new(settings),
            runtime,
        }
    }

    /// Finds the image that a reference means for a platform; its manifest and config are fetched and verified, its layers are not.
    ///
    /// # Errors
    /// No such image, no access, no answer, or an answer that cannot be used.
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let _ = (reference, platform);
        Err(RegistryError::NoReference)
    }

    /// The digest a reference leads to now, which is that of the index if there is one. A pinned reference is its own answer.
    ///
    /// # Errors
    /// No such reference, no access or no answer.
    pub fn digest_of(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        let _ = reference;
        Err(RegistryError::NoReference)
    }

    /// The manifest or index that a reference leads to, as stored.
    ///
    /// # Errors
    /// No such reference, no access, no answer, or other bytes than the digest promises.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let _ = reference;
        Err(RegistryError::NoReference)
    }

    /// The repository of a reference, as a source of blobs.
    #[must_use]
    pub fn repository(&self, reference: &Reference) -> Repository {
        let _ = (reference, &self.settings, &self.runtime);
        unreachable!("types first")
    }

    /// Pushes an image under all its names and returns its digest.
    ///
    /// # Errors
    /// No access, no answer, a refusal, or content that cannot be read.
    pub fn push(&self, request: &PushRequest) -> Result<Digest, RegistryError> {
        let _ = request;
        Err(RegistryError::NoReference)
    }
}
