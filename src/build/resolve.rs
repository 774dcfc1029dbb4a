//! Finds the images that planning asks for: in OCI layouts, in the local store, at registries.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

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
    fn resolve(&self, request: &BaseRequest) -> Result<Found, ResolveError>;
}

/// An image that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image.
    pub image: BaseImage,
    /// What people should know of how it was found, in one line.
    pub remark: Option<String>,
}

impl From<BaseImage> for Found {
    fn from(image: BaseImage) -> Self {
        Self {
            image,
            remark: None,
        }
    }
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
    /// Ask registries even if the local store has the name, or knows what they said a moment ago.
    pub pull: bool,
    /// How long it holds what a registry said about a tag.
    pub tag_age: Duration,
    /// Says what time it is.
    pub clock: fn() -> SystemTime,
}

impl ImageResolver for Resolver {
    fn resolve(&self, request: &BaseRequest) -> Result<Found, ResolveError> {
        match &request.source {
            BaseSource::Layout { path, tag, digest } => {
                let layout = Layout::open(path)?;
                let image = layout.resolve(tag.as_deref(), *digest, &request.platform)?;
                Ok(image.into())
            }
            BaseSource::Tree(origin) => {
                let fetcher = self.fetcher.as_ref().ok_or(ResolveError::NoStore)?;
                Ok(fetcher.fetch(origin, &request.platform)?.into())
            }
            BaseSource::Reference(reference) => {
                let wanted = &request.platform;
                if let Some(image) = self.local(reference, |record| record.select(wanted))? {
                    return Ok(image.into());
                }
                self.at_registry(reference, wanted).or_else(|error| {
                    // As a registry does: the only image there is, whatever it is for.
                    let only = self.local(reference, ImageRecord::only)?;
                    only.map(Found::from).ok_or(error)
                })
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
    for (((request, span), id), answer) in needs.iter().zip(started).zip(answers) {
        let Some((result, took)) = answer else {
            vertices.cancel(id);
            continue;
        };
        let name = image_name(request);
        let result = result.map_err(|source| BuildError::Base {
            stage: plan::stage_hint(dockerfile, &name),
            name,
            span: *span,
            source,
        });
        if let Ok(Found {
            remark: Some(remark),
            ..
        }) = &result
        {
            vertices.note(id, remark.clone());
        }
        vertices.end(id, &result, took);
        match result {
            Ok(found) => {
                resolved.insert(request.clone(), Arc::new(found.image));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// An answer, and how long it took.
type Answer = (Result<Found, ResolveError>, Duration);

/// The answers in the order of the requests. A file may ask for thousands of things: each may take a thread, a connection and
/// a program. Once one has failed no other is begun; all before it have been, so that the first failure is always the same.
fn ask_all(resolver: &dyn ImageResolver, needs: &[(BaseRequest, Span)]) -> Vec<Option<Answer>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let ask = || {
        let mut answers = Vec::new();
        loop {
            if failed.load(Ordering::Relaxed) {
                return answers;
            }
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((request, _)) = needs.get(index) else {
                return answers;
            };
            let started = Instant::now();
            let result = resolver.resolve(request);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            answers.push((index, (result, started.elapsed())));
        }
    };
    let answered = std::thread::scope(|scope| {
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
    let mut answers: Vec<Option<Answer>> = needs.iter().map(|_| None).collect();
    for (index, answer) in answered {
        answers[index] = Some(answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::oci::{Digest, Platform};

    /// Counts who asks at the same time; has no image with a certain name.
    #[derive(Debug, Default)]
    struct Counting {
        missing: Option<&'static str>,
        /// Now, and the most so far.
        asked: Mutex<(usize, usize)>,
    }

    impl ImageResolver for Counting {
        fn resolve(&self, request: &BaseRequest) -> Result<Found, ResolveError> {
            {
                let mut asked = self.asked.lock().unwrap();
                asked.0 += 1;
                asked.1 = asked.1.max(asked.0);
            }
            let name = image_name(request);
            if self.missing.is_some_and(|missing| name == missing) {
                return Err(ResolveError::NoStore);
            }
            std::thread::sleep(Duration::from_millis(5));
            self.asked.lock().unwrap().0 -= 1;
            Ok(BaseImage {
                name,
                digest: Digest::of(""),
                config: Config::scratch(&request.platform),
                layers: Vec::new(),
                time: None,
            }
            .into())
        }
    }

    fn needs(names: &[String]) -> Vec<(BaseRequest, Span)> {
        let platform = Platform::host();
        let need = |name: &String| {
            let source = BaseSource::Reference(name.parse().unwrap());
            let request = BaseRequest::new(source, &platform, &platform);
            (request, Span::new(crate::source::FileId(0), 0..0))
        };
        names.iter().map(need).collect()
    }

    fn names() -> Vec<String> {
        (0..1000)
            .map(|number| format!("image-{number}:latest"))
            .collect()
    }

    #[test]
    fn many_are_asked_for_at_once_and_never_too_many() {
        let resolver = Counting::default();
        let answers = ask_all(&resolver, &needs(&names()));
        let answers: Vec<String> = answers
            .into_iter()
            .map(|answer| answer.unwrap().0.unwrap().image.name)
            .collect();
        assert_eq!(answers, names());
        let (_, most) = *resolver.asked.lock().unwrap();
        assert!((2..=MOST_AT_ONCE).contains(&most), "{most} at once");
    }

    #[test]
    fn after_a_failure_no_other_is_begun() {
        let resolver = Counting {
            missing: Some("image-20:latest"),
            ..Counting::default()
        };
        let answers = ask_all(&resolver, &needs(&names()));
        let failed = |answer: &Option<Answer>| matches!(answer, Some((Err(_), _)));
        assert_eq!(answers.iter().position(failed), Some(20));
        assert!(answers[..20].iter().all(Option::is_some));
        assert!(answers.last().unwrap().is_none(), "all were asked for");
    }
}
