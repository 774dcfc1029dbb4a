//! Manifests and indexes: read from bytes that may be hostile, written canonically.
//!
//! `oci-spec` does the reading, so that what is accepted is what the specification says; the result is turned into
//! our own types, whose digests are checked.

use oci_spec::image as spec;

use super::{Descriptor, Digest, DigestError, Platform, canonical_json, media_type};

/// One platform's image: its config and its layers, bottom first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image config.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Annotations of the manifest itself.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// A list of manifests, one a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries in order.
    pub manifests: Vec<Descriptor>,
}

/// What a reference or the `index.json` of a layout leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// A single image.
    Manifest(Box<Manifest>),
    /// Several.
    Index(Index),
}

/// A document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON, or not of the shape that the specification gives.
    #[error("not a valid image document: {0}")]
    Spec(#[from] oci_spec::OciSpecError),
    /// A digest that is none.
    #[error("the image document has an {0}")]
    Digest(#[from] DigestError),
    /// Docker's schema 1, which nobody writes any more.
    #[error(
        "the image has the obsolete manifest format schema 1; push it again with a current tool"
    )]
    Schema1,
    /// JSON of some other kind.
    #[error("neither an image manifest nor an image index (media type `{0}`)")]
    Unknown(String),
}

impl Document {
    /// Reads a manifest or an index, whichever it is.
    ///
    /// # Errors
    /// Bytes that are neither.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Peek {
            #[serde(default)]
            schema_version: u32,
            #[serde(default)]
            media_type: String,
            manifests: Option<serde::de::IgnoredAny>,
            config: Option<serde::de::IgnoredAny>,
        }
        let peek: Peek = serde_json::from_slice(bytes).map_err(oci_spec::OciSpecError::SerDe)?;
        if peek.schema_version == 1 {
            return Err(DocumentError::Schema1);
        }
        if media_type::is_index(&peek.media_type)
            || (peek.manifests.is_some() && peek.config.is_none())
        {
            Ok(Self::Index(Index::parse(bytes)?))
        } else if peek.config.is_some() {
            Ok(Self::Manifest(Box::new(Manifest::parse(bytes)?)))
        } else {
            Err(DocumentError::Unknown(peek.media_type))
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let manifest = spec::ImageManifest::from_reader(bytes)?;
        Ok(Self {
            config: from_spec(manifest.config())?,
            layers: manifest
                .layers()
                .iter()
                .map(from_spec)
                .collect::<Result<_, _>>()?,
            annotations: manifest
                .annotations()
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        })
    }

    /// The bytes of an OCI manifest, as hashed and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": self.config,
            "layers": self.layers,
        });
        if !self.annotations.is_empty() {
            document["annotations"] = serde_json::json!(self.annotations);
        }
        canonical_json(&document)
    }
}

impl Index {
    /// Reads an index or a manifest list.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let index = spec::ImageIndex::from_reader(bytes)?;
        Ok(Self {
            manifests: index
                .manifests()
                .iter()
                .map(from_spec)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The bytes of an OCI index, as hashed and stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical_json(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": self.manifests,
        }))
    }

    /// The entry for a platform: the exact one, or the best that runs there. Entries without a platform and
    /// attestations (`unknown/unknown`) are never chosen.
    #[must_use]
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        wanted.fallbacks().iter().find_map(|candidate| {
            self.manifests.iter().find(|entry| {
                entry
                    .platform
                    .as_ref()
                    .is_some_and(|p| p.satisfies(candidate))
            })
        })
    }

    /// The platforms there are, for an error message.
    #[must_use]
    pub fn platforms(&self) -> Vec<String> {
        let known = self
            .manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref());
        known
            .filter(|p| p.os != "unknown")
            .map(ToString::to_string)
            .collect()
    }
}

fn from_spec(descriptor: &spec::Descriptor) -> Result<Descriptor, DigestError> {
    let digest: Digest = descriptor.digest().to_string().parse()?;
    Ok(Descriptor {
        media_type: descriptor.media_type().to_string(),
        digest,
        size: descriptor.size(),
        annotations: descriptor
            .annotations()
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        platform: descriptor.platform().as_ref().map(|p| {
            let platform = Platform::new(
                &p.os().to_string(),
                &p.architecture().to_string(),
                p.variant().as_deref().unwrap_or_default(),
            );
            Platform {
                os_version: p.os_version().clone().unwrap_or_default(),
                ..platform
            }
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            config: Descriptor::of(media_type::OCI_CONFIG, b"{}"),
            layers: vec![Descriptor::of(media_type::OCI_LAYER_GZIP, b"x")],
            annotations: [("k".to_owned(), "v".to_owned())].into(),
        }
    }

    #[test]
    fn manifest_and_index_round_trip() {
        let manifest = sample();
        assert_eq!(
            Document::parse(&manifest.to_bytes()).unwrap(),
            Document::Manifest(Box::new(manifest.clone()))
        );
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &manifest.to_bytes());
        entry.platform = Some(Platform::new("linux", "arm", "v6"));
        let index = Index {
            manifests: vec![entry.clone()],
        };
        assert_eq!(
            Document::parse(&index.to_bytes()).unwrap(),
            Document::Index(index.clone())
        );
        assert_eq!(
            index.select(&Platform::new("linux", "arm", "v7")),
            Some(&entry)
        );
        assert_eq!(index.select(&Platform::new("linux", "arm64", "")), None);
    }

    #[test]
    fn refusals() {
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            b"{\"schemaVersion\":1}",
            b"{\"config\":3}",
            b"\xff",
        ] {
            assert!(Document::parse(bad).is_err());
        }
    }
}
