//! The ceiling of the store: room is reserved before anything is written, and made by removing what is worth least.
//!
//! What the store takes is counted in one small file, and what is about to be written in a file of each process, which counts
//! for nothing once the process is gone. A count may be too high after a crash. So before anybody is refused, or anything is
//! removed, the disk is looked at.

use std::io::Read;
use std::path::Path;
use std::sync::PoisonError;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::usage::{ObjectKind, StoredObject};
use super::{Store, StoreError, record, scratch};
use crate::fsio::{self, DiskUsage, Durability};

/// Bytes of a block of usual file systems.
const BLOCK: u64 = 4096;
/// Bytes for the name of a file and what is known of it.
const ENTRY: u64 = 512;
/// As much is reserved at a time for what has no known size.
const PORTION: u64 = 16 << 20;

/// The most that a store may take.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// Bytes on the disk.
    pub max: u64,
    /// Says what time it is, to know what was used lately.
    pub clock: fn() -> SystemTime,
}

/// What the store takes without work in progress.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Used {
    bytes: u64,
}

/// Room for something that is being written. It is given back when dropped: what was published is counted then.
#[derive(Debug)]
pub struct Room<'s> {
    store: &'s Store,
    bytes: u64,
}

impl Store {
    /// Reserves room for so many bytes; removes other things for it if there is a ceiling and they may go.
    ///
    /// # Errors
    /// There is no room, under the ceiling or on the disk.
    pub fn reserve(&self, bytes: u64) -> Result<Room<'_>, StoreError> {
        let mut room = Room {
            store: self,
            bytes: 0,
        };
        room.grow(bytes)?;
        Ok(room)
    }

    /// Whether there is a ceiling for this process.
    #[must_use]
    pub fn has_ceiling(&self) -> bool {
        self.ceiling.is_some()
    }

    /// Bytes that the disk has left for the store.
    #[must_use]
    pub fn free_on_disk(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.root).ok()?;
        // What only root may touch is not for commands, which have not all rights of root.
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Counts something that was published, where somebody counts.
    pub(super) fn grew(&self, path: &Path) {
        if self.is_counted() {
            let bytes = DiskUsage::default().of(path);
            self.count(|used| used.saturating_add(bytes));
        }
    }

    /// Something was removed while others may have counted: the next one who has to know looks at the disk.
    pub(super) fn lose_count(&self) {
        let lock = Lock::acquire(&self.paths.lock("space"), 0);
        let _gone = lock.and_then(|_lock| fsio::remove_file_if_there(self.paths.space()));
    }

    /// Counts a cache mount that a step has used: nobody else knows how much it grew.
    pub fn measure_cache_mount(&self, id: &str) {
        if !self.is_counted() {
            return;
        }
        let name = super::paths::escape(id);
        let mark = self.paths.mount_used(&name);
        let before = record::read::<Used>(&mark).unwrap_or_default().bytes;
        let bytes = DiskUsage::default().of(self.paths.mounts().join(&name));
        let _marked = record::write(&mark, &Used { bytes }, Durability::Cached);
        self.count(|used| used.saturating_sub(before).saturating_add(bytes));
    }

    fn is_counted(&self) -> bool {
        self.ceiling.is_some() || fsio::symlink_metadata(self.paths.space()).is_ok()
    }

    /// Best effort: a count that is lost is found again by looking.
    fn count(&self, change: impl FnOnce(u64) -> u64) {
        let Ok(_lock) = Lock::acquire(&self.paths.lock("space"), 0) else {
            return;
        };
        if let Some(Used { bytes }) = record::read(&self.paths.space()) {
            self.put_used(change(bytes));
        }
    }

    fn put_used(&self, bytes: u64) {
        if record::write(&self.paths.space(), &Used { bytes }, Durability::Cached).is_err() {
            // Better no count than a wrong one.
            let _gone = fsio::remove_file_if_there(self.paths.space());
        }
    }

    /// Looks at the disk.
    fn look(&self) -> Result<u64, StoreError> {
        let objects = self.usage()?.objects.into_iter();
        // What is being made is reserved. What is being deleted is still there.
        let made = |object: &StoredObject| object.kind == ObjectKind::Scratch && object.id == "tmp";
        let settled = objects.filter(|object| !made(object));
        Ok(settled.map(|object| object.bytes).sum())
    }

    /// Sees to it that the store may grow by so much. The caller holds the lock of the counts.
    ///
    /// Gives how much there is room for: at least so much.
    fn make_room(&self, ceiling: Ceiling, bytes: u64) -> Result<u64, StoreError> {
        let reserved = scratch::reserved(&self.paths);
        let wanted = reserved.saturating_add(bytes);
        // Records, tables and folders are too small to reserve room for each.
        let limit = ceiling.max - ceiling.max / 100;
        let fits = |used: u64| used.saturating_add(wanted) <= limit;
        let left = |used: u64| limit.saturating_sub(used.saturating_add(reserved));
        if let Some(Used { bytes }) = record::read(&self.paths.space())
            && fits(bytes)
        {
            return Ok(left(bytes));
        }
        let mut used = self.look()?;
        if !fits(used) {
            // Somewhat more than is needed, so that the next one need not look again at once.
            let aim = (ceiling.max - ceiling.max / 10).saturating_sub(wanted);
            let excess = used.saturating_sub(aim);
            let freed = self.evict(excess, (ceiling.clock)())?;
            used = used.saturating_sub(freed);
        }
        self.put_used(used);
        match fits(used) {
            true => Ok(left(used)),
            false => Err(StoreError::NoRoom {
                needed: bytes,
                max: ceiling.max,
                kept: used,
                reserved,
            }),
        }
    }
}

impl<'s> Room<'s> {
    /// Reserves more.
    ///
    /// # Errors
    /// As [`Store::reserve`].
    pub fn grow(&mut self, more: u64) -> Result<(), StoreError> {
        self.grow_by(more, more)
    }

    /// Reserves `most` if there is room for it, and at least `least`.
    fn grow_by(&mut self, least: u64, most: u64) -> Result<(), StoreError> {
        if least == 0 {
            return Ok(());
        }
        let Some(ceiling) = self.store.ceiling else {
            return self.fits_on_disk(least);
        };
        let _lock = Lock::acquire(&self.store.paths.lock("space"), 0)?;
        let left = self.store.make_room(ceiling, least)?;
        self.fits_on_disk(least)?;
        let more = most.min(left).max(least);
        self.bytes += more;
        self.set_reserved(|all| all.saturating_add(more))
    }

    fn fits_on_disk(&self, bytes: u64) -> Result<(), StoreError> {
        match self.store.free_on_disk() {
            Some(free) if free < bytes => Err(StoreError::DiskFull {
                needed: bytes,
                free,
                root: self.store.root.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Reserves as much as there has to be in all.
    ///
    /// # Errors
    /// As [`Store::reserve`].
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), StoreError> {
        match bytes.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            Some(more) => self.grow(more),
        }
    }

    /// Passes a stream of unknown length on, reserving room as it comes. The room stays when the stream has ended.
    pub fn reader<R: Read>(&mut self, inner: R) -> Reserving<'_, 's, R> {
        Reserving {
            room: self,
            inner,
            passed: 0,
        }
    }

    /// What this process has reserved in all, for others to see.
    fn set_reserved(&self, change: impl FnOnce(u64) -> u64) -> Result<(), StoreError> {
        let workplace = self.store.workplace()?;
        let mut reserved = workplace
            .reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *reserved = change(*reserved);
        Ok(workplace.show_reserved(*reserved)?)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let bytes = self.bytes;
            // If it cannot be written, it counts until this process ends.
            let _returned = self.set_reserved(|all| all.saturating_sub(bytes));
        }
    }
}

/// A stream for which room is reserved as it comes.
#[derive(Debug)]
pub struct Reserving<'r, 's, R> {
    room: &'r mut Room<'s>,
    inner: R,
    passed: u64,
}

impl<R: Read> Read for Reserving<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.passed += count as u64;
        if self.room.store.has_ceiling() && self.passed > self.room.bytes {
            let more = self.passed - self.room.bytes;
            let grown = self.room.grow_by(more, more.max(PORTION));
            // Of a kind by which nobody takes it for damage of what is read.
            grown.map_err(|error| std::io::Error::new(std::io::ErrorKind::StorageFull, error))?;
        }
        Ok(count)
    }
}

/// What files of these sizes take of a disk, each in its blocks, with what the file system keeps of it.
pub fn footprint(sizes: impl IntoIterator<Item = u64>) -> u64 {
    let of = |size: u64| size.div_ceil(BLOCK).saturating_mul(BLOCK).max(BLOCK) + ENTRY;
    sizes.into_iter().map(of).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Descriptor;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn store(dir: &tempfile::TempDir, max: u64) -> Store {
        let ceiling = Some(Ceiling { max, clock: now });
        Store::open(dir.path()).unwrap().with_ceiling(ceiling)
    }

    fn content(number: u8) -> [u8; 100_000] {
        [number; 100_000]
    }

    #[test]
    fn what_others_have_reserved_counts_while_they_live() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| store(&dir, 10 << 20));
        let room = one.reserve(8 << 20).unwrap();
        assert!(matches!(
            other.reserve(4 << 20),
            Err(StoreError::NoRoom { needed, reserved, .. })
                if needed == 4 << 20 && reserved == 8 << 20
        ));
        other.reserve(1 << 20).unwrap();
        drop(room);
        other.reserve(4 << 20).unwrap();
        let room = one.reserve(8 << 20).unwrap();
        std::mem::forget(room);
        drop(one);
        other.reserve(4 << 20).unwrap();
    }

    #[test]
    fn a_store_stays_under_its_ceiling_and_forgets_what_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let max = 2 << 20;
        for number in 0..60 {
            let store = store(&dir, max);
            let expected = Descriptor::of("x", &content(number));
            store.ingest(&content(number)[..], Some(&expected)).unwrap();
            assert!(store.has_blob(&expected));
            let taken = DiskUsage::default().of(dir.path());
            assert!(taken <= max, "{taken} after {number}");
        }
        let store = store(&dir, max);
        let there = (0..60).filter(|n| store.has_blob(&Descriptor::of("x", &content(*n))));
        assert!((8..20).contains(&there.count()));
    }

    #[test]
    fn what_this_process_uses_is_not_removed_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir, 2 << 20);
        let results: Vec<_> = (0..60)
            .map(|n| store.ingest(&content(n)[..], Some(&Descriptor::of("x", &content(n)))))
            .collect();
        let kept = results.iter().take_while(|result| result.is_ok()).count();
        assert!((8..20).contains(&kept), "{kept}");
        assert!(matches!(results[kept], Err(StoreError::NoRoom { .. })));
        assert!(
            (0..kept).all(|n| {
                store.has_blob(&Descriptor::of("x", &content(u8::try_from(n).unwrap())))
            })
        );
    }
}
