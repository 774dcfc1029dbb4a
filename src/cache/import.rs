//! What others built, as answers for the solver: from memory, in the order of the flags. Layers are fetched when a step needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::backend::{self, Stored};
use super::document::{CACHE_TYPE, Records};
use super::spec::ImportSpec;
use super::{CacheError, Means, inline};
use crate::oci::{BlobError, BlobSource, Config, Descriptor, Digest, LayerSource};
use crate::solve::ImportedSteps;
use crate::store::{StepRecord, VerifyingReader};

/// What was read of the caches that a build may use.
#[derive(Debug, Default)]
pub struct Imported {
    sources: Vec<Source>,
    /// Layers that turned out not to be had, by the source that promised them.
    forgotten: Mutex<BTreeSet<(usize, Digest)>>,
}

/// One cache.
#[derive(Debug)]
struct Source {
    name: String,
    records: Records,
    blobs: Arc<Watched>,
}

/// Reads all caches at the same time; what could be read is used. The results are in the order of the specs: how many records
/// there were, or why there are none.
#[must_use]
pub fn import(means: &Means, specs: &[ImportSpec]) -> (Imported, Vec<Result<usize, CacheError>>) {
    let read: Vec<Result<Source, CacheError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = specs
            .iter()
            .map(|spec| scope.spawn(|| read(means, spec)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|p| std::panic::resume_unwind(p))
            })
            .collect()
    });
    let mut imported = Imported::default();
    let mut results = Vec::with_capacity(read.len());
    for source in read {
        results.push(source.map(|source| {
            let count = source.records.steps.len();
            imported.sources.push(source);
            count
        }));
    }
    (imported, results)
}

fn read(means: &Means, spec: &ImportSpec) -> Result<Source, CacheError> {
    let place = backend::open(&spec.place, means)?;
    let mut records = Records::default();
    for stored in place.read(means)? {
        let found = records_of(&stored)?;
        // As with several sources: who comes first has the say.
        for (key, step) in found.steps {
            records.steps.entry(key).or_insert(step);
        }
        for (quick, key) in found.aliases {
            records.aliases.entry(quick).or_insert(key);
        }
    }
    Ok(Source {
        name: spec.place.to_string(),
        records,
        blobs: Arc::new(Watched {
            inner: place.source(),
            failed: Arc::default(),
        }),
    })
}

fn records_of(stored: &Stored) -> Result<Records, CacheError> {
    if stored.manifest.config.media_type == CACHE_TYPE {
        return Records::parse(&stored.manifest, &stored.config);
    }
    let form =
        CacheError::Form("it is neither a cache of builder nor an image with an inline cache");
    let config = Config::parse(&stored.config).ok();
    config
        .and_then(|config| inline::read(&stored.manifest, &config))
        .ok_or(form)
}

impl ImportedSteps for Imported {
    fn step(&self, key: Digest) -> Option<(StepRecord, LayerSource)> {
        let forgotten = self.forgotten.lock();
        let forgotten = forgotten.unwrap_or_else(PoisonError::into_inner);
        self.sources.iter().enumerate().find_map(|(index, source)| {
            let (step, blob) = source.records.steps.get(&key)?;
            let layer = LayerSource {
                blob: blob.clone(),
                source: Arc::clone(&source.blobs) as Arc<dyn BlobSource>,
            };
            (!forgotten.contains(&(index, step.diff_id))).then(|| (step.clone(), layer))
        })
    }

    fn alias(&self, quick: Digest) -> Option<Digest> {
        let sources = self.sources.iter();
        sources
            .filter_map(|source| source.records.aliases.get(&quick))
            .find(|key| self.step(**key).is_some())
            .copied()
    }

    fn at_place(&self, place: &str) -> Option<StepRecord> {
        let steps = self.sources.iter();
        let mut steps = steps.flat_map(|source| source.records.steps.values());
        steps
            .find(|(step, _)| !place.is_empty() && step.place == place)
            .map(|(step, _)| step.clone())
    }
}

impl Imported {
    /// Forgets the layers whose blobs could not be had, and `wrong`, a layer that turned out to be another one. Says what was
    /// forgotten, in words; if there is nothing, no cache is to blame for what went wrong.
    #[must_use]
    pub fn forget_failed(&self, wrong: Option<Digest>) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let failed = std::mem::take(&mut *source.blobs.failures());
            for (step, blob) in source.records.steps.values() {
                let reason = match failed.get(&blob.digest) {
                    Some(reason) => reason.as_str(),
                    None if wrong == Some(step.diff_id) => "its content is another one",
                    None => continue,
                };
                let forgotten = self.forgotten.lock();
                let mut forgotten = forgotten.unwrap_or_else(PoisonError::into_inner);
                if forgotten.insert((index, step.diff_id)) {
                    let (name, layer) = (&source.name, step.diff_id);
                    lines.push(format!(
                        "layer {layer} of the cache {name} is not used: {reason}"
                    ));
                }
            }
            if wrong.is_some() && !lines.is_empty() {
                // The next source may have the right one.
                break;
            }
        }
        lines
    }
}

/// A source that remembers which of its blobs could not be had.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn BlobSource>,
    failed: Arc<Mutex<BTreeMap<Digest, String>>>,
}

impl Watched {
    fn failures(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobSource for Watched {
    fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        match self.inner.open_blob(blob) {
            Ok(reader) => Ok(Box::new(WatchedReader {
                inner: VerifyingReader::new(reader, blob.digest),
                digest: blob.digest,
                left: blob.size,
                failed: Arc::clone(&self.failed),
            })),
            Err(error) => {
                self.failures().insert(blob.digest, error.to_string());
                Err(error)
            }
        }
    }

    fn repository(&self) -> Option<(&str, &str)> {
        self.inner.repository()
    }
}

struct WatchedReader {
    inner: VerifyingReader<Box<dyn Read + Send>>,
    digest: Digest,
    /// Bytes that may still come.
    left: u64,
    failed: Arc<Mutex<BTreeMap<Digest, String>>>,
}

impl Read for WatchedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer).and_then(|count| {
            let left = self.left.checked_sub(count as u64);
            self.left = left.ok_or_else(|| io::Error::other("it has more bytes than it should"))?;
            match count {
                0 if !buffer.is_empty() && self.left > 0 => {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
                _ => Ok(count),
            }
        });
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
        {
            let failed = self.failed.lock();
            let mut failed = failed.unwrap_or_else(PoisonError::into_inner);
            failed.insert(self.digest, error.to_string());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::step;
    use super::*;
    use crate::oci::media_type;

    /// Has the blobs whose content is their name, but for one.
    #[derive(Debug)]
    struct Names(&'static str);

    impl BlobSource for Names {
        fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
            match ["one", "two"]
                .into_iter()
                .find(|n| Digest::of(n) == blob.digest)
            {
                Some(name) if name != self.0 => Ok(Box::new(name.as_bytes())),
                _ => Ok(Box::new(&b"bad"[..])),
            }
        }
    }

    fn source(name: &str, bad: &'static str) -> Source {
        let mut records = Records::default();
        for layer in ["one", "two"] {
            let step = step(layer, layer);
            let blob = Descriptor::of(media_type::OCI_LAYER_GZIP, layer.as_bytes());
            records
                .aliases
                .insert(Digest::of(format!("quick {layer}")), step.key);
            records.steps.insert(step.key, (step, blob));
        }
        Source {
            name: name.to_owned(),
            records,
            blobs: Arc::new(Watched {
                inner: Arc::new(Names(bad)),
                failed: Arc::default(),
            }),
        }
    }

    fn fetch(imported: &Imported, name: &str) -> io::Result<String> {
        let (_, layer) = imported.step(Digest::of(name)).expect("a record");
        let mut text = String::new();
        layer
            .source
            .open_blob(&layer.blob)
            .unwrap()
            .read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_blob_that_cannot_be_had_leaves_the_word_to_the_next_source() {
        let imported = Imported {
            sources: vec![source("first", "one"), source("second", "none")],
            forgotten: Mutex::default(),
        };
        assert!(imported.forget_failed(None).is_empty());
        assert!(fetch(&imported, "one").is_err());
        assert_eq!(fetch(&imported, "two").unwrap(), "two");
        let lines = imported.forget_failed(None);
        assert!(lines.len() == 1 && lines[0].contains("first"), "{lines:?}");
        assert_eq!(fetch(&imported, "one").unwrap(), "one");
        // A blob with the digest that was promised, but of another layer.
        assert_eq!(imported.forget_failed(Some(Digest::of("two"))).len(), 1);
        assert_eq!(imported.forget_failed(Some(Digest::of("two"))).len(), 1);
        assert!(imported.step(Digest::of("two")).is_none());
        assert!(imported.alias(Digest::of("quick two")).is_none());
        assert!(imported.alias(Digest::of("quick one")).is_some());
        assert!(imported.forget_failed(Some(Digest::of("two"))).is_empty());
    }
}
