//! Finds the images that planning asks for: in OCI layouts, in the local store, at registries.

use std::fmt;
use std::sync::Arc;

use super::error::ResolveError;
use crate::fetch::Fetcher;
use crate::image::Layout;
use crate::oci::{BaseImage, BaseLayer, BlobSource, Config, LayerSource, Reference};
use crate::plan::{BaseRequest, ImageSource};
use crate::registry::Client;
use crate::store::{ImageRecord, Store, StoredImage};

/// Finds images.
pub trait ImageResolver: fmt::Debug + Sync {
    /// Finds an image for a platform. Only its manifest and config are fetched.
    ///
    /// # Errors
    /// It is not there, or cannot be asked for.
    fn resolve(&self, request: &BaseRequest) -> Result<BaseImage, ResolveError>;
}

/// The resolver of real builds.
#[derive(Debug)]
pub struct Resolver {
    /// The local store, if there is one; its images come before those of registries.
    pub store: Option<Arc<Store>>,
    /// Registries.
    pub client: Client,
    /// URLs, repositories, archives; they need a store to be put in.
    pub fetcher: Option<Fetcher>,
    /// Ask registries even if the local store has the name.
    pub pull: bool,
}

impl ImageResolver for Resolver {
    fn resolve(&self, request: &BaseRequest) -> Result<BaseImage, ResolveError> {
        match &request.source {
            ImageSource::Layout { path, tag, digest } => {
                Ok(Layout::open(path)?.resolve(tag.as_deref(), *digest, &request.platform)?)
            }
            ImageSource::Tree(origin) => {
                let fetcher = self.fetcher.as_ref().ok_or(ResolveError::NoStore)?;
                Ok(fetcher.fetch(origin, &request.platform)?)
            }
            ImageSource::Reference(reference) => {
                let wanted = &request.platform;
                if let Some(image) = self.local(reference, |record| record.select(wanted))? {
                    return Ok(image);
                }
                match self.client.resolve(reference, wanted) {
                    Ok(found) => Ok(found.image),
                    // As a registry does: the only image there is, whatever it is for.
                    Err(error) => self
                        .local(reference, ImageRecord::only)?
                        .ok_or_else(|| error.into()),
                }
            }
        }
    }
}

impl Resolver {
    fn local(
        &self,
        reference: &Reference,
        select: impl Fn(&ImageRecord) -> Option<&StoredImage>,
    ) -> Result<Option<BaseImage>, ResolveError> {
        if self.pull || reference.digest().is_some() {
            return Ok(None);
        }
        let Some(store) = &self.store else {
            return Ok(None);
        };
        let Some(record) = store.image(&reference.to_string()) else {
            return Ok(None);
        };
        let Some(image) = select(&record) else {
            return Ok(None);
        };
        let Some(bytes) = store.read_blob(image.config.digest) else {
            return Ok(None);
        };
        let config =
            Config::parse(&bytes).map_err(|error| ResolveError::Store(error.to_string()))?;
        let source: Arc<dyn BlobSource> = Arc::clone(store) as Arc<dyn BlobSource>;
        Ok(layers(store, image, &source).map(|layers| BaseImage {
            time: None,
            name: reference.familiar(),
            digest: image.config.digest,
            config,
            layers,
        }))
    }
}

/// The layers, if the store still has every one of them.
fn layers(
    store: &Store,
    image: &StoredImage,
    source: &Arc<dyn BlobSource>,
) -> Option<Vec<BaseLayer>> {
    let layer = |layer: &crate::store::ImageLayer| {
        let there = store.has_layer(layer.diff_id)
            || layer.blob.as_ref().is_some_and(|b| store.has_blob(b));
        let remote = layer.blob.clone().map(|blob| LayerSource {
            blob,
            source: Arc::clone(source),
        });
        there.then_some(BaseLayer {
            diff_id: layer.diff_id,
            remote,
        })
    };
    image.layers.iter().map(layer).collect()
}
