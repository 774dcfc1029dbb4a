//! A repository at a registry and at its mirrors: fetches manifests, opens blobs.

use std::io::Read;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::blob::{BlobReader, Pull};
use super::network::Network;
use super::resolve::Fetched;
use super::settings::Patience;
use super::transport::{
    Answer, ContentError, DIGEST_HEADER, Endpoint, Failure, Outgoing, Place, Request, Scopes,
    Target, Transport, retry,
};
use crate::oci::{BlobError, BlobSource, Descriptor, Digest, media_type};

/// The largest manifest or index that is read; registries refuse larger ones.
pub(super) const LARGEST_MANIFEST: u64 = 4 << 20;

/// The kinds of manifests that we can read.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How often a mirror is tried before the next one, or the registry itself.
const MIRROR_ATTEMPTS: u32 = 2;

/// A repository at a registry, as a source of blobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    registry: String,
    name: String,
    /// The mirrors in order, then the registry itself.
    endpoints: Vec<Arc<Endpoint>>,
    transport: Arc<Transport>,
    network: Network,
}

impl Repository {
    pub(super) fn new(
        registry: &str,
        name: &str,
        endpoints: Vec<Arc<Endpoint>>,
        transport: Arc<Transport>,
        network: Network,
    ) -> Self {
        Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            endpoints,
            transport,
            network,
        }
    }

    /// `registry/repository`, for messages.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.registry, self.name)
    }

    /// Where to look, in order: the mirrors that have not been given up, then the registry itself.
    fn places(&self) -> Vec<Place> {
        let patience = self.transport.settings.patience;
        let last = self.endpoints.len().saturating_sub(1);
        let endpoints = self.endpoints.iter().enumerate();
        endpoints
            .map(|(position, endpoint)| {
                let is_mirror = position < last;
                let attempts = if is_mirror {
                    patience.attempts.min(MIRROR_ATTEMPTS)
                } else {
                    patience.attempts
                };
                Place {
                    endpoint: Arc::clone(endpoint),
                    repository: endpoint.repository(&self.name),
                    patience: Patience {
                        attempts,
                        ..patience
                    },
                    mirror_of: is_mirror.then(|| self.registry.clone()),
                }
            })
            .filter(|place| place.mirror_of.is_none() || !place.endpoint.is_given_up())
            .collect()
    }

    /// Does something at the first place where it works; if it works nowhere, the registry's own failure counts.
    async fn at_any<T>(
        &self,
        operation: impl AsyncFn(&Endpoint, Patience) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut last = None;
        for place in self.places() {
            match operation(&place.endpoint, place.patience).await {
                Ok(value) => return Ok(value),
                Err(failure) => {
                    self.transport.failed_at(&place, &failure);
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::Setup("no registry to ask".to_owned())))
    }

    /// The digest that a tag or digest has, without its bytes if the registry says so.
    pub(super) async fn digest_of(&self, name: &ManifestName) -> Result<Digest, Failure> {
        let head = self
            .at_any(async |endpoint, patience| {
                retry(&patience, async || {
                    let answer = self.ask_manifest(endpoint, Method::HEAD, name).await?;
                    Ok(answer
                        .header(DIGEST_HEADER)
                        .and_then(|text| text.parse().ok()))
                })
                .await
            })
            .await;
        match head {
            Ok(Some(digest)) => Ok(digest),
            // A registry that does not say, or does not know HEAD.
            Ok(None) => Ok(self.manifest(name).await?.descriptor.digest),
            Err(Failure::Status { status, .. }) if status.is_client_error() => {
                Ok(self.manifest(name).await?.descriptor.digest)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Fetches a manifest or index. Its digest is checked if the name is one.
    pub(super) async fn manifest(&self, name: &ManifestName) -> Result<Fetched, Failure> {
        self.at_any(async |endpoint, patience| {
            retry(&patience, async || self.manifest_once(endpoint, name).await).await
        })
        .await
    }

    async fn manifest_once(
        &self,
        endpoint: &Endpoint,
        name: &ManifestName,
    ) -> Result<Fetched, Failure> {
        let answer = self.ask_manifest(endpoint, Method::GET, name).await?;
        let promised = answer
            .header(DIGEST_HEADER)
            .and_then(|text| text.parse().ok());
        let content_type = answer
            .header(CONTENT_TYPE.as_str())
            .and_then(|text| text.split(';').next())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let limit = usize::try_from(LARGEST_MANIFEST).unwrap_or(usize::MAX);
        let bytes = answer.bytes("manifest", limit).await?;
        let found = Digest::of(&bytes);
        let expected = match name {
            ManifestName::Digest(digest) => Some(*digest),
            ManifestName::Tag(_) => promised,
        };
        match expected {
            Some(expected) if expected != found => {
                Err(ContentError::Digest { expected, found }.into())
            }
            _ => Ok(Fetched {
                descriptor: Descriptor::new(
                    &stated_media_type(&bytes).unwrap_or(content_type),
                    found,
                    bytes.len() as u64,
                ),
                bytes,
            }),
        }
    }

    async fn ask_manifest(
        &self,
        endpoint: &Endpoint,
        method: Method,
        name: &ManifestName,
    ) -> Result<Answer, Failure> {
        let repository = endpoint.repository(&self.name);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES));
        let request = Request {
            method,
            target: Target::Path(format!("{repository}/manifests/{name}")),
            headers,
            body: &Outgoing::nothing,
            scopes: &Scopes::pull(&repository),
        };
        self.transport.send(endpoint, &request).await
    }

    /// Starts to fetch a blob.
    pub(super) async fn pull(&self, descriptor: &Descriptor) -> Result<Pull, Failure> {
        Pull::start(Arc::clone(&self.transport), self.places(), descriptor).await
    }

    /// A whole blob that is a document. A mirror that has something else under its digest is no reason to fail.
    pub(super) async fn document(
        &self,
        descriptor: &Descriptor,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        loop {
            let places = self.places().len();
            match self.document_once(descriptor, what, limit).await {
                Err(Failure::Content(_)) if self.places().len() < places => {}
                result => return result,
            }
        }
    }

    async fn document_once(
        &self,
        descriptor: &Descriptor,
        what: &'static str,
        limit: u64,
    ) -> Result<Vec<u8>, Failure> {
        if descriptor.size > limit {
            return Err(ContentError::TooLarge { what, limit }.into());
        }
        let mut pull = self.pull(descriptor).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pull.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

impl BlobSource for Repository {
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        match self
            .network
            .wait(self.pull(descriptor))
            .and_then(|pull| pull)
        {
            Ok(pull) => Ok(Box::new(BlobReader::new(
                pull,
                self.full_name(),
                self.network.clone(),
            ))),
            Err(Failure::NotFound { .. }) => Err(BlobError::NotFound(descriptor.digest)),
            Err(Failure::Offline) => Err(BlobError::Offline {
                digest: descriptor.digest,
                repository: self.full_name(),
            }),
            Err(failure) => Err(BlobError::Unreadable {
                digest: descriptor.digest,
                reason: failure.to_string(),
            }),
        }
    }

    fn places(&self) -> usize {
        Self::places(self).len()
    }

    fn repository(&self) -> Option<(&str, &str)> {
        Some((&self.registry, &self.name))
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug)]
pub(super) enum ManifestName {
    Tag(String),
    Digest(Digest),
}

impl ManifestName {
    /// The digest of a reference if it is pinned, else its tag.
    pub(super) fn of(reference: &crate::oci::Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, tag) => Self::Tag(tag.unwrap_or("latest").to_owned()),
        }
    }
}

impl std::fmt::Display for ManifestName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// The media type that a document gives itself. Whether that is true shows when it is read.
fn stated_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stated {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        config: Option<serde::de::IgnoredAny>,
    }
    let stated: Stated = serde_json::from_slice(bytes).ok()?;
    match stated {
        Stated {
            media_type: Some(media_type),
            ..
        } => Some(media_type),
        // The OCI forms may leave it out.
        Stated {
            manifests: Some(_),
            config: None,
            ..
        } => Some(media_type::OCI_INDEX.to_owned()),
        Stated {
            config: Some(_), ..
        } => Some(media_type::OCI_MANIFEST.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for (text, expected) in [
            (r#"{"mediaType":"a/b","config":{}}"#, Some("a/b")),
            (r#"{"manifests":[]}"#, Some(media_type::OCI_INDEX)),
            (r#"{"config":{}}"#, Some(media_type::OCI_MANIFEST)),
            ("{}", None),
            ("<html>", None),
        ] {
            assert_eq!(
                stated_media_type(text.as_bytes()).as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
