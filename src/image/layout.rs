//! OCI image layouts on disk, as a source of base images (image-spec, image-layout.md).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fsio;
use crate::oci::{
    BaseImage, BaseLayer, BlobError, BlobSource, Config, ConfigError, Descriptor, Digest, Document,
    DocumentError, Index, LayerSource, Manifest, Platform,
};

/// Manifests, indexes and configs larger than this are refused.
const DOCUMENT_LIMIT: u64 = 16 << 20;
/// Indexes may point to indexes, but not for ever.
const NESTING_LIMIT: usize = 8;
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A folder that holds an OCI layout.
#[derive(Clone, Debug)]
pub struct Layout {
    path: PathBuf,
}

/// A layout, or an image in it, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The folder is not there or not readable.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// No `oci-layout` file, or not of version 1.
    #[error("`{}` is not an OCI image layout: {reason}", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// No image of that name.
    #[error("no image {wanted} in the OCI layout `{}`, it has: {found}", path.display())]
    NoSuchImage {
        /// The folder.
        path: PathBuf,
        /// Tag or digest asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// No image for the platform.
    #[error("no image for {wanted} in the OCI layout `{}`, it has: {found}", path.display())]
    NoSuchPlatform {
        /// The folder.
        path: PathBuf,
        /// Platform asked for.
        wanted: Platform,
        /// Platforms there are.
        found: String,
    },
    /// A blob that is missing or not what its name says.
    #[error("blob {digest} of the OCI layout `{}` is {problem}", path.display())]
    Blob {
        /// The folder.
        path: PathBuf,
        /// Which blob.
        digest: Digest,
        /// `missing`, `damaged`, `too large`.
        problem: &'static str,
    },
    /// A manifest or index that is none.
    #[error("in the OCI layout `{}`: {source}", path.display())]
    Document {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: DocumentError,
    },
    /// A config that is none.
    #[error("in the OCI layout `{}`: {source}", path.display())]
    Config {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// Manifest and config disagree.
    #[error("the image in the OCI layout `{}` has {layers} layers but {diff_ids} diff IDs", path.display())]
    LayerCount {
        /// The folder.
        path: PathBuf,
        /// Layers in the manifest.
        layers: usize,
        /// Diff IDs in the config.
        diff_ids: usize,
    },
}

impl Layout {
    /// Opens a layout.
    ///
    /// # Errors
    /// It is none.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        let path = fsio::canonicalize(path)?;
        let bad = |reason: &str| LayoutError::NotALayout {
            path: path.clone(),
            reason: reason.to_owned(),
        };
        let marker = fsio::read_if_there(path.join("oci-layout"))?
            .ok_or_else(|| bad("it has no file `oci-layout`"))?;
        let version = serde_json::from_slice::<serde_json::Value>(&marker).ok();
        let version = version
            .as_ref()
            .and_then(|v| v.get("imageLayoutVersion")?.as_str());
        if !version.is_some_and(|v| v.starts_with("1.")) {
            return Err(bad("its `oci-layout` does not name version 1"));
        }
        Ok(Self { path })
    }

    /// The entries of `index.json`.
    ///
    /// # Errors
    /// It is missing or no index.
    pub fn index(&self) -> Result<Index, LayoutError> {
        let bytes = fsio::read(self.path.join("index.json"))?;
        Index::parse(&bytes).map_err(|source| LayoutError::Document {
            path: self.path.clone(),
            source,
        })
    }

    /// A document's bytes, verified.
    ///
    /// # Errors
    /// Missing, damaged, or too large to be a document.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, LayoutError> {
        let problem = |problem| LayoutError::Blob {
            path: self.path.clone(),
            digest: descriptor.digest,
            problem,
        };
        if descriptor.size > DOCUMENT_LIMIT {
            return Err(problem("too large for a document"));
        }
        let mut bytes = Vec::new();
        let file = fsio::open(self.blob_path(descriptor.digest)).map_err(|_| problem("missing"))?;
        file.take(DOCUMENT_LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|_| problem("unreadable"))?;
        if Digest::of(&bytes) != descriptor.digest {
            return Err(problem("damaged"));
        }
        Ok(bytes)
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Finds an image: by digest, by tag (`latest` where none is given, or the only image there is), for a platform.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn resolve(
        &self,
        tag: Option<&str>,
        digest: Option<Digest>,
        platform: &Platform,
    ) -> Result<BaseImage, LayoutError> {
        let mut entry = self.entry(tag, digest)?;
        for _ in 0..NESTING_LIMIT {
            let bytes = self.document(&entry)?;
            match Document::parse(&bytes).map_err(|source| LayoutError::Document {
                path: self.path.clone(),
                source,
            })? {
                Document::Manifest(manifest) => return self.image(&manifest, entry.digest),
                Document::Index(index) => {
                    let no_platform = || LayoutError::NoSuchPlatform {
                        path: self.path.clone(),
                        wanted: platform.clone(),
                        found: index.platforms().join(", "),
                    };
                    entry = index.select(platform).cloned().ok_or_else(no_platform)?;
                }
            }
        }
        Err(LayoutError::Blob {
            path: self.path.clone(),
            digest: entry.digest,
            problem: "nested too deeply",
        })
    }

    /// The entry of `index.json` that a digest or a tag names; for tags see [`Layout::resolve`].
    ///
    /// # Errors
    /// There is none.
    pub fn entry(
        &self,
        tag: Option<&str>,
        digest: Option<Digest>,
    ) -> Result<Descriptor, LayoutError> {
        let index = self.index()?;
        let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
        let wanted_tag = tag.unwrap_or("latest");
        let found = match digest {
            Some(digest) => index
                .manifests
                .iter()
                .find(|entry| entry.digest == digest)
                .cloned(),
            None => {
                // Some tools write the whole reference where the tag belongs.
                let suffix = format!(":{wanted_tag}");
                let matches = |n: &String| n == wanted_tag || n.ends_with(&suffix);
                let by_name = index
                    .manifests
                    .iter()
                    .find(|entry| name(entry).as_ref().is_some_and(matches));
                let only = index
                    .manifests
                    .first()
                    .filter(|_| tag.is_none() && index.manifests.len() == 1);
                by_name.or(only).cloned()
            }
        };
        found.ok_or_else(|| {
            let names: Vec<String> = index
                .manifests
                .iter()
                .map(|e| name(e).unwrap_or_else(|| e.digest.to_string()))
                .collect();
            LayoutError::NoSuchImage {
                path: self.path.clone(),
                wanted: digest.map_or_else(|| format!("tagged `{wanted_tag}`"), |d| d.to_string()),
                found: if names.is_empty() {
                    "no images".to_owned()
                } else {
                    names.join(", ")
                },
            }
        })
    }

    fn image(&self, manifest: &Manifest, digest: Digest) -> Result<BaseImage, LayoutError> {
        let bytes = self.document(&manifest.config)?;
        let config = Config::parse(&bytes).map_err(|source| LayoutError::Config {
            path: self.path.clone(),
            source,
        })?;
        let diff_ids = config.diff_ids();
        if diff_ids.len() != manifest.layers.len() {
            let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
            return Err(LayoutError::LayerCount {
                path: self.path.clone(),
                layers,
                diff_ids,
            });
        }
        let source: Arc<dyn BlobSource> = Arc::new(self.clone());
        let layer = |(blob, diff_id): (&Descriptor, &Digest)| BaseLayer {
            diff_id: *diff_id,
            remote: Some(LayerSource {
                blob: blob.clone(),
                source: Arc::clone(&source),
            }),
        };
        Ok(BaseImage {
            time: None,
            name: format!("oci-layout://{}", self.path.display()),
            digest,
            config,
            layers: manifest.layers.iter().zip(&diff_ids).map(layer).collect(),
        })
    }
}

impl BlobSource for Layout {
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        match fsio::open(self.blob_path(descriptor.digest)) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.is_not_found() => Err(BlobError::NotFound(descriptor.digest)),
            Err(error) => Err(BlobError::Unreadable {
                digest: descriptor.digest,
                reason: error.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::media_type;

    fn write(path: &Path, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        std::fs::write(path.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        digest
    }

    fn sample(path: &Path) -> Descriptor {
        std::fs::write(
            path.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )
        .unwrap();
        let config = Config::scratch(&Platform::new("linux", "amd64", "")).to_bytes();
        write(path, &config);
        let config = Descriptor::of(media_type::OCI_CONFIG, &config);
        let manifest = Manifest {
            config,
            layers: vec![],
            annotations: Default::default(),
        }
        .to_bytes();
        write(path, &manifest);
        let mut entry = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
        entry
            .annotations
            .insert(REF_NAME.to_owned(), "1.0".to_owned());
        std::fs::write(
            path.join("index.json"),
            Index {
                manifests: vec![entry.clone()],
            }
            .to_bytes(),
        )
        .unwrap();
        entry
    }

    #[test]
    fn finds_by_tag_by_digest_and_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let entry = sample(dir.path());
        let layout = Layout::open(dir.path()).unwrap();
        let platform = Platform::new("linux", "amd64", "");
        for (tag, digest) in [
            (Some("1.0"), None),
            (None, Some(entry.digest)),
            (None, None),
        ] {
            assert_eq!(
                layout.resolve(tag, digest, &platform).unwrap().digest,
                entry.digest
            );
        }
        let error = layout
            .resolve(Some("2"), None, &platform)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("tagged `2`") && error.contains("1.0"),
            "{error}"
        );
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Layout::open(dir.path()),
            Err(LayoutError::NotALayout { .. })
        ));
        let entry = sample(dir.path());
        std::fs::write(
            dir.path().join("blobs/sha256").join(entry.digest.hex()),
            b"{}",
        )
        .unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let error = layout.resolve(None, None, &Platform::host()).unwrap_err();
        assert!(
            matches!(
                error,
                LayoutError::Blob {
                    problem: "damaged",
                    ..
                }
            ),
            "{error}"
        );
    }
}
