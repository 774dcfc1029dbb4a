//! Finds the images that planning asks for: in OCI layouts, in the local store, at registries.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Vertices;
use super::error::{BuildError, ResolveError, image_name};
use crate::dockerfile::Dockerfile;
use crate::fetch::Fetcher;
use crate::image::Layout;
use crate::oci::{BaseImage, BaseLayer, BlobSource, Config, LayerSource, Reference};
use crate::plan::{self, BaseRequest, BaseSource, ResolvedBases};
use crate::registry::Client;
use crate::source::Span;
use crate::store::{ImageRecord, Store, StoredImage};

/// As many images and trees are asked for at a time.
const MOST_AT_ONCE: usize = 16;

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
            BaseSource::Layout { path, tag, digest } => {
                Ok(Layout::open(path)?.resolve(tag.as_deref(), *digest, &request.platform)?)
            }
            BaseSource::Tree(origin) => {
                let fetcher = self.fetcher.as_ref().ok_or(ResolveError::NoStore)?;
                Ok(fetcher.fetch(origin, &request.platform)?)
            }
            BaseSource::Reference(reference) => {
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

/// Resolves all that planning asks for, many at once. Of images only manifests and configs are fetched.
pub(super) fn resolve_all(
    dockerfile: &Dockerfile,
    resolver: &dyn ImageResolver,
    needs: &[(BaseRequest, Span)],
    resolved: &mut ResolvedBases,
    vertices: &mut Vertices<'_>,
) -> Result<(), BuildError> {
    let several = needs
        .iter()
        .any(|(request, _)| request.platform != needs[0].0.platform);
    let started: Vec<_> = needs
        .iter()
        .map(|(request, _)| {
            let name = image_name(request);
            let platform = match several {
                true => format!("{} ", request.platform),
                false => String::new(),
            };
            vertices.begin(match request.is_tree() {
                true => format!("[internal] fetch {name}"),
                false => format!("[{platform}internal] load metadata for {name}"),
            })
        })
        .collect();
    let answers = ask_all(resolver, needs);
    let mut failure = None;
    for (((request, span), id), (result, took)) in needs.iter().zip(started).zip(answers) {
        let name = image_name(request);
        let result = result.map_err(|source| BuildError::Base {
            stage: plan::stage_hint(dockerfile, &name),
            name,
            span: *span,
            source,
        });
        vertices.end(id, &result, took);
        match result {
            Ok(image) => {
                resolved.insert(request.clone(), Arc::new(image));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// An answer, and how long it took.
type Answer = (Result<BaseImage, ResolveError>, Duration);

/// The answers in the order of the requests. A file may ask for thousands of things: each may take a thread, a connection and
/// a program.
fn ask_all(resolver: &dyn ImageResolver, needs: &[(BaseRequest, Span)]) -> Vec<Answer> {
    let next = AtomicUsize::new(0);
    let ask = || {
        let mut answers = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((request, _)) = needs.get(index) else {
                return answers;
            };
            let started = Instant::now();
            answers.push((index, (resolver.resolve(request), started.elapsed())));
        }
    };
    let mut answers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..needs.len().min(MOST_AT_ONCE))
            .map(|_| scope.spawn(ask))
            .collect();
        let mut answers = Vec::with_capacity(needs.len());
        for thread in threads {
            let some = thread.join();
            answers.extend(some.unwrap_or_else(|p| std::panic::resume_unwind(p)));
        }
        answers
    });
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::oci::{Digest, Platform};

    /// Counts who asks at the same time.
    #[derive(Debug, Default)]
    struct Counting {
        now: Mutex<(usize, usize)>,
    }

    impl ImageResolver for Counting {
        fn resolve(&self, request: &BaseRequest) -> Result<BaseImage, ResolveError> {
            {
                let mut now = self.now.lock().unwrap();
                now.0 += 1;
                now.1 = now.1.max(now.0);
            }
            std::thread::sleep(Duration::from_millis(1));
            self.now.lock().unwrap().0 -= 1;
            Ok(BaseImage {
                name: image_name(request),
                digest: Digest::of(""),
                config: Config::scratch(&request.platform),
                layers: Vec::new(),
                time: None,
            })
        }
    }

    #[test]
    fn many_are_asked_for_at_once_and_never_too_many() {
        let resolver = Counting::default();
        let platform = Platform::host();
        let names: Vec<String> = (0..100)
            .map(|number| format!("image-{number}:latest"))
            .collect();
        let needs: Vec<_> = names
            .iter()
            .map(|name| {
                let source = BaseSource::Reference(name.parse().unwrap());
                let request = BaseRequest::new(source, &platform, &platform);
                (request, Span::new(crate::source::FileId(0), 0..0))
            })
            .collect();
        let answers = ask_all(&resolver, &needs);
        let answers: Vec<String> = answers
            .into_iter()
            .map(|(answer, _)| answer.unwrap().name)
            .collect();
        assert_eq!(answers, names);
        let most = resolver.now.lock().unwrap().1;
        assert!((2..=MOST_AT_ONCE).contains(&most), "{most} at once");
    }
}
