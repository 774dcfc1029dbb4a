//! Content digests of files that have not changed since they were read: one flat file a context.
//!
//! A record says "the file with this device, inode, size, mtime and ctime has this content". It is made only for a
//! file that was at rest when it was read: with times so close to the reading that a later change could leave them
//! as they are ("racily clean"), no record is made and the file is read again next time. A damaged file, or one of
//! another context, is an empty index. The index is a cache: nothing is lost with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::Stamp;
use crate::fsio::{self, Durability};
use crate::oci::{Digest, Hasher};

/// First bytes of the file; the last is the format version.
const MAGIC: &[u8; 8] = b"bldstat\x01";
/// Magic, identity, and the CRC-32 of the records.
const HEADER: usize = 8 + 32 + 4;
/// Key, content digest, age, and whether there are extended attributes.
const RECORD: usize = AGE_AT + 2;
/// Where the age is in a record.
const AGE_AT: usize = KEY + 32;
/// Device, inode, size, mtime and ctime, big-endian, so that the order of the bytes is the order of the keys.
const KEY: usize = 8 * 3 + 12 * 2;
/// The most records that are kept: 20 MiB.
const MOST_RECORDS: usize = 250_000;
/// A record that was not used by this many saves is dropped.
const MOST_AGE: u8 = 8;
/// How long before the run the last change of a file must be. The coarsest file systems count in steps of two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells a context from every other on the machine: the path, device and inode of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootIdentity(Digest);

impl RootIdentity {
    /// The identity of the root directory at an absolute path.
    #[must_use]
    pub fn new(root: &Path, device: u64, inode: u64) -> Self {
        let mut hasher = Hasher::new("context root");
        hasher.field(root.as_os_str().as_encoded_bytes());
        hasher.number(device);
        hasher.number(inode);
        Self(hasher.finish())
    }

    /// A file name for what belongs to this context.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.0.hex()
    }
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Digest of the content; of no bytes for a directory.
    pub(super) content: Digest,
    /// Whether it has extended attributes that a copy keeps.
    pub(super) has_xattrs: bool,
}

/// The index of one context during one run.
#[derive(Debug)]
pub struct StatIndex {
    identity: RootIdentity,
    /// Changes from here on are too close to this run to tell apart by their times: seconds and nanoseconds.
    settled_before: (i64, u32),
    /// Records as on disk, sorted by key.
    loaded: Vec<u8>,
    /// Which of them were asked for in this run.
    used: Vec<AtomicBool>,
    /// Records made in this run.
    made: Mutex<BTreeMap<[u8; KEY], Known>>,
}

impl StatIndex {
    /// An index that knows nothing. `now` is the time at which the run began.
    #[must_use]
    pub fn empty(identity: RootIdentity, now: SystemTime) -> Self {
        let since_epoch = now
            .checked_sub(SETTLED)
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .unwrap_or_default();
        Self {
            identity,
            settled_before: (
                i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX),
                since_epoch.subsec_nanos(),
            ),
            loaded: Vec::new(),
            used: Vec::new(),
            made: Mutex::default(),
        }
    }

    /// Loads the index of a context from its file; whatever is wrong with the file, the index is then empty.
    #[must_use]
    pub fn load(path: &Path, identity: RootIdentity, now: SystemTime) -> Self {
        let mut index = Self::empty(identity, now);
        let mut bytes = fsio::read_if_there(path).ok().flatten().unwrap_or_default();
        if let Some(count) = check(&bytes, identity) {
            bytes.drain(..HEADER);
            index.loaded = bytes;
            index.used = (0..count).map(|_| AtomicBool::new(false)).collect();
        }
        index
    }

    /// Whether bytes are an index of any context, undamaged.
    #[must_use]
    pub fn is_sound(bytes: &[u8]) -> bool {
        let rest = bytes.strip_prefix(MAGIC).and_then(|rest| rest.get(32..));
        rest.is_some_and(|rest| check_records(rest).is_some())
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
            + self
                .made
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known about the content of a file with this stamp.
    pub(super) fn get(&self, stamp: &Stamp) -> Option<Known> {
        let key = key(stamp);
        if let Some(position) = self.find(&key) {
            if let Some(used) = self.used.get(position) {
                used.store(true, Ordering::Relaxed);
            }
            return known(self.record(position)?);
        }
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&key).copied()
    }

    /// Remembers what was read from a file, unless the file may change without its stamp changing.
    pub(super) fn put(&self, stamp: &Stamp, known: Known) {
        let settled = stamp.modified.max(stamp.changed) < self.settled_before;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if settled && made.len() < MOST_RECORDS {
            made.insert(key(stamp), known);
        }
    }

    /// Writes the index if there is something new in it. Of two runs that save, the last one wins.
    ///
    /// # Errors
    /// What the operating system answered; the old file is then still there.
    pub fn save(&self, path: &Path) -> fsio::Result<()> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_empty() {
            return Ok(());
        }
        let records = self.merged(&made);
        let mut bytes = Vec::with_capacity(HEADER + records.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.identity.0.as_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&records).to_be_bytes());
        bytes.extend_from_slice(&records);
        fsio::write_atomic(path, &bytes, Durability::Cached)
    }

    /// The records to keep, sorted: those of this run, then others while they are young and there is room.
    fn merged(&self, made: &BTreeMap<[u8; KEY], Known>) -> Vec<u8> {
        let ages: Vec<u8> = (0..self.used.len())
            .map(|position| self.age(position))
            .collect();
        let mut room = MOST_RECORDS.saturating_sub(made.len());
        let mut of_age = [0_usize; 256];
        for age in &ages {
            of_age[usize::from(*age)] += 1;
        }
        // The first age of which not all records fit, and how many of it do.
        let mut last_age = 0;
        while last_age <= MOST_AGE && of_age[usize::from(last_age)] <= room {
            room -= of_age[usize::from(last_age)];
            last_age += 1;
        }
        let mut records = Vec::with_capacity((self.used.len() + made.len()) * RECORD);
        let mut made = made.iter().peekable();
        for (old, &age) in self.loaded.chunks_exact(RECORD).zip(&ages) {
            let key_of_old = old.get(..KEY).unwrap_or_default();
            let mut replaced = false;
            while let Some((key, known)) = made.next_if(|(key, _)| &key[..] <= key_of_old) {
                replaced = key == key_of_old;
                push(&mut records, key, known);
            }
            let fits = age < last_age || (age == last_age && age <= MOST_AGE && room > 0);
            if replaced || !fits {
                continue;
            }
            if age == last_age {
                room -= 1;
            }
            let at = records.len() + AGE_AT;
            records.extend_from_slice(old);
            if let Some(slot) = records.get_mut(at) {
                *slot = age;
            }
        }
        for (key, known) in made {
            push(&mut records, key, known);
        }
        records
    }

    /// Saves since a loaded record was last used, this one included.
    fn age(&self, position: usize) -> u8 {
        match self.used.get(position) {
            Some(used) if used.load(Ordering::Relaxed) => 0,
            _ => self
                .record(position)
                .and_then(|record| record.get(AGE_AT))
                .map_or(u8::MAX, |age| age.saturating_add(1)),
        }
    }

    fn record(&self, position: usize) -> Option<&[u8]> {
        let start = position.checked_mul(RECORD)?;
        self.loaded.get(start..start.checked_add(RECORD)?)
    }

    /// Binary search for a key.
    fn find(&self, key: &[u8; KEY]) -> Option<usize> {
        let (mut low, mut high) = (0, self.used.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.record(middle)?.get(..KEY)?.cmp(&key[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// The number of records in a file that is whole and belongs to the context.
fn check(bytes: &[u8], identity: RootIdentity) -> Option<usize> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let rest = rest.strip_prefix(&identity.0.as_bytes()[..])?;
    check_records(rest)
}

/// The number of records behind magic and identity, if they are whole.
fn check_records(rest: &[u8]) -> Option<usize> {
    let (checksum, records) = rest.split_first_chunk::<4>()?;
    let whole = records.len().is_multiple_of(RECORD)
        && records.len() / RECORD <= MOST_RECORDS
        && crc32fast::hash(records) == u32::from_be_bytes(*checksum);
    whole.then_some(records.len() / RECORD)
}

fn push(records: &mut Vec<u8>, key: &[u8; KEY], known: &Known) {
    records.extend_from_slice(key);
    records.extend_from_slice(known.content.as_bytes());
    records.extend_from_slice(&[0, u8::from(known.has_xattrs)]);
}

fn known(record: &[u8]) -> Option<Known> {
    let content: [u8; 32] = record.get(KEY..AGE_AT)?.try_into().ok()?;
    Some(Known {
        content: Digest::from_bytes(content),
        has_xattrs: *record.get(AGE_AT + 1)? != 0,
    })
}

fn key(stamp: &Stamp) -> [u8; KEY] {
    let (modified, changed) = (stamp.modified, stamp.changed);
    let parts: [&[u8]; 7] = [
        &stamp.device.to_be_bytes(),
        &stamp.inode.to_be_bytes(),
        &stamp.size.to_be_bytes(),
        &modified.0.to_be_bytes(),
        &modified.1.to_be_bytes(),
        &changed.0.to_be_bytes(),
        &changed.1.to_be_bytes(),
    ];
    let mut key = [0; KEY];
    let mut rest = &mut key[..];
    for part in parts {
        let (to, after) = rest.split_at_mut(part.len());
        to.copy_from_slice(part);
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_000_000;

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(START.unsigned_abs())
    }

    fn identity() -> RootIdentity {
        RootIdentity::new(Path::new("/root"), 1, 2)
    }

    fn stamp(inode: u64, modified: (i64, u32), changed: (i64, u32)) -> Stamp {
        Stamp {
            device: 1,
            inode,
            size: 3,
            modified,
            changed,
        }
    }

    fn old(inode: u64) -> Stamp {
        stamp(inode, (5, 1), (START - 100, 7))
    }

    fn content(text: &str) -> Known {
        Known {
            content: Digest::of(text),
            has_xattrs: text.len() == 1,
        }
    }

    /// An index after saving and loading it.
    fn stored(fill: impl Fn(&StatIndex)) -> (tempfile::TempDir, StatIndex) {
        let dir = tempfile::tempdir().unwrap();
        let index = StatIndex::empty(identity(), start());
        fill(&index);
        index.save(&dir.path().join("index")).unwrap();
        let index = load(&dir);
        (dir, index)
    }

    fn load(dir: &tempfile::TempDir) -> StatIndex {
        StatIndex::load(&dir.path().join("index"), identity(), start())
    }

    #[test]
    fn a_record_is_found_by_its_whole_stamp() {
        let (_dir, index) = stored(|index| {
            for inode in [9, 2, 500, 77] {
                index.put(&old(inode), content(&inode.to_string()));
            }
        });
        for inode in [2, 9, 77, 500] {
            assert_eq!(index.get(&old(inode)), Some(content(&inode.to_string())));
        }
        let base = old(9);
        let others = [
            Stamp { device: 2, ..base },
            Stamp { inode: 10, ..base },
            Stamp { size: 4, ..base },
            Stamp {
                modified: (5, 2),
                ..base
            },
            Stamp {
                modified: (-5, 1),
                ..base
            },
            Stamp {
                changed: (START - 100, 8),
                ..base
            },
        ];
        for other in others {
            assert_eq!(index.get(&other), None, "{other:?}");
        }
    }

    #[test]
    fn what_may_still_change_unnoticed_is_not_kept() {
        let edge = START - 2;
        let cases = [
            (stamp(1, (5, 0), (edge - 1, 0)), true),
            (stamp(2, (edge - 1, 999_999_999), (5, 0)), true),
            (stamp(3, (5, 0), (edge, 0)), false),
            (stamp(4, (edge, 0), (5, 0)), false),
            (stamp(5, (5, 0), (START, 1)), false),
            // Times in the future, after the clock was set back.
            (stamp(6, (START + 1000, 0), (5, 0)), false),
        ];
        let (_dir, index) = stored(|index| {
            for (stamp, _) in &cases {
                index.put(stamp, content("x"));
            }
        });
        for (stamp, kept) in cases {
            assert_eq!(index.get(&stamp).is_some(), kept, "{stamp:?}");
        }
    }

    #[test]
    fn damage_and_other_contexts_are_an_empty_index() {
        let (dir, index) = stored(|index| {
            index.put(&old(1), content("a"));
            index.put(&old(2), content("b"));
        });
        assert_eq!(index.len(), 2);
        let path = dir.path().join("index");
        let whole = fsio::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
        damaged.extend((0..whole.len()).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        }));
        damaged.push([&whole[..], b"x"].concat());
        for bytes in damaged {
            fsio::write_atomic(&path, &bytes, Durability::Cached).unwrap();
            assert!(load(&dir).is_empty());
        }
        fsio::write_atomic(&path, &whole, Durability::Cached).unwrap();
        for other in [
            RootIdentity::new(Path::new("/other"), 1, 2),
            RootIdentity::new(Path::new("/root"), 9, 2),
            RootIdentity::new(Path::new("/root"), 1, 9),
        ] {
            assert!(StatIndex::load(&path, other, start()).is_empty());
        }
        assert!(StatIndex::load(&dir.path().join("none"), identity(), start()).is_empty());
    }

    #[test]
    fn records_that_are_no_longer_used_age_out() {
        let (dir, mut index) = stored(|index| {
            index.put(&old(1), content("kept"));
            index.put(&old(2), content("gone"));
        });
        let mut saves = 0;
        while index.find(&key(&old(2))).is_some() {
            assert_eq!(index.get(&old(1)), Some(content("kept")));
            saves += 1;
            index.put(&old(1000 + saves), content("new"));
            index.save(&dir.path().join("index")).unwrap();
            index = load(&dir);
            assert!(saves < 100, "never dropped");
        }
        assert_eq!(saves, u64::from(MOST_AGE) + 1);
        assert_eq!(index.get(&old(1)), Some(content("kept")));
    }

    #[test]
    fn nothing_new_is_not_written() {
        let (dir, index) = stored(|_| {});
        assert!(index.is_empty());
        assert!(fsio::read_dir_sorted(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn the_number_of_records_is_bounded() {
        let most = u64::try_from(MOST_RECORDS).unwrap();
        let (dir, index) = stored(|index| {
            for inode in 0..most + 10 {
                index.put(&old(inode), content("x"));
            }
        });
        assert_eq!(index.len(), MOST_RECORDS);
        // Of the old ones those stay that were used.
        assert!(index.get(&old(7)).is_some());
        index.put(&old(most * 2), content("new"));
        index.save(&dir.path().join("index")).unwrap();
        let index = load(&dir);
        assert_eq!(index.len(), MOST_RECORDS);
        assert!(index.get(&old(7)).is_some() && index.get(&old(most * 2)).is_some());
    }
}
