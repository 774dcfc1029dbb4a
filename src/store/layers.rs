//! Layers on disk: a table of contents always, other representations when somebody made them.
//!
//! A layer gets its names at once when it is made, so that the next step can use it, and is *settled* when the disk has
//! it: [`Store::settle`] syncs. Records may point to it before; until then its table of contents is called `toc~<boot>`,
//! after the boot of the kernel that holds the rest in memory. A layer that is unsettled from another boot may be torn by
//! a power cut, and is absent. What is added to a layer later has a mark of its own, `new-<name>`, with the boot in it: if that is
//! another one, the addition counts as absent and the layer stays what it was.

use std::path::{Path, PathBuf};

use rustix::fs::syncfs;

use super::lease::Held;
use super::remove::Leased;
use super::{Store, StoreError, record};
use crate::fsio::{self, Context as _, Durability};
use crate::layer::Toc;
use crate::oci::{Descriptor, Digest};

/// Name of a table of contents once the disk has the layer.
const SETTLED: &str = "toc";

/// Before the name of a representation: the file that says in which boot it was added to a layer.
const MARK: &str = "new-";

/// The mark of a representation.
fn mark_of(form: &Path) -> PathBuf {
    let name = form.file_name().unwrap_or_default().to_string_lossy();
    form.with_file_name(format!("{MARK}{name}"))
}

/// A finished representation in a scratch folder, to be moved into the store.
#[derive(Clone, Debug)]
pub enum LayerForm<'a> {
    /// A folder that can be an overlay lower directory.
    Directory(&'a Path),
    /// The uncompressed tar.
    Tar(&'a Path),
    /// Nothing but the table of contents.
    Contents,
}

/// A layer to be published.
#[derive(Clone, Debug)]
pub struct NewLayer<'a> {
    /// Its identity.
    pub diff_id: Digest,
    /// What is in it.
    pub toc: &'a Toc,
    /// A representation that is there already.
    pub form: LayerForm<'a>,
}

impl Store {
    /// Whether a layer is here in any representation.
    #[must_use]
    pub fn has_layer(&self, diff_id: Digest) -> bool {
        self.toc_path(diff_id).is_some()
    }

    /// Where the table of contents of a layer is, if the layer can be relied on. From here on nobody removes it.
    fn toc_path(&self, diff_id: Digest) -> Option<PathBuf> {
        let held = self.leases.layers.hold(diff_id);
        if held == Held::No {
            return None;
        }
        let found = self.table(&self.paths.layer(diff_id))?;
        if held == Held::Now {
            // The time of the table says when the layer was used last. It is no harm if it cannot be set.
            let _touched = fsio::touch(&found);
        }
        Some(found)
    }

    /// The table of contents; `None` if the layer is not here or damaged (it is then forgotten).
    #[must_use]
    pub fn toc(&self, diff_id: Digest) -> Option<Toc> {
        let bytes = self.toc_bytes(diff_id)?;
        match Toc::decode(&bytes) {
            Ok(toc) => Some(toc),
            Err(_) => {
                self.forget_layer(diff_id);
                None
            }
        }
    }

    /// The table of contents in a layer's folder, if it can be relied on. It is not held, and does not count as used.
    pub(super) fn table(&self, folder: &Path) -> Option<PathBuf> {
        // Somebody may settle it meanwhile, and give it the name that was looked for first.
        let names = [SETTLED, &self.unsettled, SETTLED];
        let mut paths = names.map(|name| folder.join(name)).into_iter();
        paths.find(|path| fsio::symlink_metadata(path).is_ok())
    }

    /// The table of contents as it is on the disk.
    fn toc_bytes(&self, diff_id: Digest) -> Option<Vec<u8>> {
        let read = || fsio::read(self.toc_path(diff_id)?).ok();
        // Once more, if it was settled between looking and reading.
        read().or_else(read)
    }

    /// The layer as a folder. `chain` names the layers below for a layer whose implied directories depend on them.
    #[must_use]
    pub fn layer_directory(&self, diff_id: Digest, chain: Option<Digest>) -> Option<PathBuf> {
        self.toc_path(diff_id)?;
        self.form(self.directory_path(diff_id, chain))
    }

    fn directory_path(&self, diff_id: Digest, chain: Option<Digest>) -> PathBuf {
        let folder = self.paths.layer(diff_id);
        match chain {
            Some(chain) => folder.join(format!("dir-{}", chain.hex())),
            None => folder.join("dir"),
        }
    }

    /// The layer as an uncompressed tar, if it is here as one.
    #[must_use]
    pub fn layer_tar(&self, diff_id: Digest) -> Option<PathBuf> {
        self.toc_path(diff_id)?;
        self.form(self.paths.layer(diff_id).join("tar"))
    }

    /// A representation that is there and can be relied on: not one that was added before the machine went down, and perhaps
    /// never came to the disk.
    pub(super) fn form(&self, path: PathBuf) -> Option<PathBuf> {
        fsio::symlink_metadata(&path).ok()?;
        match fsio::read_if_there(mark_of(&path)) {
            Ok(None) => Some(path),
            Ok(Some(mark)) if mark.starts_with(self.unsettled.as_bytes()) => Some(path),
            _ => None,
        }
    }

    /// Moves a finished layer into the store. What was just made goes before what is here: nobody has looked at that since.
    ///
    /// # Errors
    /// The disk.
    pub fn publish_layer(&self, layer: &NewLayer<'_>) -> Result<(), StoreError> {
        let folder = self.paths.layer(layer.diff_id);
        // Two that make the same layer at once must not clear away each other's half.
        let _lock = self.lock("publish", layer.diff_id)?;
        let is_new = !self.has_layer(layer.diff_id);
        if is_new {
            self.forget_layer(layer.diff_id);
            fsio::create_dir_all(&folder)?;
        }
        let added = match layer.form {
            LayerForm::Directory(from) => Some((self.directory_path(layer.diff_id, None), from)),
            LayerForm::Tar(from) => Some((folder.join("tar"), from)),
            LayerForm::Contents => None,
        };
        if let Some((target, from)) = added {
            self.add_form(layer.diff_id, &target, from, is_new)?;
        }
        let bytes = layer.toc.encode()?;
        if self
            .toc_bytes(layer.diff_id)
            .is_some_and(|there| there == bytes)
        {
            return Ok(());
        }
        // What is not the same is damaged: the name of a settled one goes first.
        fsio::remove_file_if_there(folder.join(SETTLED))?;
        fsio::write_atomic(&folder.join(&self.unsettled), &bytes, Durability::Cached)?;
        Ok(())
    }

    /// Adds a folder to a layer that is here, in the place of one that is there already.
    ///
    /// # Errors
    /// The disk.
    pub fn add_directory(
        &self,
        diff_id: Digest,
        chain: Option<Digest>,
        from: &Path,
    ) -> Result<(), StoreError> {
        let _lock = self.lock("publish", diff_id)?;
        self.add_form(diff_id, &self.directory_path(diff_id, chain), from, false)
    }

    /// Adds an uncompressed tar to a layer that is here.
    ///
    /// # Errors
    /// The disk.
    pub fn add_tar(&self, diff_id: Digest, from: &Path) -> Result<(), StoreError> {
        let _lock = self.lock("publish", diff_id)?;
        self.add_form(diff_id, &self.paths.layer(diff_id).join("tar"), from, false)
    }

    /// Gives a representation its name. In a layer that is here already it is marked until the disk has it; of a new one the
    /// table comes last and says the same. The caller holds the layer's lock.
    fn add_form(
        &self,
        diff_id: Digest,
        target: &Path,
        from: &Path,
        is_new: bool,
    ) -> Result<(), StoreError> {
        if !is_new {
            let mark = format!("{} {}", self.unsettled, fsio::unique());
            fsio::write_atomic(&mark_of(target), mark.as_bytes(), Durability::Cached)?;
        }
        if fsio::symlink_metadata(target).is_err() {
            fsio::rename(from, target)?;
        } else {
            self.exchange_form(diff_id, target, from)?;
        }
        self.grew(target);
        Ok(())
    }

    /// Puts a representation in the place of another, on which steps of other processes may be standing.
    fn exchange_form(&self, diff_id: Digest, target: &Path, from: &Path) -> Result<(), StoreError> {
        // Already where the old one has to be, whatever happens between the two renames.
        let aside = self.place_of_retired(Leased::Layer, diff_id);
        fsio::rename(from, &aside)?;
        match fsio::exchange(&aside, target) {
            Ok(()) => Ok(()),
            // Some file systems cannot do both at once.
            Err(error) if error.source.kind() == std::io::ErrorKind::InvalidInput => {
                let old = self.place_of_retired(Leased::Layer, diff_id);
                fsio::rename(target, old)?;
                Ok(fsio::rename(aside, target)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes sure that the disk has everything published so far, and settles these layers.
    ///
    /// # Errors
    /// The disk.
    pub fn settle(&self, diff_ids: &[Digest]) -> Result<(), StoreError> {
        let folders = diff_ids.iter().map(|diff_id| self.paths.layer(*diff_id));
        let tables: Vec<PathBuf> = folders
            .map(|folder| folder.join(&self.unsettled))
            .filter(|path| fsio::symlink_metadata(path).is_ok())
            .collect();
        let marks: Vec<(Digest, PathBuf, Vec<u8>)> = diff_ids
            .iter()
            .flat_map(|diff_id| self.marks(*diff_id))
            .collect();
        if tables.is_empty() && marks.is_empty() {
            return Ok(());
        }
        let root = fsio::open(&self.root)?;
        syncfs(&root).context("sync", &self.root)?;
        for path in tables {
            match fsio::rename(&path, path.with_file_name(SETTLED)) {
                // Another process settled it at the same time.
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        for (diff_id, path, mark) in marks {
            let _lock = self.lock("publish", diff_id)?;
            // What was added since has another mark, and is perhaps not on the disk.
            if fsio::read_if_there(&path)?.is_some_and(|now| now == mark) {
                fsio::remove_file_if_there(path)?;
            }
        }
        Ok(())
    }

    /// The marks of representations that this boot added to a layer.
    fn marks(&self, diff_id: Digest) -> Vec<(Digest, PathBuf, Vec<u8>)> {
        let folder = self.paths.layer(diff_id);
        let names = fsio::read_dir_sorted(&folder).unwrap_or_default();
        let marks = names
            .iter()
            .filter(|name| name.as_encoded_bytes().starts_with(MARK.as_bytes()));
        marks
            .map(|name| folder.join(name))
            .filter_map(|path| Some((diff_id, fsio::read(&path).ok()?, path)))
            .filter(|(_, mark, _)| mark.starts_with(self.unsettled.as_bytes()))
            .map(|(diff_id, mark, path)| (diff_id, path, mark))
            .collect()
    }

    /// The descriptor of the layer's blob in a compression (`gzip-6`), if it was made and is here.
    #[must_use]
    pub fn compressed(&self, diff_id: Digest, compression: &str) -> Option<Descriptor> {
        let path = self
            .paths
            .layer(diff_id)
            .join(format!("blob-{compression}"));
        record::read(&path).filter(|descriptor| self.has_blob(descriptor))
    }

    /// A blob of the layer that is here, whatever its compression: unpacked it is the layer's tar.
    #[must_use]
    pub fn any_compressed(&self, diff_id: Digest) -> Option<Descriptor> {
        let names = fsio::read_dir_sorted(self.paths.layer(diff_id)).ok()?;
        names.iter().find_map(|name| {
            let compression = name.to_str()?.strip_prefix("blob-")?;
            self.compressed(diff_id, compression)
        })
    }

    /// Remembers the layer's blob in a compression.
    ///
    /// # Errors
    /// The disk.
    pub fn put_compressed(
        &self,
        diff_id: Digest,
        compression: &str,
        blob: &Descriptor,
    ) -> Result<(), StoreError> {
        let path = self
            .paths
            .layer(diff_id)
            .join(format!("blob-{compression}"));
        Ok(record::write(&path, blob, Durability::Cached)?)
    }

    /// Drops a damaged layer, so that it becomes a miss.
    pub fn forget_layer(&self, diff_id: Digest) {
        self.retire(Leased::Layer, diff_id, &self.paths.layer(diff_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::TarWriter;

    fn made(store: &Store) -> Digest {
        let (made, _) = TarWriter::new(std::io::sink()).finish().unwrap();
        store
            .publish_layer(&NewLayer {
                diff_id: made.diff_id,
                toc: &made.toc,
                form: LayerForm::Contents,
            })
            .unwrap();
        made.diff_id
    }

    fn add_tar(store: &Store, layer: Digest, content: &str) {
        let scratch = store.scratch().unwrap();
        let path = scratch.path().join("tar");
        std::fs::write(&path, content).unwrap();
        store.add_tar(layer, &path).unwrap();
    }

    /// The same store after the machine went down.
    fn after_reboot(folder: &Path) -> Store {
        let mut store = Store::open(folder).unwrap();
        store.unsettled = "toc~another-boot".to_owned();
        store
    }

    #[test]
    fn a_reboot_costs_what_the_disk_may_not_have_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let layer = made(&store);
        assert!(
            !after_reboot(folder.path()).has_layer(layer),
            "never settled"
        );
        store.settle(&[layer]).unwrap();
        assert!(after_reboot(folder.path()).has_layer(layer));
        add_tar(&store, layer, "torn");
        assert!(store.layer_tar(layer).is_some());
        let later = after_reboot(folder.path());
        assert!(later.has_layer(layer), "it was settled before");
        assert_eq!(later.layer_tar(layer), None);
        add_tar(&later, layer, "whole");
        let tar = later.layer_tar(layer).unwrap();
        assert_eq!(fsio::read(&tar).unwrap(), b"whole");
        later.settle(&[layer]).unwrap();
        assert_eq!(store.layer_tar(layer), Some(tar));
        let names = fsio::read_dir_sorted(folder.path().join("v1/layers").join(layer.hex()));
        assert_eq!(names.unwrap(), ["tar", "toc"]);
    }

    #[test]
    fn what_comes_later_goes_before_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let layer = made(&store);
        for content in ["one", "two"] {
            let scratch = store.scratch().unwrap();
            let root = scratch.path().join("dir");
            fsio::create_dir(&root).unwrap();
            std::fs::write(root.join("file"), content).unwrap();
            store.add_directory(layer, None, &root).unwrap();
            let directory = store.layer_directory(layer, None).unwrap();
            assert_eq!(
                fsio::read(directory.join("file")).unwrap(),
                content.as_bytes()
            );
        }
        // The old one is kept while this process may stand on it.
        let gone = || {
            fsio::read_dir_sorted(folder.path().join("v1/gone"))
                .unwrap()
                .len()
        };
        store.sweep();
        assert_eq!(gone(), 1);
        drop(store);
        Store::open(folder.path()).unwrap().sweep();
        assert_eq!(gone(), 0);
    }
}
