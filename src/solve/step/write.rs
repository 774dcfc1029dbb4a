//! From a draft to a layer in the store: as a tar if only exporters need it, as a directory if a RUN will.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;

use super::super::error::StepError;
use super::copy::CopyError;
use super::draft::Drafted;
use super::tree::{Content, Identity};
use super::{Made, Worker};
use crate::fsio;
use crate::layer::{self, DirectoryWriter, EntryKind, Layer, TarWriter};
use crate::plan::StepId;
use crate::store::{LayerForm, NewLayer, footprint};

type Open<'o> = dyn Fn(&Content) -> Result<Box<dyn Read + Send>, StepError> + 'o;

/// Writes the layer of a step and publishes it.
pub(super) fn write_layer(
    worker: &Worker<'_>,
    id: StepId,
    entries: Vec<Drafted>,
    open: &Open<'_>,
) -> Result<Made, StepError> {
    write_layer_as(worker, worker.wants_directory[id.0], entries, open)
}

/// Writes a layer, as a directory or as a tar, and publishes it.
pub(super) fn write_layer_as(
    worker: &Worker<'_>,
    directory: bool,
    mut entries: Vec<Drafted>,
    open: &Open<'_>,
) -> Result<Made, StepError> {
    link_names(&mut entries);
    let store = worker.environment.store;
    let scratch = store.scratch()?;
    let path = scratch.path().join("layer");
    let sizes = entries.iter().map(|drafted| drafted.entry.size());
    let _room = store.reserve(match directory {
        true => footprint(sizes),
        // One file; each entry has its header and is filled up.
        false => sizes.map(|size| size.saturating_add(1024)).sum(),
    })?;
    let (layer, form) = if entries.is_empty() {
        (
            TarWriter::new(io::sink())
                .finish()
                .map_err(CopyError::Write)?
                .0,
            LayerForm::Contents,
        )
    } else if directory {
        let layer = as_directory(worker, &path, &entries, open);
        let layer = layer.map_err(|error| damage_of_source(&entries, error));
        (unless_stopped(worker, layer)?, LayerForm::Directory(&path))
    } else {
        let layer = as_tar(worker, &path, &entries, open);
        let layer = layer.map_err(|error| damage_of_source(&entries, error));
        (unless_stopped(worker, layer)?, LayerForm::Tar(&path))
    };
    verify(&entries, &layer)?;
    store.publish_layer(&NewLayer {
        diff_id: layer.diff_id,
        toc: &layer.toc,
        form,
    })?;
    Ok(Made {
        layer,
        resources: None,
    })
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped<T>(worker: &Worker<'_>, result: Result<T, StepError>) -> Result<T, StepError> {
    result.map_err(|error| match worker.environment.cancel.is_cancelled() {
        true => StepError::Cancelled,
        false => error,
    })
}

/// A file of a layer that is longer or shorter than its table says is that layer's damage.
fn damage_of_source(entries: &[Drafted], error: StepError) -> StepError {
    let StepError::Copy(CopyError::Write(
        layer::Error::ContentSize { path, .. } | layer::Error::ReadContent { path, .. },
    )) = &error
    else {
        return error;
    };
    let drafted = entries.iter().find(|drafted| drafted.entry.path == *path);
    match drafted.and_then(|drafted| drafted.content.as_ref()) {
        Some(Content::Layer(layer, source)) => CopyError::Damaged {
            path: source.path.clone(),
            layer: layer.diff_id,
        }
        .into(),
        _ => error,
    }
}

/// What was copied from a state must be what the state's table of contents says: a damaged layer must not get into others.
fn verify(entries: &[Drafted], layer: &Layer) -> Result<(), StepError> {
    for drafted in entries {
        let Some(Content::Layer(layer_of, source)) = &drafted.content else {
            continue;
        };
        let EntryKind::File {
            digest: expected, ..
        } = source.kind
        else {
            continue;
        };
        let copied = layer.toc.get(&drafted.entry.path).map(|entry| &entry.kind);
        if let Some(EntryKind::File { digest, .. }) = copied
            && *digest != expected
        {
            return Err(CopyError::Damaged {
                path: source.path.clone(),
                layer: layer_of.diff_id,
            }
            .into());
        }
    }
    Ok(())
}

/// Names of one file become hard links to the first of them.
fn link_names(entries: &mut [Drafted]) {
    let mut first: BTreeMap<(usize, Identity), PathBuf> = BTreeMap::new();
    for drafted in entries {
        let Some(identity) = drafted.identity.clone() else {
            continue;
        };
        match first.get(&identity) {
            Some(target) => {
                drafted.entry.kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                drafted.content = None;
            }
            None => {
                first.insert(identity, drafted.entry.path.clone());
            }
        }
    }
}

fn as_tar(
    worker: &Worker<'_>,
    path: &std::path::Path,
    entries: &[Drafted],
    open: &Open<'_>,
) -> Result<Layer, StepError> {
    let mut tar = TarWriter::new(fsio::create(path)?);
    for drafted in entries {
        match content(worker, drafted, open)? {
            Some(mut reader) => tar.append(drafted.entry.clone(), Some(&mut reader)),
            None => tar.append(drafted.entry.clone(), None),
        }
        .map_err(CopyError::Write)?;
    }
    Ok(tar.finish().map_err(CopyError::Write)?.0)
}

/// The directory is written first; its files, fresh in memory, are then hashed into the layer's identity.
pub(super) fn as_directory(
    worker: &Worker<'_>,
    path: &std::path::Path,
    entries: &[Drafted],
    open: &Open<'_>,
) -> Result<Layer, StepError> {
    fsio::create_dir(path)?;
    let mut writer =
        DirectoryWriter::new(path, worker.environment.privileges).map_err(CopyError::Write)?;
    for drafted in entries {
        let entry = &drafted.entry;
        match content(worker, drafted, open)? {
            Some(mut reader) => writer.put(&entry.path, entry, Some(&mut reader)),
            None => writer.put(&entry.path, entry, None),
        }
        .map_err(CopyError::Write)?;
    }
    let mut tar = TarWriter::new(io::sink());
    for drafted in entries {
        if matches!(drafted.entry.kind, EntryKind::File { .. }) {
            let file = fsio::open(path.join(&drafted.entry.path))?;
            let mut file = worker.stoppable(file);
            tar.append(drafted.entry.clone(), Some(&mut file))
                .map_err(CopyError::Write)?;
        } else {
            tar.append(drafted.entry.clone(), None)
                .map_err(CopyError::Write)?;
        }
    }
    let (layer, _) = tar.finish().map_err(CopyError::Write)?;
    writer.finish(&layer.toc).map_err(CopyError::Write)?;
    Ok(layer)
}

/// The content of a file, which ends when the user wants to stop.
fn content<'w>(
    worker: &'w Worker<'_>,
    drafted: &Drafted,
    open: &Open<'_>,
) -> Result<Option<impl Read + 'w>, StepError> {
    let reader: Box<dyn Read + Send> = match (&drafted.entry.kind, &drafted.content) {
        (EntryKind::File { .. }, Some(content)) => open(content)?,
        (EntryKind::File { .. }, None) => Box::new(io::empty()),
        _ => return Ok(None),
    };
    Ok(Some(worker.stoppable(reader)))
}
