//! From a reference to an image for one platform: manifest, config, and layers that can be read.

use std::sync::Arc;

use super::RegistryError;
use super::repository::{LARGEST_MANIFEST, ManifestName, Repository};
use super::transport::{ContentError, Failure};
use crate::oci::{
    BaseImage, BaseLayer, BlobSource, Config, Descriptor, Document, LayerSource, Manifest,
    Platform, Reference, media_type,
};

/// The largest image config that is read.
const LARGEST_CONFIG: u64 = 8 << 20;

/// How many indexes may lead to a manifest.
const DEEPEST_INDEX: usize = 3;

/// A manifest or index as a registry stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its media type, digest (verified) and size.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a reference means for a platform.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The image; its layers can be read from the registry when someone needs them. If the reference leads to a single
    /// manifest, that image is given whatever its platform is: compare `image.config.platform()` with what was wanted.
    pub image: BaseImage,
    /// What the name itself leads to, to pin it: the index if there is one, else the manifest.
    pub root: Descriptor,
    /// The image's manifest.
    pub manifest: Fetched,
    /// The image's config.
    pub config: Fetched,
}

/// Resolves `reference`, which is in `repository`.
pub(super) async fn resolve(
    repository: &Repository,
    reference: &Reference,
    platform: &Platform,
) -> Result<Resolved, RegistryError> {
    let name = || reference.familiar();
    let failed = |failure: Failure| RegistryError::Resolve {
        reference: name(),
        failure: Box::new(failure),
    };
    let bad = |error: ContentError| failed(error.into());
    let mut fetched = repository
        .manifest(&ManifestName::of(reference))
        .await
        .map_err(failed)?;
    let root = fetched.descriptor.clone();
    let mut depth = 0;
    let manifest = loop {
        let index = match Document::parse(&fetched.bytes).map_err(|error| bad(error.into()))? {
            Document::Manifest(manifest) => break *manifest,
            Document::Index(index) => index,
        };
        if depth == DEEPEST_INDEX {
            return Err(bad(ContentError::Nesting));
        }
        depth += 1;
        let Some(entry) = index.select(platform) else {
            return Err(RegistryError::NoPlatform {
                reference: name(),
                wanted: Box::new(platform.clone()),
                available: index.platforms(),
            });
        };
        fetched = manifest_of_entry(repository, entry).await.map_err(failed)?;
    };
    check_media_types(&manifest).map_err(bad)?;
    let bytes = repository
        .document(&manifest.config, "image config", LARGEST_CONFIG)
        .await
        .map_err(|failure| RegistryError::Config {
            reference: name(),
            failure: Box::new(failure),
        })?;
    let config = Fetched {
        descriptor: manifest.config.clone(),
        bytes,
    };
    Ok(Resolved {
        image: image(repository, reference, &fetched, &config)?,
        root,
        manifest: fetched,
        config,
    })
}

/// The image that a manifest and its config are, with layers that `repository` has.
pub(super) fn image(
    repository: &Repository,
    reference: &Reference,
    manifest: &Fetched,
    config: &Fetched,
) -> Result<BaseImage, RegistryError> {
    let bad = |error: ContentError| RegistryError::Resolve {
        reference: reference.familiar(),
        failure: Box::new(error.into()),
    };
    let digest = manifest.descriptor.digest;
    let Document::Manifest(manifest) =
        Document::parse(&manifest.bytes).map_err(|error| bad(error.into()))?
    else {
        return Err(bad(ContentError::Nesting));
    };
    check_media_types(&manifest).map_err(bad)?;
    let config = Config::parse(&config.bytes).map_err(|error| RegistryError::Config {
        reference: reference.familiar(),
        failure: Box::new(ContentError::from(error).into()),
    })?;
    let source: Arc<dyn BlobSource> = Arc::new(repository.clone());
    let layers = layers(&manifest, &config, &source).map_err(bad)?;
    Ok(BaseImage {
        time: None,
        name: reference.familiar(),
        digest,
        config,
        layers,
    })
}

/// The manifest, or further index, that an entry of an index names.
async fn manifest_of_entry(
    repository: &Repository,
    entry: &Descriptor,
) -> Result<Fetched, Failure> {
    if entry.size > LARGEST_MANIFEST {
        let limit = LARGEST_MANIFEST;
        let what = "manifest";
        return Err(ContentError::TooLarge { what, limit }.into());
    }
    let fetched = repository
        .manifest(&ManifestName::Digest(entry.digest))
        .await?;
    if fetched.descriptor.size != entry.size {
        return Err(ContentError::Size {
            digest: entry.digest,
            expected: entry.size,
            found: fetched.descriptor.size,
        }
        .into());
    }
    Ok(fetched)
}

/// Refuses what is no container image, and layers that registries do not store.
fn check_media_types(manifest: &Manifest) -> Result<(), ContentError> {
    let config_type = manifest.config.media_type.as_str();
    let is_image = matches!(
        config_type,
        // The last is what very old pushes wrote.
        media_type::OCI_CONFIG | media_type::DOCKER_CONFIG | "application/octet-stream"
    );
    if !is_image {
        return Err(ContentError::NotAnImage(config_type.to_owned()));
    }
    for layer in &manifest.layers {
        let known = matches!(
            media_type::to_oci_layer(&layer.media_type),
            media_type::OCI_LAYER | media_type::OCI_LAYER_GZIP | media_type::OCI_LAYER_ZSTD
        );
        if !known {
            return Err(ContentError::LayerType {
                digest: layer.digest,
                media_type: layer.media_type.clone(),
            });
        }
    }
    Ok(())
}

/// Joins the blobs of the manifest and the diff IDs of the config.
fn layers(
    manifest: &Manifest,
    config: &Config,
    source: &Arc<dyn BlobSource>,
) -> Result<Vec<BaseLayer>, ContentError> {
    let diff_ids = config.diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        return Err(ContentError::LayerCount {
            layers: manifest.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let pairs = diff_ids.into_iter().zip(&manifest.layers);
    Ok(pairs
        .map(|(diff_id, blob)| BaseLayer {
            diff_id,
            remote: Some(LayerSource {
                blob: blob.clone(),
                source: Arc::clone(source),
            }),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_that_are_refused() {
        let manifest = |config: &str, layer: &str| Manifest {
            config: Descriptor::of(config, b"{}"),
            layers: vec![Descriptor::of(layer, b"x")],
            annotations: std::collections::BTreeMap::new(),
        };
        for layer in [
            media_type::OCI_LAYER,
            media_type::OCI_LAYER_ZSTD,
            media_type::DOCKER_LAYER_GZIP,
        ] {
            check_media_types(&manifest(media_type::DOCKER_CONFIG, layer)).unwrap();
        }
        for layer in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
            "",
        ] {
            let result = check_media_types(&manifest(media_type::OCI_CONFIG, layer));
            assert!(
                matches!(result, Err(ContentError::LayerType { .. })),
                "{layer}"
            );
        }
        let chart = manifest(
            "application/vnd.cncf.helm.config.v1+json",
            media_type::OCI_LAYER,
        );
        assert!(matches!(
            check_media_types(&chart),
            Err(ContentError::NotAnImage(_))
        ));
    }
}
