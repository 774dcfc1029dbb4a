//! Descriptors: media type, digest and size of some content (image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, Platform};

/// Media types in use, OCI's and Docker's names for the same things.
pub mod media_type {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// OCI image config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// OCI layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker image config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker layer, uncompressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

    /// OCI's name of a layer media type that may be Docker's.
    #[must_use]
    pub fn to_oci_layer(media_type: &str) -> &str {
        match media_type {
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER => OCI_LAYER,
            other => other,
        }
    }

    /// Whether it names an index or a manifest list.
    #[must_use]
    pub fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_INDEX)
    }
}

/// Names some content by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's length in bytes.
    pub size: u64,
    /// Arbitrary facts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Says how a blob was compressed, as the store names it (`gzip-6`), so that whoever would compress the layer in that way can
/// take the blob as it is. Caches carry it; images do not.
pub const COMPRESSION_ANNOTATION: &str = "builder.compression";

impl Descriptor {
    /// How the blob was compressed, where its annotation says so. Only words that the store itself uses are believed: they
    /// become names of files.
    #[must_use]
    pub fn compression(&self) -> Option<&str> {
        let name = self.annotations.get(COMPRESSION_ANNOTATION)?;
        let (kind, level) = name.split_once('-').unwrap_or((name, "0"));
        let is_level = matches!(level.len(), 1 | 2) && level.bytes().all(|b| b.is_ascii_digit());
        let media_type = match kind {
            "tar" if level == "0" => media_type::OCI_LAYER,
            "gzip" => media_type::OCI_LAYER_GZIP,
            "zstd" => media_type::OCI_LAYER_ZSTD,
            _ => return None,
        };
        (is_level && self.media_type == media_type).then_some(name)
    }

    /// The same with a word on how the blob was compressed.
    #[must_use]
    pub fn compressed_as(mut self, name: &str) -> Self {
        let key = COMPRESSION_ANNOTATION.to_owned();
        self.annotations.insert(key, name.to_owned());
        self
    }

    /// A descriptor without annotations or platform.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// A descriptor of these very bytes.
    #[must_use]
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_compressions_are_believed() {
        let blob = |media_type| Descriptor::of(media_type, b"");
        for (media_type, name, believed) in [
            (media_type::OCI_LAYER_GZIP, "gzip-6", true),
            (media_type::OCI_LAYER_ZSTD, "zstd-22", true),
            (media_type::OCI_LAYER, "tar", true),
            (media_type::OCI_LAYER, "gzip-6", false),
            (media_type::OCI_LAYER_GZIP, "gzip-../..", false),
            (media_type::OCI_LAYER_GZIP, "gzip-", false),
            (media_type::OCI_LAYER_GZIP, "gzip-600", false),
            (media_type::OCI_LAYER_GZIP, "/etc/passwd", false),
        ] {
            let found = blob(media_type).compressed_as(name);
            assert_eq!(found.compression(), believed.then_some(name), "{name}");
        }
        assert_eq!(blob(media_type::OCI_LAYER_GZIP).compression(), None);
    }
}
