//! Content on disk: blobs, layers, step records, image names.
//!
//! Files only, no database. Each object is complete, verified and synced before it gets its final name, and carries what
//! it takes to check it on read; a bad or missing object is a miss, never an error. Any number of processes share one
//! root. `paths.rs` draws the layout; `docs/store-layout.md` tells the invariants.
//!
//! The store knows where things are, not what they mean: it never decides what is built or exported.

mod blob;
mod evict;
mod fetched;
mod fsck;
mod history;
mod images;
mod layers;
mod lease;
mod lock;
mod owners;
mod paths;
mod prune;
mod record;
mod remove;
mod resolved;
mod scratch;
mod space;
mod step;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use blob::VerifyingReader;
pub use fetched::FetchedRecord;
pub use fsck::{CheckRequest, Checked, Damage};
pub use history::{PlacedBase, PlacedStage, PlacedStep, Places};
pub use images::{ImageLayer, ImageRecord, StoredImage};
pub use layers::{LayerForm, NewLayer};
pub use lock::Lock;
pub use prune::{PruneRequest, Pruned};
pub use resolved::{CommitRecord, ResolvedRecord};
pub use scratch::Scratch;
pub use space::{Ceiling, Reserving, Room, footprint};
pub use step::{StepRecord, StepResources};
pub use usage::{ObjectKind, StoredObject, Usage};

use crate::fsio;
use crate::oci::Digest;

/// How often a lock that somebody else holds is asked for.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// A store on disk, open for one process.
#[derive(Debug)]
pub struct Store {
    paths: paths::Paths,
    root: PathBuf,
    /// Name of a table of contents until the disk has the layer; see `layers.rs`.
    unsettled: String,
    /// Made with the first scratch folder.
    workplace: Mutex<Option<Arc<scratch::Workplace>>>,
    leases: lease::Leases,
    ceiling: Option<Ceiling>,
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
    /// The ceiling is reached and nothing more may be removed.
    #[error(
        "the store may take {} in all and has no room for {} more: running builds and images keep {}, {} are reserved",
        shown(*max), shown(*needed), shown(*kept), shown(*reserved)
    )]
    NoRoom {
        /// Bytes that were to be written.
        needed: u64,
        /// The ceiling.
        max: u64,
        /// What cannot be removed.
        kept: u64,
        /// What running builds have reserved.
        reserved: u64,
    },
    /// The disk has less left than is about to be written.
    #[error("no space left on device: {} are needed, {} are free for the store `{}`", shown(*needed), shown(*free), root.display())]
    DiskFull {
        /// Bytes that were to be written.
        needed: u64,
        /// Bytes that are left.
        free: u64,
        /// The folder of the store.
        root: PathBuf,
    },
    /// Directories in it belong to others than they should.
    #[error(
        "the store `{}` was made by {made}, and this process is {here}: owners of files would be wrong",
        root.display()
    )]
    OtherOwners {
        /// The folder of the store.
        root: PathBuf,
        /// Who made it.
        made: &'static str,
        /// Who this is.
        here: &'static str,
    },
    /// Nobody wants it any more.
    #[error("interrupted")]
    Stopped,
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

/// Bytes in words.
fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..10_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}

impl Store {
    /// Opens the store below `root`, making it if it is not there.
    ///
    /// # Errors
    /// The root cannot be made or written.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let paths = paths::Paths::new(root);
        if !paths.is_complete() {
            paths.make()?;
            let tag = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of builder.\n";
            fsio::write_atomic(
                &paths.cachedir_tag(),
                tag.as_bytes(),
                fsio::Durability::Cached,
            )?;
        }
        paths.seclude();
        let boot = fsio::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            leases: lease::Leases::new(&paths),
            paths,
            root: root.to_owned(),
            unsettled: format!("toc~{}", boot.trim()),
            workplace: Mutex::default(),
            ceiling: None,
        })
    }

    /// With a limit to what it may take of the disk.
    #[must_use]
    pub fn with_ceiling(self, ceiling: Option<Ceiling>) -> Self {
        Self { ceiling, ..self }
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
        Ok(Scratch::new(&self.workplace()?)?)
    }

    fn workplace(&self) -> Result<Arc<scratch::Workplace>, StoreError> {
        let mut workplace = self
            .workplace
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(match &*workplace {
            Some(there) => Arc::clone(there),
            None => {
                // Who makes something clears away what dead processes left; who only looks is not kept waiting.
                scratch::remove_leftovers(&self.paths)?;
                self.sweep_leftovers();
                Arc::clone(workplace.insert(scratch::Workplace::open(&self.paths)?))
            }
        })
    }

    /// Waits for the exclusive right to make the thing `what` of a kind (`step`, `layer`): across threads and processes.
    ///
    /// # Errors
    /// The disk.
    pub fn lock(&self, kind: &str, what: Digest) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.paths.lock(kind), lock::byte_of(what))?)
    }

    /// As [`Store::lock`], but gives up once nobody wants it any more.
    ///
    /// # Errors
    /// The disk, or [`StoreError::Stopped`].
    pub fn lock_unless(
        &self,
        kind: &str,
        what: Digest,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Lock, StoreError> {
        loop {
            if let Some(lock) = self.try_lock(kind, what)? {
                return Ok(lock);
            }
            if is_stopped() {
                return Err(StoreError::Stopped);
            }
            std::thread::sleep(LOCK_POLL);
        }
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

    /// Held while a name is given, and while objects are removed that no name stands for.
    fn lock_names(&self) -> Result<Lock, StoreError> {
        Ok(Lock::acquire(&self.paths.lock("names"), 0)?)
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

    /// Where the content of a cache mount is kept. Nobody removes it while this store is open.
    #[must_use]
    pub fn cache_mount(&self, id: &str) -> PathBuf {
        let name = paths::escape(id);
        if self.leases.mounts.hold(Digest::of(&name)) == lease::Held::Now {
            // It is no harm if it cannot be written: the mount seems older than it is.
            let mark = self.paths.mount_used(&name);
            if fsio::touch(&mark).is_err() {
                let _marked = fsio::create(mark);
            }
        }
        self.paths.cache_mount(id)
    }
}
