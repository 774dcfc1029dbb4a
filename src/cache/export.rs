//! What a build knows, for others: its steps' records and layers, sent to a place that does not have them yet.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::backend::{self, Sent, Upload};
use super::document::Records;
use super::place::Place;
use super::spec::{ExportSpec, Mode};
use super::{CacheError, Means};
use crate::export::{self, ExportError, ExportLayer, OutputSpec};
use crate::oci::{Descriptor, Digest, LayerSource, Reference};
use crate::registry::PushBlob;
use crate::store::StepRecord;

/// Layers that are compressed at the same time.
const PARALLEL: usize = 4;

/// A step that was part of a build, whether it ran or the cache had it.
#[derive(Clone, Debug)]
pub struct BuiltStep {
    /// What is known of it; nothing if others must not find it.
    pub record: Option<StepRecord>,
    /// The quick key that leads to it.
    pub quick: Option<Digest>,
    /// Its layer.
    pub layer: ExportLayer,
    /// Whether its layer is one of the image's.
    pub in_image: bool,
}

/// What came of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records that the cache has now.
    pub records: usize,
    /// Steps that are not in it because their layer is damaged or gone.
    pub left_out: usize,
    /// What was sent; nothing at all if the cache was the same before.
    pub sent: Option<Sent>,
}

/// Writes a cache. `usual` is how the image's layers are compressed, `pushed` are the names under which the image was pushed.
///
/// # Errors
/// The place cannot be written; the local store.
pub fn export(
    means: &Means,
    (spec, place): (&ExportSpec, &Place),
    steps: &[BuiltStep],
    usual: &OutputSpec,
    pushed: &[Reference],
) -> Result<Exported, CacheError> {
    let target = backend::open(place, means)?;
    let layers = spec.layers(usual);
    // A level of another compression than the flag names was refused when it was read.
    let layers = layers.map_err(|_| CacheError::Form("the compression has no such level"))?;
    let mut records = Records::default();
    let mut remotes: BTreeMap<Digest, LayerSource> = BTreeMap::new();
    let mut exported = Exported::default();
    let wanted = |step: &&BuiltStep| spec.mode == Mode::Max || step.in_image;
    let wanted = steps.iter().filter(wanted);
    let wanted: Vec<(&BuiltStep, &StepRecord)> = wanted
        .filter_map(|step| Some((step, step.record.as_ref()?)))
        .collect();
    let blobs = blobs_of(means, &wanted, &layers);
    for ((step, record), blob) in wanted.into_iter().zip(blobs) {
        let blob = match blob {
            Ok(blob) => blob,
            Err(ExportError::Layer { .. } | ExportError::Gone { .. }) => {
                exported.left_out += 1;
                continue;
            }
            Err(error) => return Err(unless_stopped(means, error.into())),
        };
        let remote = step.layer.remote.as_ref();
        if let Some(remote) = remote.filter(|remote| remote.blob.digest == blob.digest) {
            remotes.insert(blob.digest, remote.clone());
        }
        records.steps.insert(record.key, (record.clone(), blob));
        if let Some(quick) = step.quick {
            records.aliases.insert(quick, record.key);
        }
    }
    exported.records = records.steps.len();
    let (manifest, config) = records.to_documents();
    if target.is_current(Digest::of(&manifest), means) {
        return Ok(exported);
    }
    let blobs = records.layers();
    let upload = Upload {
        blobs: blobs
            .values()
            .map(|blob| outgoing(means, blob, remotes.get(&blob.digest), pushed))
            .collect(),
        config,
        manifest,
    };
    exported.sent = Some(
        target
            .write(means, &upload)
            .map_err(|error| unless_stopped(means, error))?,
    );
    Ok(exported)
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped(means: &Means, error: CacheError) -> CacheError {
    match means.client.stop().is_requested() {
        true => CacheError::Stopped,
        false => error,
    }
}

/// The blobs of steps, several at a time: of a small layer most of the time is spent waiting for the disk.
fn blobs_of(
    means: &Means,
    steps: &[(&BuiltStep, &StepRecord)],
    spec: &OutputSpec,
) -> Vec<Result<Descriptor, ExportError>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut blobs = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((step, _)) = steps.get(index) else {
                return blobs;
            };
            blobs.push((index, blob_of(means, step, spec)));
        }
    };
    let mut blobs: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..steps.len().min(PARALLEL))
            .map(|_| scope.spawn(work))
            .collect();
        let joined = threads.into_iter().flat_map(|thread| {
            let blobs = thread.join();
            blobs.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        joined.collect()
    });
    blobs.sort_by_key(|(index, _)| *index);
    blobs.into_iter().map(|(_, blob)| blob).collect()
}

/// The blob of a step's layer. One that another cache has stays as it is.
fn blob_of(means: &Means, step: &BuiltStep, spec: &OutputSpec) -> Result<Descriptor, ExportError> {
    match &step.layer.remote {
        Some(remote) if !spec.force_compression => Ok(remote.blob.clone()),
        _ => {
            let blob = export::layer_blob(&means.store, &step.layer, spec, means.client.stop())?;
            Ok(blob.compressed_as(&spec.compression_name()))
        }
    }
}

/// A blob on its way. Fetched first if only another cache has it, and the place turns out not to.
fn outgoing(
    means: &Means,
    blob: &Descriptor,
    remote: Option<&LayerSource>,
    pushed: &[Reference],
) -> PushBlob {
    let repository = remote.and_then(|remote| remote.source.repository());
    let owned = |(registry, repository): (&str, &str)| (registry.to_owned(), repository.to_owned());
    let image = || {
        pushed
            .first()
            .map(|name| (name.registry(), name.repository()))
    };
    let (store, digest, remote) = (Arc::clone(&means.store), blob.digest, remote.cloned());
    let stop = means.client.stop().clone();
    PushBlob {
        descriptor: blob.clone(),
        mount_from: repository.or_else(image).map(owned),
        open: Arc::new(move || {
            if let Some(remote) = &remote {
                store
                    .fetch(remote, || stop.is_requested())
                    .map_err(io::Error::other)?;
            }
            let blob = store.open_blob_file(digest).map_err(io::Error::other)?;
            Ok(Box::new(blob))
        }),
    }
}
