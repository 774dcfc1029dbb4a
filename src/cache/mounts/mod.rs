//! Folders of cache mounts, saved to and restored from a place outside this machine, as chunks: only what is new moves.
//!
//! A folder is filled before the first step that uses it, if there is nothing in it here, and saved after a build that used it.
//! Nothing here fails a build: what goes wrong is said.

mod document;
mod restore;
mod save;
mod spec;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use spec::MountsSpec;

use super::backend::{self, Backend, Upload};
use super::{CacheError, Means, size};
use crate::fsio;
use crate::layer::Privileges;
use crate::oci::{Descriptor, Digest};
use crate::registry::PushBlob;
use crate::solve::{Restored, SavedMounts};
use document::Saved;
use save::{LeftOut, Snapshot};
use tree::Tree;

/// The places of a build that folders are restored from.
#[derive(Debug)]
pub struct Mounts {
    means: Means,
    privileges: Privileges,
    places: Vec<OpenPlace>,
    /// Folders that were asked for: only before its first use may one be filled.
    seen: Mutex<BTreeSet<String>>,
}

/// A place, opened when the first folder is asked for.
#[derive(Debug)]
struct OpenPlace {
    spec: MountsSpec,
    read: OnceLock<Result<(Backend, Saved), Arc<CacheError>>>,
}

impl Mounts {
    /// Nothing is asked of the places yet.
    #[must_use]
    pub fn new(means: Means, specs: &[MountsSpec], privileges: Privileges) -> Self {
        let restoring = specs.iter().filter(|spec| spec.restore);
        let place = |spec: &MountsSpec| OpenPlace {
            spec: spec.clone(),
            read: OnceLock::new(),
        };
        Self {
            means,
            privileges,
            places: restoring.map(place).collect(),
            seen: Mutex::default(),
        }
    }

    /// Fills a folder from a place; gives what there is to say, or nothing if the place does not have it.
    fn restore_from(
        &self,
        place: &OpenPlace,
        id: &str,
        folder: &Path,
    ) -> Result<Option<String>, Arc<CacheError>> {
        let read = place.read.get_or_init(|| {
            let backend = backend::open(&place.spec.place, &self.means)?;
            match saved_at(&backend, &self.means) {
                Ok(saved) => Ok((backend, saved)),
                Err(error) => Err(Arc::new(error)),
            }
        });
        let (backend, saved) = read.as_ref().map_err(Arc::clone)?;
        let Some(saved) = saved.get(id) else {
            return Ok(None);
        };
        if let Some(max) = place.spec.max.filter(|max| saved.bytes > *max) {
            let (has, max) = (size(saved.bytes), size(max));
            return Err(Arc::new(CacheError::Mount {
                id: id.to_owned(),
                reason: format!("it has {has}, and the limit is {max}"),
            }));
        }
        let restore = || {
            // For the folder, and for its packs until it is made.
            let packs = saved.packs.iter().map(|pack| pack.size);
            let bytes = packs.fold(saved.bytes, u64::saturating_add);
            let _room = self.means.store.reserve(bytes)?;
            let scratch = self.means.store.scratch()?;
            let stop = self.means.client.stop();
            let source = backend.source();
            let what = (id, saved);
            let work = (scratch.path(), stop);
            restore::restore(&*source, what, self.privileges, folder, work)
        };
        let fetched = restore()?;
        let owners = match self.privileges {
            Privileges::OneId => ", all of it yours: owners cannot be set without root",
            _ => "",
        };
        let (all, fetched) = (size(saved.bytes), size(fetched));
        Ok(Some(format!("{id}: {all}, {fetched} fetched{owners}")))
    }
}

impl SavedMounts for Mounts {
    fn restore(&self, id: &str, folder: &Path) -> Restored {
        let mut restored = Restored::default();
        let first = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(id.to_owned())
        };
        for place in self
            .places
            .iter()
            .filter(|place| first && place.spec.is_about(id))
        {
            match self.restore_from(place, id, folder) {
                Ok(Some(line)) => {
                    restored.line = Some(line);
                    return restored;
                }
                Ok(None) => {}
                Err(error) => {
                    let _gone = fsio::remove_tree(folder);
                    let (from, why) = (&place.spec.place, fsio::with_causes(&*error));
                    let text = format!("cache mount {id} was not restored from {from}: {why}");
                    restored.warnings.push(text);
                }
            }
        }
        restored
    }
}

/// What a place has; nothing if it was never written.
fn saved_at(backend: &Backend, means: &Means) -> Result<Saved, CacheError> {
    match backend.read(means) {
        Ok(stored) => stored
            .first()
            .map_or_else(|| Ok(Saved::new()), document::parse),
        Err(CacheError::Absent(_)) => Ok(Saved::new()),
        Err(error) => Err(error),
    }
}

/// What came of saving folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// A line for each folder that was saved.
    pub lines: Vec<String>,
    /// Why others were not.
    pub warnings: Vec<String>,
}

/// Saves folders, by id, to a place. Others that the place has stay.
///
/// # Errors
/// The place cannot be read or written.
pub fn save(
    means: &Means,
    spec: &MountsSpec,
    folders: &BTreeMap<String, PathBuf>,
    privileges: Privileges,
) -> Result<Moved, CacheError> {
    let backend = backend::open(&spec.place, means)?;
    let saved = saved_at(&backend, means)?;
    let saving = Saving {
        means,
        spec,
        folders,
        privileges,
        backend: &backend,
        lost: Arc::default(),
    };
    match saving.run(saved) {
        // The place has lost a part of what it had. Then nothing of it can be relied on.
        Err(_) if saving.lost.load(Ordering::Relaxed) => saving.run(Saved::new()),
        result => result,
    }
}

/// A save under way.
struct Saving<'a> {
    means: &'a Means,
    spec: &'a MountsSpec,
    folders: &'a BTreeMap<String, PathBuf>,
    privileges: Privileges,
    backend: &'a Backend,
    /// Whether a blob of an earlier save could not be had.
    lost: Arc<AtomicBool>,
}

impl Saving<'_> {
    fn run(&self, mut saved: Saved) -> Result<Moved, CacheError> {
        let scratch = self.means.store.scratch()?;
        let mut moved = Moved::default();
        // What is new: trees in memory, packs in files.
        let mut trees: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        let mut packs: BTreeMap<Digest, PathBuf> = BTreeMap::new();
        for (number, (id, path)) in self.folders.iter().enumerate() {
            let work = scratch.path().join(number.to_string());
            fsio::create_dir(&work)?;
            let snapshot = match self.snapshot(id, path, &saved, &work) {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    let (to, why) = (&self.spec.place, fsio::with_causes(&error));
                    let text = format!("cache mount {id} was not saved to {to}: {why}");
                    moved.warnings.push(text);
                    continue;
                }
            };
            let before = saved.get(id).map(|before| before.tree.digest);
            moved.lines.push(line(id, &snapshot, before));
            if let Some(tree) = snapshot.tree {
                trees.insert(snapshot.saved.tree.digest, tree);
            }
            let files = snapshot.packs.into_iter();
            packs.extend(files.map(|(pack, path)| (pack.digest, path)));
            saved.insert(id.clone(), snapshot.saved);
        }
        let (manifest, config, layers) = document::to_documents(&saved);
        if !self.backend.is_current(Digest::of(&manifest), self.means) {
            let blobs = layers.iter().map(|blob| match trees.remove(&blob.digest) {
                Some(bytes) => PushBlob::from_bytes(&blob.media_type, bytes),
                None => self.outgoing(blob, packs.get(&blob.digest)),
            });
            let upload = Upload {
                blobs: blobs.collect(),
                config,
                manifest,
            };
            self.backend.write(self.means, &upload)?;
        }
        Ok(moved)
    }

    fn snapshot(
        &self,
        id: &str,
        path: &Path,
        saved: &Saved,
        work: &Path,
    ) -> Result<Snapshot, CacheError> {
        let before = saved.get(id).and_then(|before| {
            let bytes = restore::tree_bytes(&*self.backend.source(), before).ok()?;
            Some((before, Tree::decode(&bytes, id).ok()?))
        });
        let before = before.as_ref().map(|(saved, tree)| (*saved, tree));
        let work = (work, self.means.client.stop());
        save::snapshot(path, self.privileges, self.spec.max, before, work)
    }

    /// A pack that is new, or a blob that the place has had before.
    fn outgoing(&self, blob: &Descriptor, file: Option<&PathBuf>) -> PushBlob {
        let (file, source, lost) = (file.cloned(), self.backend.source(), Arc::clone(&self.lost));
        let descriptor = blob.clone();
        PushBlob {
            descriptor: blob.clone(),
            mount_from: None,
            open: Arc::new(move || match &file {
                Some(file) => Ok(Box::new(fsio::open(file).map_err(io::Error::other)?)),
                None => source.open_blob(&descriptor).map_err(|error| {
                    lost.store(true, Ordering::Relaxed);
                    io::Error::other(error)
                }),
            }),
        }
    }
}

/// What moved: `gocache: 412 MB, 9 MB sent`.
fn line(id: &str, snapshot: &Snapshot, before: Option<Digest>) -> String {
    let packs = snapshot.packs.iter().map(|(pack, _)| pack.size);
    let tree = match before == Some(snapshot.saved.tree.digest) {
        true => 0,
        false => snapshot.saved.tree.size,
    };
    let sent = packs.fold(tree, u64::saturating_add);
    let mut line = format!("{id}: {}, {} sent", size(snapshot.saved.bytes), size(sent));
    let LeftOut { changing, above } = snapshot.left_out;
    if changing > 0 {
        line.push_str(&format!(
            "; {changing} files left out that changed or could not be read"
        ));
    }
    if above.0 > 0 {
        let bytes = size(above.1);
        line.push_str(&format!(
            "; {} files ({bytes}) left out above the limit",
            above.0
        ));
    }
    line
}
