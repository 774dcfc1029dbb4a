//! Layers on disk: a table of contents always, other representations when somebody made them.
//!
//! A layer gets its names at once when it is made, so that the next step can use it, and is *settled* when the disk has
//! it: [`Store::settle`] syncs. Records may point to it before; until then its table of contents is called `toc~<boot>`,
//! after the boot of the kernel that holds the rest in memory. A layer that is unsettled from another boot may be torn by
//! a power cut, and is absent.

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
        let folder = self.paths.layer(diff_id);
        let candidates = [folder.join(SETTLED), folder.join(&self.unsettled)];
        let found = candidates
            .into_iter()
            .find(|path| fsio::symlink_metadata(path).is_ok())?;
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

    /// The table of contents as it is on the disk.
    pub(super) fn toc_bytes(&self, diff_id: Digest) -> Option<Vec<u8>> {
        fsio::read(self.toc_path(diff_id)?).ok()
    }

    /// The layer as a folder. `chain` names the layers below for a layer whose implied directories depend on them.
    #[must_use]
    pub fn layer_directory(&self, diff_id: Digest, chain: Option<Digest>) -> Option<PathBuf> {
        self.toc_path(diff_id)?;
        let path = self.directory_path(diff_id, chain);
        fsio::symlink_metadata(&path).is_ok().then_some(path)
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
        let path = self.paths.layer(diff_id).join("tar");
        fsio::symlink_metadata(&path).is_ok().then_some(path)
    }

    /// Moves a finished layer into the store. What was just made goes before what is here: nobody has looked at that since.
    ///
    /// # Errors
    /// The disk.
    pub fn publish_layer(&self, layer: &NewLayer<'_>) -> Result<(), StoreError> {
        let folder = self.paths.layer(layer.diff_id);
        // Two that make the same layer at once must not clear away each other's half.
        let _lock = self.lock("publish", layer.diff_id)?;
        if !self.has_layer(layer.diff_id) {
            self.forget_layer(layer.diff_id);
            fsio::create_dir_all(&folder)?;
        }
        match layer.form {
            LayerForm::Directory(from) => self.add_directory(layer.diff_id, None, from)?,
            LayerForm::Tar(from) => self.add_tar(layer.diff_id, from)?,
            LayerForm::Contents => {}
        }
        let bytes = layer.toc.encode()?;
        if self
            .toc_bytes(layer.diff_id)
            .is_some_and(|there| there == bytes)
        {
            return Ok(());
        }
        self.unsettle(layer.diff_id)?;
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
        self.unsettle(diff_id)?;
        let target = self.directory_path(diff_id, chain);
        match fsio::exchange(from, &target) {
            // Steps may be standing on the other one.
            Ok(()) => self.retire(Leased::Layer, diff_id, from),
            Err(error) if error.is_not_found() => fsio::rename(from, &target)?,
            Err(error) => return Err(error.into()),
        }
        self.grew(&target);
        Ok(())
    }

    /// Adds an uncompressed tar to a layer that is here.
    ///
    /// # Errors
    /// The disk.
    pub fn add_tar(&self, diff_id: Digest, from: &Path) -> Result<(), StoreError> {
        self.unsettle(diff_id)?;
        let target = self.paths.layer(diff_id).join("tar");
        fsio::rename(from, &target)?;
        self.grew(&target);
        Ok(())
    }

    /// What is added to a layer is not on the disk yet.
    fn unsettle(&self, diff_id: Digest) -> Result<(), StoreError> {
        let folder = self.paths.layer(diff_id);
        match fsio::rename(folder.join(SETTLED), folder.join(&self.unsettled)) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes sure that the disk has everything published so far, and settles these layers.
    ///
    /// # Errors
    /// The disk.
    pub fn settle(&self, diff_ids: &[Digest]) -> Result<(), StoreError> {
        let unsettled: Vec<PathBuf> = diff_ids
            .iter()
            .map(|diff_id| self.paths.layer(*diff_id).join(&self.unsettled))
            .filter(|path| fsio::symlink_metadata(path).is_ok())
            .collect();
        if unsettled.is_empty() {
            return Ok(());
        }
        let root = fsio::open(&self.root)?;
        syncfs(&root).context("sync", &self.root)?;
        for path in unsettled {
            match fsio::rename(&path, path.with_file_name(SETTLED)) {
                // Another process settled it at the same time.
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
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
