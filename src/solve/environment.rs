//! What a solve works with: values and seams that its caller chose.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::StepError;
use super::record::Subject;
use crate::agent::Agents;
use crate::cdi::Registry;
use crate::context::{LocalContext, StatIndex};
use crate::layer::Privileges;
use crate::oci::{BaseImage, Digest, LayerSource};
use crate::sandbox::{
    Cancel, Emulators, Footing, Limits, Networks, StepRunner, Ulimit, files::Resolver,
};
use crate::snapshot::Snapshotter;
use crate::store::{StepRecord, Store};

/// What a solve works with.
#[derive(Debug)]
pub struct Environment<'a> {
    /// Where layers and records are.
    pub store: &'a Store,
    /// What others built, where a cache was imported.
    pub imported: Option<&'a dyn ImportedSteps>,
    /// Folders of cache mounts that are kept elsewhere.
    pub saved_mounts: Option<&'a dyn SavedMounts>,
    /// Runs the commands.
    pub runner: &'a dyn StepRunner,
    /// The main context; absent where nothing needs one.
    pub context: Option<ContextTree>,
    /// Named contexts that are folders, by normalised name.
    pub named_contexts: BTreeMap<String, ContextTree>,
    /// The images of the plan's bases, in its order.
    pub bases: Vec<Arc<BaseImage>>,
    /// The networks that steps are given.
    pub networks: &'a Networks,
    /// What every RUN gets.
    pub run: RunSettings,
    /// What describes the devices that steps ask for.
    pub devices: Registry,
    /// Says what time it is.
    pub clock: fn() -> SystemTime,
    /// Time of files that the build makes itself, seconds since 1970.
    pub epoch: Option<i64>,
    /// What the process stands on, when it comes to running a step.
    pub footing: Footing,
    /// How much this process may do to files; follows from the footing.
    pub privileges: Privileges,
    /// Steps that may run at the same time.
    pub jobs: usize,
    /// Names what is built, for the memory of what was built where.
    pub subject: Subject,
    /// The user's wish to stop.
    pub cancel: Cancel,
}

/// Results of steps that were built elsewhere: an imported cache. Answers from memory; layers are fetched when a step needs
/// them.
pub trait ImportedSteps: std::fmt::Debug + Sync {
    /// The record of a key, and who has its layer.
    fn step(&self, key: Digest) -> Option<(StepRecord, LayerSource)>;

    /// The key that a quick key leads to.
    fn alias(&self, quick: Digest) -> Option<Digest>;

    /// The record of what was built at a place, as [`StepRecord::place`] names it: for explanations.
    fn at_place(&self, place: &str) -> Option<StepRecord> {
        let _unknown = place;
        None
    }
}

/// Folders of cache mounts that are kept outside this machine.
pub trait SavedMounts: std::fmt::Debug + Sync {
    /// Makes `folder`, which is not there, what was saved under the id of a cache mount. Leaves nothing there if it cannot.
    fn restore(&self, id: &str, folder: &Path) -> Restored;
}

/// What came of a wish to have a folder as it was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// What there is to say of a folder that was restored.
    pub line: Option<String>,
    /// What went wrong.
    pub warnings: Vec<String>,
}

/// A folder to copy from, with the memory of its files.
#[derive(Debug)]
pub struct ContextTree {
    /// The folder.
    pub context: LocalContext,
    /// Digests of files by their stat.
    pub index: StatIndex,
    /// Where the memory is kept.
    pub index_path: PathBuf,
}

impl ContextTree {
    /// Opens a folder with what is remembered of it.
    #[must_use]
    pub fn new(context: LocalContext, store: &Store, now: SystemTime) -> Self {
        let identity = context.identity();
        let index_path = store.context_index(&identity.file_name());
        let index = StatIndex::load(&index_path, identity, now);
        Self {
            context,
            index,
            index_path,
        }
    }
}

/// What every RUN gets besides what its instruction says.
#[derive(Clone, Debug, Default)]
pub struct RunSettings {
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// SSH agents by id.
    pub agents: Agents,
    /// Additional lines of `/etc/hosts`: name and address; without one it is the address at which the step reaches the machine.
    pub hosts: Vec<(String, Option<IpAddr>)>,
    /// What resolves names, where it is not to be what the machine has.
    pub resolver: Resolver,
    /// A CA bundle in PEM form to show read-only.
    pub ca_bundle: Option<PathBuf>,
    /// No step gets further than its own loopback, whatever it asks for. In no key: what the cache has is as good.
    pub offline: bool,
    /// How root file systems are made; `None` is by overlays where that can be. In no key: the layers are the same.
    pub snapshotter: Option<Snapshotter>,
    /// What runs programs of other processors. In no key.
    pub emulators: Emulators,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Limits of all processes of a step together. In no key.
    pub limits: Limits,
    /// How long a step may take. In no key.
    pub timeout: Option<Duration>,
    /// Bytes that `/dev/shm` may hold.
    pub shm_size: Option<u64>,
}

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A file, read when a step asks for it.
    File(PathBuf),
    /// A value from the environment.
    Value(Vec<u8>),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(..)"),
        }
    }
}

/// The most that a secret may have.
const SECRET_LIMIT: usize = 500 << 10;

impl RunSettings {
    /// The bytes of a secret; `None` where it was not given.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, StepError> {
        let bytes = match self.secrets.get(id) {
            None => return Ok(None),
            Some(SecretSource::Value(bytes)) => bytes.clone(),
            Some(SecretSource::File(path)) => {
                crate::fsio::read(path).map_err(|source| StepError::SecretUnreadable {
                    id: id.to_owned(),
                    source,
                })?
            }
        };
        if bytes.len() > SECRET_LIMIT {
            return Err(StepError::SecretTooLarge { id: id.to_owned() });
        }
        Ok(Some(bytes))
    }
}
