//! Representations of layers on demand: a table of contents, a directory, the content of files, the blob.
//!
//! Each is made when somebody needs it and not before, once across threads and processes, from whatever the store has;
//! a base's layer is fetched only if the store has nothing of it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::LayerError;
use super::state::{LayerHandle, State};
use crate::fsio::{self, PipeError, Stoppable, pipe};
use crate::layer::{
    self, ContentSource, Decompressor, DirectoryWriter, Markers, Privileges, Stack, Toc,
};
use crate::oci::{Descriptor, Digest, Hasher};
use crate::sandbox::Cancel;
use crate::store::{LayerForm, Lock, NewLayer, Store, StoreError, VerifyingReader, footprint};

/// Layers that are prepared at the same time.
const PARALLEL: usize = 4;

/// Makes representations of layers.
#[derive(Debug)]
pub struct Layers<'a> {
    store: &'a Store,
    privileges: Privileges,
    tocs: Mutex<BTreeMap<Digest, Arc<Toc>>>,
    /// The user's wish to stop: fetching and unpacking end with it.
    cancel: Cancel,
}

type Result<T> = std::result::Result<T, LayerError>;

impl<'a> Layers<'a> {
    /// Over a store.
    #[must_use]
    pub fn new(store: &'a Store, privileges: Privileges, cancel: Cancel) -> Self {
        Self {
            store,
            privileges,
            cancel,
            tocs: Mutex::new(BTreeMap::new()),
        }
    }

    /// Waits for a lock of the store, unless nobody wants what it is for any more.
    fn lock(&self, kind: &str, what: Digest) -> Result<Lock> {
        let is_stopped = || self.cancel.is_cancelled();
        self.store
            .lock_unless(kind, what, is_stopped)
            .map_err(unless_stopped)
    }

    /// The table of contents of a layer.
    ///
    /// # Errors
    /// The layer cannot be fetched or is not what it should be; the disk.
    pub fn toc(&self, layer: &LayerHandle) -> Result<Arc<Toc>> {
        self.prepared(layer, false)
    }

    /// A layer that was just made: its table of contents need not be read back.
    pub fn remember(&self, diff_id: Digest, toc: Arc<Toc>) {
        self.tocs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(diff_id, toc);
    }

    /// A state as a file system.
    ///
    /// # Errors
    /// As [`Layers::toc`].
    pub fn stack(&self, state: &State) -> Result<Stack> {
        let layers = state.layers();
        self.prepare_all(&layers, false)?;
        Ok(Stack::new(
            layers
                .iter()
                .map(|layer| self.toc(layer))
                .collect::<Result<_>>()?,
        ))
    }

    /// The overlay lower directories of a state, topmost first. Layers without entries have none.
    ///
    /// # Errors
    /// As [`Layers::toc`].
    pub fn directories(&self, state: &State) -> Result<Vec<PathBuf>> {
        let directories = self.directory_of_each(state)?;
        Ok(directories.into_iter().rev().flatten().collect())
    }

    /// The directory of each layer of a state, the bottom one first. Layers without entries have none.
    ///
    /// # Errors
    /// As [`Layers::toc`].
    pub fn directory_of_each(&self, state: &State) -> Result<Vec<Option<PathBuf>>> {
        let layers = state.layers();
        self.prepare_all(&layers, true)?;
        let each = layers.iter().enumerate();
        each.map(|(index, layer)| self.directory(&layers[..index], layer))
            .collect()
    }

    /// Where the content of a layer's files can be read; the cheapest representation to have.
    ///
    /// # Errors
    /// As [`Layers::toc`].
    pub fn content(&self, layer: &LayerHandle) -> Result<ContentSource> {
        let diff_id = layer.diff_id;
        if let Some(directory) = self.store.layer_directory(diff_id, None) {
            return Ok(ContentSource::Directory(directory));
        }
        if let Some(tar) = self.store.layer_tar(diff_id) {
            return Ok(ContentSource::Tar(tar));
        }
        self.toc(layer)?;
        let _lock = self.lock("layer", diff_id)?;
        if let Some(tar) = self.store.layer_tar(diff_id) {
            return Ok(ContentSource::Tar(tar));
        }
        let scratch = self.store.scratch()?;
        let aside = scratch.path().join("tar");
        let mut tar = fsio::create(&aside)?;
        let (plain, blob) = self.plain(layer)?;
        let mut room = self.store.reserve(0)?;
        let mut plain = room.reader(VerifyingReader::new(plain, diff_id));
        pipe(&mut plain, &mut tar).map_err(|error| match error {
            PipeError::Read(source) => {
                self.unreadable(diff_id, blob, layer::Error::ReadTar { offset: 0, source })
            }
            PipeError::Write(source) => fsio::Error::new("write", &aside, source).into(),
        })?;
        self.store.add_tar(diff_id, &aside)?;
        let tar = self
            .store
            .layer_tar(diff_id)
            .ok_or(LayerError::Gone { diff_id })?;
        Ok(ContentSource::Tar(tar))
    }

    /// The uncompressed bytes of a layer, from a blob: one that is here, else the original of a base or a cache. A layer that has
    /// neither has nothing to fall back on: it is forgotten, so that the next build makes it again.
    /// Gives the digest of the blob, too.
    fn plain(&self, layer: &LayerHandle) -> Result<(Box<dyn Read + Send>, Digest)> {
        let here = self.store.any_compressed(layer.diff_id);
        let digest = match (&layer.remote, here) {
            (Some(remote), here) if here.is_none() || self.store.has_blob(&remote.blob) => {
                let is_stopped = || self.cancel.is_cancelled();
                self.store
                    .fetch(remote, is_stopped)
                    .map_err(unless_stopped)?;
                remote.blob.digest
            }
            (_, Some(blob)) => blob.digest,
            (_, None) => {
                self.store.forget_layer(layer.diff_id);
                return Err(LayerError::Gone {
                    diff_id: layer.diff_id,
                });
            }
        };
        let blob = self.store.open_blob_file(digest)?;
        let plain = Decompressor::new(blob)
            .map_err(|error| self.unreadable(layer.diff_id, digest, error))?;
        let cancel = self.cancel.clone();
        let plain = Stoppable::new(plain, move || cancel.is_cancelled());
        Ok((Box::new(plain), digest))
    }

    /// A layer that could not be read from its blob. If that is because the blob is damaged, it is forgotten: it can be had again.
    fn unreadable(&self, diff_id: Digest, blob: Digest, source: layer::Error) -> LayerError {
        if source.is_damage() && !self.cancel.is_cancelled() {
            self.store.forget_blob(blob);
        }
        LayerError::Format { diff_id, source }
    }

    fn prepare_all(&self, layers: &[Arc<LayerHandle>], directory: bool) -> Result<()> {
        let todo: Vec<&Arc<LayerHandle>> = layers
            .iter()
            .filter(|layer| !self.is_prepared(layer, directory))
            .collect();
        for batch in todo.chunks(PARALLEL) {
            std::thread::scope(|scope| {
                let threads: Vec<_> = batch
                    .iter()
                    .map(|layer| scope.spawn(|| self.prepared(layer, directory).map(drop)))
                    .collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| match thread.join() {
                        Ok(result) => result,
                        Err(panic) => std::panic::resume_unwind(panic),
                    })
            })?;
        }
        Ok(())
    }

    fn is_prepared(&self, layer: &LayerHandle, directory: bool) -> bool {
        let known = self
            .tocs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&layer.diff_id);
        let there = known || (layer.remote.is_none() && self.store.has_layer(layer.diff_id));
        there && (!directory || self.store.layer_directory(layer.diff_id, None).is_some())
    }

    /// The table of contents; with `directory` the layer is unpacked in the same pass if it has to be fetched anyway.
    fn prepared(&self, layer: &LayerHandle, directory: bool) -> Result<Arc<Toc>> {
        let diff_id = layer.diff_id;
        if let Some(toc) = self
            .tocs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&diff_id)
        {
            return Ok(Arc::clone(toc));
        }
        let toc = match self.store.toc(diff_id) {
            Some(toc) => toc,
            None => {
                let _lock = self.lock("layer", diff_id)?;
                match self.store.toc(diff_id) {
                    Some(toc) => toc,
                    None => self.take_apart(layer, directory)?,
                }
            }
        };
        let toc = Arc::new(toc);
        self.remember(diff_id, Arc::clone(&toc));
        Ok(toc)
    }

    /// Reads a base's layer once from end to end.
    fn take_apart(&self, layer: &LayerHandle, directory: bool) -> Result<Toc> {
        let diff_id = layer.diff_id;
        let broken = |source| LayerError::Format { diff_id, source };
        let (plain, blob) = self.plain(layer)?;
        let mut room = self.store.reserve(0)?;
        let scratch = self.store.scratch()?;
        let root = scratch.path().join("dir");
        let writer = if directory {
            fsio::create_dir(&root)?;
            Some(DirectoryWriter::new(&root, self.privileges).map_err(broken)?)
        } else {
            None
        };
        let read = match writer {
            // Only the directory takes room.
            Some(writer) => layer::read_tar(room.reader(plain), Markers::Removals, Some(writer)),
            None => layer::read_tar(plain, Markers::Removals, None),
        };
        let read = read.map_err(|error| self.unreadable(diff_id, blob, error))?;
        if directory {
            // Many small files take more than their bytes.
            let sizes = read.toc.entries().iter().map(layer::Entry::size);
            room.grow_to(footprint(sizes))?;
        }
        if read.diff_id != diff_id {
            return Err(LayerError::WrongContent {
                diff_id,
                found: read.diff_id,
            });
        }
        // A layer that needs those below it is unpacked again for each chain it is in.
        let form = if directory && !read.toc.needs_lower() {
            LayerForm::Directory(&root)
        } else {
            LayerForm::Contents
        };
        self.store.publish_layer(&NewLayer {
            diff_id,
            toc: &read.toc,
            form,
        })?;
        self.keep_compression(layer)?;
        Ok(read.toc)
    }

    /// A blob that came from a cache, and turned out to be the layer, need not be compressed again.
    fn keep_compression(&self, layer: &LayerHandle) -> Result<()> {
        let Some(blob) = layer.blob().filter(|blob| self.store.has_blob(blob)) else {
            return Ok(());
        };
        let Some(compression) = blob.compression() else {
            return Ok(());
        };
        let plain = Descriptor::new(&blob.media_type, blob.digest, blob.size);
        let kept = self
            .store
            .put_compressed(layer.diff_id, compression, &plain);
        Ok(kept?)
    }

    fn directory(
        &self,
        below: &[Arc<LayerHandle>],
        layer: &LayerHandle,
    ) -> Result<Option<PathBuf>> {
        let diff_id = layer.diff_id;
        let toc = self.toc(layer)?;
        if toc.is_empty() {
            return Ok(None);
        }
        let chain = toc.needs_lower().then(|| chain_of(below));
        if let Some(directory) = self.store.layer_directory(diff_id, chain) {
            return Ok(Some(directory));
        }
        let content = self.content(layer)?;
        let _lock = self.lock("directory", diff_id)?;
        if let Some(directory) = self.store.layer_directory(diff_id, chain) {
            return Ok(Some(directory));
        }
        let broken = |source| LayerError::Format { diff_id, source };
        let scratch = self.store.scratch()?;
        let root = scratch.path().join("dir");
        fsio::create_dir(&root)?;
        let sizes = toc.entries().iter().map(layer::Entry::size);
        let _room = self.store.reserve(footprint(sizes))?;
        layer::write_directory(&toc, &root, self.privileges, |entry| {
            let cancel = self.cancel.clone();
            let file = Stoppable::new(content.open(entry)?, move || cancel.is_cancelled());
            Ok(Box::new(file) as Box<dyn Read + Send>)
        })
        .map_err(broken)?;
        if chain.is_some() {
            let stack = Stack::new(
                below
                    .iter()
                    .map(|layer| self.toc(layer))
                    .collect::<Result<_>>()?,
            );
            let sources = below
                .iter()
                .map(|layer| self.content(layer))
                .collect::<Result<Vec<_>>>()?;
            layer::settle(&toc, &root, self.privileges, &stack, &sources).map_err(broken)?;
        }
        self.store.add_directory(diff_id, chain, &root)?;
        self.store
            .layer_directory(diff_id, chain)
            .map(Some)
            .ok_or(LayerError::Gone { diff_id })
    }
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped(error: StoreError) -> LayerError {
    match error {
        StoreError::Stopped => LayerError::Stopped,
        error => error.into(),
    }
}

fn chain_of(layers: &[Arc<LayerHandle>]) -> Digest {
    let mut hasher = Hasher::new("chain");
    layers
        .iter()
        .for_each(|layer| hasher.field(layer.diff_id.as_bytes()));
    hasher.finish()
}

/// Opens a file of an image or tree, links followed inside it. Nothing, if there is no such file.
///
/// # Errors
/// Its layers cannot be had.
pub fn open_file(
    store: &Store,
    base: &crate::oci::BaseImage,
    path: &std::path::Path,
) -> Result<Option<Box<dyn Read + Send>>> {
    let layers = Layers::new(store, Privileges::OneId, Cancel::new());
    let state = State::of_base(base);
    let stack = layers.stack(&state)?;
    let found = stack.resolve(path, true).ok().and_then(|end| end.found);
    let Some(file) = found.and_then(|found| stack.content_of(found)) else {
        return Ok(None);
    };
    let below = state.layers();
    let (Some(layer), true) = (
        below.get(file.layer),
        matches!(file.entry.kind, layer::EntryKind::File { .. }),
    ) else {
        return Ok(None);
    };
    let broken = |source| LayerError::Format {
        diff_id: layer.diff_id,
        source,
    };
    let content = layers.content(layer)?;
    content.open(file.entry).map(Some).map_err(broken)
}
