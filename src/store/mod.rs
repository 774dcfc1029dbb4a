//! Content on disk: blobs, layers, step records, image names.
//!
//! Files only, no database. Each object is complete, verified and synced before it gets its final name, and carries what
//! it takes to check it on read; a bad or missing object is a miss, never an error. Any number of processes share one
//! root. `paths.rs` draws the layout; `docs/store-layout.md` tells the invariants.
//!
//! The store knows where things are, not what they mean: it never decides what is built or exported.

mod blob;
mod fetched;
mod images;
mod layers;
mod lock;
mod paths;
mod record;
mod resolved;
mod scratch;
mod step;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blob::VerifyingReader;
pub use fetched::FetchedRecord;
pub use images::{ImageLayer, ImageRecord, StoredImage};
pub use layers::{LayerForm, NewLayer};
pub use lock::Lock;
pub use resolved::{CommitRecord, ResolvedRecord};
pub use scratch::Scratch;
pub use step::{Places, StepRecord};

use crate::fsio;
use crate::oci::Digest;

/// A store on disk, open for one process.
#[derive(Debug)]
pub struct Store {
    paths: paths::Paths,
    root: PathBuf,
    /// Name of a table of contents until the disk has the layer; see `layers.rs`.
    unsettled: String,
    workplace: Arc<scratch::Workplace>,
}

/// The store cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] fsio::Error),
    /// Content that is not what its name says.
    #[error("content does not match its digest: expected {expected}, found {found}")]
    Mismatch {
        /// The digest it should have.
        expected: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// A blob cannot be had where it should be.
    #[error(transparent)]
    Source(#[from] crate::oci::BlobError),
    /// A table of contents that cannot be written.
    #[error(transparent)]
    Layer(#[from] crate::layer::Error),
    /// The source of a blob broke off.
    #[error("cannot fetch blob{}: {source}", digest.map(|d| format!(" {d}")).unwrap_or_default())]
    Ingest {
        /// Which blob, where known beforehand.
        digest: Option<Digest>,
        /// Why.
        source: io::Error,
    },
}

impl Store {
    /// Opens the store below `root`, making it if it is not there, and removes what dead processes left.
    ///
    /// # Errors
    /// The root cannot be made or written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let paths = paths::Paths::new(root);
        if fsio::symlink_metadata(paths.tmp()).is_err() {
            for folder in paths.skeleton() {
                fsio::create_dir_all(folder)?;
            }
            let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of builder.\n";
            fsio::write_atomic(
                &paths.cachedir_tag(),
                tag.as_bytes(),
                fsio::Durability::Cached,
            )?;
        }
        scratch::remove_leftovers(&paths)?;
        let workplace = scratch::Workplace::open(&paths)?;
        let boot = fsio::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            paths,
            root: root.to_owned(),
            unsettled: format!("toc~{}", boot.trim()),
            workplace,
        })
    }

    /// Opens the store below `root` if there is one; makes none.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_existing(root: &Path) -> Result<Option<Self>, StoreError> {
        match fsio::symlink_metadata(paths::Paths::new(root).tmp()) {
            Ok(_) => Self::open(root).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The folder the store is in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for work in progress, on the file system of the store; gone when dropped or when the process dies.
    ///
    /// # Errors
    /// The disk.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        Ok(Scratch::new(&self.workplace)?)
    }

    /// Waits for the exclusive right to make the thing `what` of a kind (`step`, `layer`): across threads and processes.
    ///
    /// # Errors
    /// The disk.
    pub fn lock(&self, kind: &str, what: Digest) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.paths.lock(kind), lock::byte_of(what))?)
    }

    /// The right to make the thing `what`, if nobody has it.
    ///
    /// # Errors
    /// The disk.
    pub fn try_lock(&self, kind: &str, what: Digest) -> Result<Option<Lock>, StoreError> {
        Ok(Lock::try_acquire(
            &self.paths.lock(kind),
            lock::byte_of(what),
        )?)
    }

    /// Where the stat index of a context is kept.
    #[must_use]
    pub fn context_index(&self, identity: &str) -> PathBuf {
        self.paths.context_index(identity)
    }

    /// Where the mount points below every root file system are kept.
    #[must_use]
    pub fn scaffold(&self) -> PathBuf {
        self.paths.scaffold()
    }

    /// Where the content of a cache mount is kept.
    #[must_use]
    pub fn cache_mount(&self, id: &str) -> PathBuf {
        self.paths.cache_mount(id)
    }
}
