//! The blocking façade.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::network::{Network, Stop};
use super::repository::{ManifestName, Repository};
use super::transport::{Endpoint, Failure, Transport};
use super::{Fetched, PushRequest, RegistryError, Resolved, Settings, push, resolve};
use crate::oci::{BaseImage, Digest, Platform, Reference};

/// Talks to registries. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
    endpoints: Arc<Mutex<BTreeMap<EndpointKey, Arc<Endpoint>>>>,
    network: Network,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EndpointKey {
    Registry(String),
    Mirror(String),
}

impl Client {
    /// A client that runs its requests on `runtime`, which must have the multi-thread flavour. Nothing is contacted or
    /// loaded before it is needed.
    #[must_use]
    pub fn new(settings: Settings, runtime: Handle) -> Self {
        Self {
            transport: Arc::new(Transport::new(settings)),
            endpoints: Arc::default(),
            network: Network {
                runtime,
                stop: Stop::new(),
            },
        }
    }

    /// The same client, which gives up what it waits for when `stop` is requested.
    #[must_use]
    pub fn stopped_by(mut self, stop: Stop) -> Self {
        self.network.stop = stop;
        self
    }

    /// What stops it.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.network.stop
    }

    /// Finds the image that a reference means for a platform; its manifest and config are fetched and verified, its layers
    /// are not fetched.
    ///
    /// # Errors
    /// No such image, no access, no answer, or an answer that cannot be used.
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Resolved, RegistryError> {
        let repository = self.repository(reference);
        self.network
            .wait(resolve::resolve(&repository, reference, platform))
            .map_err(|failure| not_resolved(reference, failure))?
    }

    /// The image of a reference whose manifest and config are known already. Nobody is asked; its layers are at the
    /// registry.
    ///
    /// # Errors
    /// They are no manifest and config of an image.
    pub fn image(
        &self,
        reference: &Reference,
        manifest: &Fetched,
        config: &Fetched,
    ) -> Result<BaseImage, RegistryError> {
        resolve::image(&self.repository(reference), reference, manifest, config)
    }

    /// What the user should know of mirrors that failed, each once, and not again.
    #[must_use]
    pub fn take_remarks(&self) -> Vec<String> {
        self.transport.take_remarks()
    }

    /// Whether every request fails because the user wants no network to be touched.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.transport.settings.offline
    }

    /// The digest a reference leads to now, which is that of the index if there is one. A pinned reference is its own
    /// answer, whether or not the registry has it.
    ///
    /// # Errors
    /// No such reference, no access or no answer.
    pub fn digest_of(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        if let Some(digest) = reference.digest() {
            return Ok(digest);
        }
        let (repository, name) = (self.repository(reference), ManifestName::of(reference));
        self.network
            .wait(repository.digest_of(&name))
            .and_then(|found| found)
            .map_err(|failure| not_resolved(reference, failure))
    }

    /// The manifest or index that a reference leads to, as stored.
    ///
    /// # Errors
    /// No such reference, no access, no answer, or other bytes than the digest promises.
    pub fn manifest(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        let (repository, name) = (self.repository(reference), ManifestName::of(reference));
        self.network
            .wait(repository.manifest(&name))
            .and_then(|found| found)
            .map_err(|failure| not_resolved(reference, failure))
    }

    /// The repository of a reference, as a source of blobs.
    #[must_use]
    pub fn repository(&self, reference: &Reference) -> Repository {
        let registry = reference.registry();
        let mirrors = self.transport.settings.mirrors.get(registry);
        let mut keys: Vec<EndpointKey> = mirrors
            .into_iter()
            .flatten()
            .map(|mirror| EndpointKey::Mirror(mirror.clone()))
            .collect();
        keys.push(EndpointKey::Registry(registry.to_owned()));
        Repository::new(
            registry,
            reference.repository(),
            keys.into_iter().map(|key| self.endpoint(key)).collect(),
            Arc::clone(&self.transport),
            self.network.clone(),
        )
    }

    /// Pushes an image under all its names and returns its digest.
    ///
    /// # Errors
    /// No access, no answer, a refusal, or content that cannot be read.
    pub fn push(&self, request: &PushRequest) -> Result<Digest, RegistryError> {
        let endpoint = |registry: &str| self.endpoint(EndpointKey::Registry(registry.to_owned()));
        self.network
            .wait(push::push(&self.transport, &endpoint, request))
            .map_err(|failure| RegistryError::PushManifest {
                reference: request
                    .references
                    .first()
                    .map(Reference::familiar)
                    .unwrap_or_default(),
                failure: Box::new(failure),
            })?
    }

    /// Waits for anything else that is on its way over the network. `None` if the wait is to end.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.network.wait(future).ok()
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The one endpoint of a name, so that what it told us is remembered.
    fn endpoint(&self, key: EndpointKey) -> Arc<Endpoint> {
        let endpoints = self.endpoints.lock();
        let mut endpoints = endpoints.unwrap_or_else(PoisonError::into_inner);
        let endpoint = endpoints.entry(key.clone()).or_insert_with(|| {
            Arc::new(match &key {
                EndpointKey::Registry(name) => Endpoint::registry(name),
                EndpointKey::Mirror(text) => Endpoint::mirror(text),
            })
        });
        Arc::clone(endpoint)
    }
}

fn not_resolved(reference: &Reference, failure: Failure) -> RegistryError {
    RegistryError::Resolve {
        reference: reference.familiar(),
        failure: Box::new(failure),
    }
}
