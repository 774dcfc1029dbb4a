//! Pushes an image: blobs first, the manifest last, so that a name never leads to something incomplete.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use futures_util::stream::{self, TryStreamExt as _};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::transport::{
    self, ContentError, DIGEST_HEADER, Endpoint, Failure, Outgoing, Request, Scopes, Transport,
    retry,
};
use super::{RegistryError, upload};
use crate::oci::{Descriptor, Digest, Reference};

/// How many blobs are sent at a time.
const PARALLEL_UPLOADS: usize = 4;

/// Is told what happens.
pub type Progress = Arc<dyn Fn(PushEvent) + Send + Sync>;

/// Opens some content from its first byte; called again when an upload has to start over.
pub type OpenBlob = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// A layer or config to be pushed.
#[derive(Clone)]
pub struct PushBlob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Opens it. Not called if the registry has the blob already.
    pub open: OpenBlob,
    /// Registry and repository that hold the blob already, so that it can be mounted from there
    /// (see [`crate::oci::BlobSource::repository`]). Of no consequence if it is another registry.
    pub mount_from: Option<(String, String)>,
}

impl PushBlob {
    /// A small blob that is in memory: a config.
    #[must_use]
    pub fn from_bytes(media_type: &str, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into();
        Self {
            descriptor: Descriptor::of(media_type, &bytes),
            open: Arc::new(move || Ok(Box::new(io::Cursor::new(Arc::clone(&bytes))))),
            mount_from: None,
        }
    }
}

impl fmt::Debug for PushBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushBlob")
            .field("descriptor", &self.descriptor)
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

/// A manifest or index to be pushed, exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushManifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An image, or an index of images, and the names it is to get.
pub struct PushRequest {
    /// The names: tags, or references without a tag to push by digest only. May be in several repositories and registries.
    pub references: Vec<Reference>,
    /// What the names will lead to.
    pub manifest: PushManifest,
    /// If that is an index: the manifests it lists.
    pub children: Vec<PushManifest>,
    /// The image configs.
    pub configs: Vec<PushBlob>,
    /// The layers. The same one may be listed more than once.
    pub layers: Vec<PushBlob>,
    /// Is told what happens; called from several threads, must not block.
    pub progress: Progress,
}

impl fmt::Debug for PushRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushRequest")
            .field("references", &self.references)
            .field("manifest", &self.manifest.media_type)
            .field("configs", &self.configs)
            .field("layers", &self.layers)
            .finish_non_exhaustive()
    }
}

/// Something that happened to a blob or a name during a push. Numbers go down when an upload starts over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// The repository has the blob already.
    Exists(Digest),
    /// The registry took the blob over from another of its repositories.
    Mounted {
        /// Which blob.
        digest: Digest,
        /// The other repository.
        from: String,
    },
    /// Part of a blob was handed to the network.
    Sending {
        /// Which blob.
        digest: Digest,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has the whole blob.
    Sent(Digest),
    /// The name leads to the manifest now.
    Named(Reference),
}

/// Pushes to every repository that `request` names, one after the other; `endpoint` gives a registry's endpoint.
pub(super) async fn push(
    transport: &Transport,
    endpoint: &(dyn Fn(&str) -> Arc<Endpoint> + Sync),
    request: &PushRequest,
) -> Result<Digest, RegistryError> {
    if request.references.is_empty() {
        return Err(RegistryError::NoReference);
    }
    let mut repositories: Vec<(&str, &str)> = Vec::new();
    for reference in &request.references {
        let repository = (reference.registry(), reference.repository());
        if !repositories.contains(&repository) {
            repositories.push(repository);
        }
    }
    for (position, &(registry, name)) in repositories.iter().enumerate() {
        let endpoint = endpoint(registry);
        let target = Target {
            transport,
            endpoint: &endpoint,
            registry,
            name,
            // What was pushed a moment ago can be mounted from there.
            sibling: repositories[..position]
                .iter()
                .find(|(other, _)| *other == registry)
                .map(|(_, name)| *name),
        };
        push_to(&target, request).await?;
    }
    Ok(Digest::of(&request.manifest.bytes))
}

/// One repository that is pushed to.
pub(super) struct Target<'a> {
    pub(super) transport: &'a Transport,
    pub(super) endpoint: &'a Endpoint,
    pub(super) registry: &'a str,
    pub(super) name: &'a str,
    /// Another repository of the registry that has all the blobs.
    sibling: Option<&'a str>,
}

impl Target<'_> {
    /// The repository of this registry from which a blob can be mounted.
    pub(super) fn mount_source<'b>(&'b self, blob: &'b PushBlob) -> Option<&'b str> {
        let own = blob
            .mount_from
            .as_ref()
            .filter(|(registry, _)| registry == self.registry)
            .map(|(_, repository)| repository.as_str());
        own.or(self.sibling)
            .filter(|repository| *repository != self.name)
    }
}

/// Blobs, then the manifests an index lists, then the manifest under each of its names.
async fn push_to(target: &Target<'_>, request: &PushRequest) -> Result<(), RegistryError> {
    let mut seen = BTreeSet::new();
    let blobs = request.layers.iter().chain(&request.configs);
    let blobs: Vec<&PushBlob> = blobs
        .filter(|blob| seen.insert(blob.descriptor.digest))
        .collect();
    stream::iter(blobs.into_iter().map(Ok))
        .try_for_each_concurrent(PARALLEL_UPLOADS, |blob| async move {
            upload::upload(target, blob, &request.progress)
                .await
                .map_err(|failure| RegistryError::PushBlob {
                    digest: blob.descriptor.digest,
                    repository: format!("{}/{}", target.registry, target.name),
                    failure: Box::new(failure),
                })
        })
        .await?;
    let failed = |reference: String| {
        move |failure| RegistryError::PushManifest {
            reference,
            failure: Box::new(failure),
        }
    };
    for child in &request.children {
        let digest = Digest::of(&child.bytes);
        put_manifest(target, child, &digest.to_string())
            .await
            .map_err(failed(format!(
                "{}/{}@{digest}",
                target.registry, target.name
            )))?;
    }
    let here = |reference: &&Reference| {
        reference.registry() == target.registry && reference.repository() == target.name
    };
    for reference in request.references.iter().filter(here) {
        let digest = Digest::of(&request.manifest.bytes).to_string();
        let name = reference.tag().unwrap_or(&digest);
        put_manifest(target, &request.manifest, name)
            .await
            .map_err(failed(reference.familiar()))?;
        (request.progress)(PushEvent::Named(reference.clone()));
    }
    Ok(())
}

async fn put_manifest(
    target: &Target<'_>,
    manifest: &PushManifest,
    name: &str,
) -> Result<(), Failure> {
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_str(&manifest.media_type)
        .map_err(|_| Failure::Setup(format!("`{}` is not a media type", manifest.media_type)))?;
    headers.insert(CONTENT_TYPE, content_type);
    let request = Request {
        method: Method::PUT,
        target: transport::Target::Path(format!("{}/manifests/{name}", target.name)),
        headers,
        body: &|| Outgoing::bytes(&manifest.bytes),
        scopes: &Scopes::push(target.name),
    };
    let patience = &target.transport.settings.patience;
    let answer = retry(patience, async || {
        target.transport.send(target.endpoint, &request).await
    })
    .await?;
    // A registry that stores something else than it was sent would give the name to another image.
    let stored = answer.header(DIGEST_HEADER);
    let expected = Digest::of(&manifest.bytes);
    match stored.and_then(|text| text.parse().ok()) {
        Some(found) if found != expected => Err(ContentError::Digest { expected, found }.into()),
        _ => Ok(()),
    }
}
