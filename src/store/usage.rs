//! What is in the store and what it takes of the disk: one entry an object, with what is needed to choose among them.
//!
//! The whole tree is walked, so that the sum is the disk's and not ours. Nothing is changed and nothing is held.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::remove::Leased;
use super::step::StepRecord;
use super::{ImageRecord, Store, StoreError, record};
use crate::fsio::{self, DiskUsage};
use crate::oci::{Descriptor, Digest};

/// Bytes of a layer or blob from elsewhere that take a second to fetch again, for its cost.
const BYTES_A_SECOND: u64 = 20 << 20;

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A layer with all its representations in its folder, and blobs that it has nothing else than.
    Layer,
    /// Compressed layers, and configs.
    Blob,
    /// The directory of a `RUN --mount=type=cache`.
    CacheMount,
    /// What steps made, what was fetched, what was built where, and the memory of contexts.
    Record,
    /// Work of running processes, and what dead ones left.
    Scratch,
    /// What every store has: folders, locks, mount points.
    Fixed,
}

impl ObjectKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Layer,
        Self::Blob,
        Self::CacheMount,
        Self::Record,
        Self::Scratch,
        Self::Fixed,
    ];

    /// As written in filters and shown to programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Blob => "blob",
            Self::CacheMount => "cache-mount",
            Self::Record => "record",
            Self::Scratch => "scratch",
            Self::Fixed => "fixed",
        }
    }
}

/// Something in the store.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Digest in hexadecimal, escaped id of a cache mount, or path below the store.
    pub id: String,
    /// What it is for, where that is known: the command that made it, the id of a cache mount.
    pub about: String,
    /// Bytes on the disk.
    pub bytes: u64,
    /// When it was used last.
    pub used: Option<SystemTime>,
    /// What it takes to have it again.
    pub cost: Duration,
    /// A name in the local store stands for it.
    pub named: bool,
    /// A running process uses it.
    pub in_use: bool,
    /// For a layer: blobs that go with it.
    pub(super) blobs: Vec<Digest>,
}

impl StoredObject {
    /// Whether it may be removed: it costs work and loses nothing.
    #[must_use]
    pub fn is_reclaimable(&self) -> bool {
        let kept = matches!(self.kind, ObjectKind::Scratch | ObjectKind::Fixed);
        !self.named && !self.in_use && !kept
    }
}

/// What is in the store.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Every object.
    pub objects: Vec<StoredObject>,
}

impl Usage {
    /// Bytes on the disk of everything.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }

    /// Bytes on the disk that could be had back.
    #[must_use]
    pub fn reclaimable(&self) -> u64 {
        let objects = self.objects.iter();
        objects
            .filter(|object| object.is_reclaimable())
            .map(|object| object.bytes)
            .sum()
    }
}

/// What is known of layers and blobs before they are looked at.
#[derive(Debug, Default)]
struct Known {
    /// What steps tell of the layers they made: how long it took, and the command.
    steps: BTreeMap<Digest, (Duration, String)>,
    named: BTreeSet<Digest>,
    /// Blobs that go with a layer, which has nothing else.
    with_layer: BTreeSet<Digest>,
}

impl Store {
    /// Looks at everything in the store.
    ///
    /// # Errors
    /// A folder of the store cannot be read.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut known = Known {
            named: self.named()?,
            ..Known::default()
        };
        let mut disk = DiskUsage::default();
        let mut usage = Usage::default();
        self.records(&mut known, &mut disk, &mut usage)?;
        self.layers(&mut known, &mut disk, &mut usage)?;
        self.blobs(&known, &mut disk, &mut usage)?;
        self.cache_mounts(&mut disk, &mut usage)?;
        self.others(&mut disk, &mut usage)?;
        Ok(usage)
    }

    /// Layers and blobs that names stand for.
    pub(super) fn named(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let of_record = |record: ImageRecord| {
            record.images.into_iter().flat_map(|image| {
                let layers = image.layers.into_iter().flat_map(|layer| {
                    let blob = layer.blob.map(|blob| blob.digest);
                    std::iter::once(layer.diff_id).chain(blob)
                });
                std::iter::once(image.config.digest)
                    .chain(layers)
                    .collect::<Vec<_>>()
            })
        };
        Ok(self.images()?.into_iter().flat_map(of_record).collect())
    }

    fn records(
        &self,
        known: &mut Known,
        disk: &mut DiskUsage,
        usage: &mut Usage,
    ) -> Result<(), StoreError> {
        for folder in self.paths.record_folders() {
            for name in names(&folder)? {
                let path = folder.join(&name);
                let is_step = folder == self.paths.steps();
                let step = is_step.then(|| record::read::<StepRecord>(&path)).flatten();
                let about = step.as_ref().map(describe).unwrap_or_default();
                // A record that is found again and again is not written again.
                let layer = step.as_ref().and_then(|step| self.layer_used(step.diff_id));
                let used = modified(&path).max(layer);
                if let Some(step) = step {
                    let cost = Duration::from_millis(step.millis);
                    let of_layer = known.steps.entry(step.diff_id).or_default();
                    if of_layer.0 <= cost {
                        *of_layer = (cost, about.clone());
                    }
                }
                usage.objects.push(StoredObject {
                    kind: ObjectKind::Record,
                    id: self.paths.below(&path),
                    about,
                    bytes: disk.of(&path),
                    used,
                    cost: Duration::ZERO,
                    named: folder == self.paths.images(),
                    in_use: false,
                    blobs: Vec::new(),
                });
            }
        }
        Ok(())
    }

    /// When a layer was used last, if it is here. It is not held for that.
    fn layer_used(&self, diff_id: Digest) -> Option<SystemTime> {
        let folder = self.paths.layer(diff_id);
        modified(&self.table(&folder)?)
    }

    fn layers(
        &self,
        known: &mut Known,
        disk: &mut DiskUsage,
        usage: &mut Usage,
    ) -> Result<(), StoreError> {
        for name in names(&self.paths.layers())? {
            let folder = self.paths.layers().join(&name);
            let Ok(diff_id) = Digest::from_hex(&name) else {
                continue;
            };
            let inside = names(&folder)?;
            let has_content = inside
                .iter()
                .any(|name| name == "tar" || name == "dir" || name.starts_with("dir-"));
            let mut bytes = disk.of(&folder);
            let mut blobs = Vec::new();
            for name in inside.iter().filter(|name| name.starts_with("blob-")) {
                let blob = record::read::<Descriptor>(&folder.join(name));
                if let (Some(blob), false) = (blob, has_content) {
                    bytes += disk.of(self.paths.blob(blob.digest));
                    known.with_layer.insert(blob.digest);
                    blobs.push(blob.digest);
                }
            }
            let made_here = known.steps.get(&diff_id).cloned();
            let (cost, about) = made_here.unwrap_or_else(|| (to_fetch(bytes), String::new()));
            let with_it = blobs.iter().any(|blob| known.named.contains(blob));
            usage.objects.push(StoredObject {
                kind: ObjectKind::Layer,
                used: self.layer_used(diff_id),
                bytes,
                about,
                cost,
                named: known.named.contains(&diff_id) || with_it,
                in_use: self.is_used(Leased::Layer, diff_id)
                    || blobs.iter().any(|blob| self.is_used(Leased::Blob, *blob)),
                id: name,
                blobs,
            });
        }
        Ok(())
    }

    fn blobs(
        &self,
        known: &Known,
        disk: &mut DiskUsage,
        usage: &mut Usage,
    ) -> Result<(), StoreError> {
        for name in names(&self.paths.blobs())? {
            let path = self.paths.blobs().join(&name);
            let Ok(digest) = Digest::from_hex(&name) else {
                continue;
            };
            if known.with_layer.contains(&digest) {
                continue;
            }
            let bytes = disk.of(&path);
            usage.objects.push(StoredObject {
                kind: ObjectKind::Blob,
                about: String::new(),
                bytes,
                used: modified(&path),
                cost: to_fetch(bytes),
                named: known.named.contains(&digest),
                in_use: self.is_used(Leased::Blob, digest),
                id: name,
                blobs: Vec::new(),
            });
        }
        Ok(())
    }

    fn cache_mounts(&self, disk: &mut DiskUsage, usage: &mut Usage) -> Result<(), StoreError> {
        for name in names(&self.paths.mounts())? {
            let path = self.paths.mounts().join(&name);
            let bytes = disk.of(&path);
            usage.objects.push(StoredObject {
                kind: ObjectKind::CacheMount,
                about: name.clone(),
                bytes,
                used: modified(&self.paths.mount_used(&name)).or_else(|| modified(&path)),
                cost: to_fetch(bytes),
                named: false,
                in_use: self.is_used(Leased::Mount, Digest::of(&name)),
                id: name,
                blobs: Vec::new(),
            });
        }
        Ok(())
    }

    /// Everything that was not looked at before.
    fn others(&self, disk: &mut DiskUsage, usage: &mut Usage) -> Result<(), StoreError> {
        for (kind, paths) in [
            (
                ObjectKind::Scratch,
                vec![self.paths.tmp(), self.paths.gone()],
            ),
            (ObjectKind::Fixed, vec![self.root.clone()]),
        ] {
            for path in paths {
                usage.objects.push(StoredObject {
                    kind,
                    id: self.paths.below(&path),
                    about: String::new(),
                    // What was counted before is not counted again.
                    bytes: disk.of(&path),
                    used: None,
                    cost: Duration::ZERO,
                    named: false,
                    in_use: false,
                    blobs: Vec::new(),
                });
            }
        }
        Ok(())
    }
}

/// The command that made a layer, from the ingredients of its key.
fn describe(step: &StepRecord) -> String {
    let of = |name: &str| step.ingredients.get(name).map(String::as_str);
    let words = |name: &str| -> String {
        let list = of(name).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
        list.unwrap_or_default().join(" ")
    };
    match of("operation") {
        Some("run") => format!("RUN {}", words("command")),
        Some("workdir") => format!("WORKDIR {}", of("path").unwrap_or_default()),
        Some(copy) => format!(
            "{} {} {}",
            copy.to_uppercase(),
            words("sources"),
            of("destination").unwrap_or_default()
        ),
        None => String::new(),
    }
}

fn to_fetch(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / BYTES_A_SECOND)
}

/// The names in a folder of the store, without what is being written beside them. A folder that is not there has none.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let names = match fsio::read_dir_sorted(folder) {
        Err(error) if error.is_not_found() => Vec::new(),
        names => names?,
    };
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}

fn modified(path: &Path) -> Option<SystemTime> {
    fsio::symlink_metadata(path).ok()?.modified().ok()
}
