//! Frees space: chooses what may go and takes it out, while builds run beside it.
//!
//! Nothing that a name stands for goes, and nothing that a running process uses.

use std::time::{Duration, SystemTime};

use super::evict;
use super::remove::Leased;
use super::usage::{ObjectKind, StoredObject};
use super::{Store, StoreError, lock::Lock};
use crate::fsio;
use crate::oci::Digest;

/// Records explain and save little space. They go when nobody has touched them for so long, or when they are asked for.
const RECORDS_STAY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to remove. Nothing said is: everything that may go.
#[derive(Clone, Debug, Default)]
pub struct PruneRequest {
    /// Only what was not used for so long.
    pub unused_for: Option<Duration>,
    /// Only these kinds.
    pub kinds: Vec<ObjectKind>,
    /// Only objects whose id begins so.
    pub ids: Vec<String>,
    /// Only objects whose description has this in it.
    pub about: Vec<String>,
    /// Stop when no more than so many bytes of what may go are left.
    pub keep: Option<u64>,
    /// Stop when the whole store takes no more than so many bytes.
    pub max: Option<u64>,
    /// Stop when so many bytes are free; not together with the two above.
    pub free: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// What went, or would go.
    pub removed: Vec<StoredObject>,
    /// Bytes that the store takes now, or would take.
    pub left: u64,
}

impl Pruned {
    /// Bytes of what went.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.removed.iter().map(|object| object.bytes).sum()
    }
}

impl PruneRequest {
    fn wants(&self, object: &StoredObject, now: SystemTime) -> bool {
        let idle = object.used.and_then(|used| now.duration_since(used).ok());
        let idle = idle.unwrap_or(Duration::ZERO);
        let kind = match (object.kind, self.kinds.is_empty()) {
            (ObjectKind::Record, true) => idle >= RECORDS_STAY,
            (_, true) => true,
            (kind, false) => self.kinds.contains(&kind),
        };
        let listed = |list: &[String], matches: &dyn Fn(&str) -> bool| {
            list.is_empty() || list.iter().any(|wanted| matches(wanted))
        };
        kind && self.unused_for.is_none_or(|limit| idle >= limit)
            && listed(&self.ids, &|id| object.id.starts_with(id))
            && listed(&self.about, &|text| object.about.contains(text))
    }
}

impl Store {
    /// Removes what a request says. Any number of builds may run beside it; of several prunes one runs at a time.
    ///
    /// # Errors
    /// The disk.
    pub fn prune(&self, request: &PruneRequest, now: SystemTime) -> Result<Pruned, StoreError> {
        let pruned = self.prune_now(request, now)?;
        if !request.dry_run {
            self.lose_count();
        }
        Ok(pruned)
    }

    /// Removes what is worth least until so many bytes are free; gives how many are.
    pub(super) fn evict(&self, bytes: u64, now: SystemTime) -> Result<u64, StoreError> {
        let request = PruneRequest {
            free: Some(bytes),
            ..PruneRequest::default()
        };
        Ok(self.prune_now(&request, now)?.bytes())
    }

    fn prune_now(&self, request: &PruneRequest, now: SystemTime) -> Result<Pruned, StoreError> {
        let _one = Lock::acquire(&self.paths.lock("prune"), 0)?;
        let usage = self.usage()?;
        let total = usage.total();
        let reclaimable = usage.reclaimable();
        let candidates: Vec<StoredObject> = usage
            .objects
            .into_iter()
            .filter(|object| object.is_reclaimable() && request.wants(object, now))
            .collect();
        let bytes = match (request.keep, request.max) {
            (None, None) => request.free.unwrap_or(u64::MAX),
            (keep, max) => {
                let keep = keep.map_or(0, |keep| reclaimable.saturating_sub(keep));
                keep.max(max.map_or(0, |max| total.saturating_sub(max)))
            }
        };
        let chosen = evict::choose(candidates, bytes, now);
        let removed = match request.dry_run {
            true => chosen,
            false => self.take_all_out(chosen, now)?,
        };
        let pruned = Pruned {
            left: total.saturating_sub(removed.iter().map(|object| object.bytes).sum()),
            removed,
        };
        if !request.dry_run {
            self.sweep();
            self.remove_parts(now);
        }
        Ok(pruned)
    }

    /// Takes objects out, except those that somebody has begun to use, or named, since they were chosen.
    fn take_all_out(
        &self,
        chosen: Vec<StoredObject>,
        now: SystemTime,
    ) -> Result<Vec<StoredObject>, StoreError> {
        let mut removed = Vec::with_capacity(chosen.len());
        for batch in chosen.chunks(BATCH) {
            // Nobody gives a name meanwhile; so what has none now has none when it is gone.
            let _names = self.lock_names()?;
            let named = self.named()?;
            for object in batch {
                let digests = Digest::from_hex(&object.id).ok().into_iter();
                let is_named = digests
                    .chain(object.blobs.iter().copied())
                    .any(|digest| named.contains(&digest));
                if !is_named && self.take_object_out(object)? {
                    removed.push(object.clone());
                }
            }
        }
        for object in &removed {
            if let (ObjectKind::Layer, Ok(diff_id)) = (object.kind, Digest::from_hex(&object.id)) {
                // It only explains; on a full disk there may be no room for it.
                let _noted = self.note_evicted(diff_id, now);
            }
        }
        Ok(removed)
    }

    fn take_object_out(&self, object: &StoredObject) -> Result<bool, StoreError> {
        let digest = || Digest::from_hex(&object.id).ok();
        let went = match object.kind {
            ObjectKind::Layer => match digest() {
                Some(diff_id) => {
                    self.take_out(Leased::Layer, diff_id, &self.paths.layer(diff_id))?
                }
                None => false,
            },
            ObjectKind::Blob => match digest() {
                Some(blob) => self.take_out(Leased::Blob, blob, &self.paths.blob(blob))?,
                None => false,
            },
            ObjectKind::CacheMount => {
                let path = self.paths.mounts().join(&object.id);
                let went = self.take_out(Leased::Mount, Digest::of(&object.id), &path)?;
                if went {
                    fsio::remove_file_if_there(self.paths.mount_used(&object.id))?;
                }
                went
            }
            ObjectKind::Record => {
                fsio::remove_file_if_there(self.paths.above(&object.id))?;
                true
            }
            ObjectKind::Scratch | ObjectKind::Fixed => false,
        };
        if went {
            for blob in &object.blobs {
                self.take_out(Leased::Blob, *blob, &self.paths.blob(*blob))?;
            }
        }
        Ok(went)
    }

    /// Removes what a crash left beside records: parts that nobody will finish.
    fn remove_parts(&self, now: SystemTime) {
        for folder in self.paths.record_folders() {
            for name in fsio::read_dir_sorted(&folder).unwrap_or_default() {
                let path = folder.join(&name);
                let is_part = name.as_encoded_bytes().starts_with(b".")
                    && name.as_encoded_bytes().ends_with(b".part");
                let idle = fsio::symlink_metadata(&path).ok();
                let idle = idle.and_then(|there| now.duration_since(there.modified().ok()?).ok());
                // Who writes a record takes milliseconds.
                if is_part && idle.is_some_and(|idle| idle > Duration::from_secs(600)) {
                    let _gone = fsio::remove_file_if_there(path);
                }
            }
        }
    }
}

/// Objects that are taken out while nobody may give a name.
const BATCH: usize = 256;
