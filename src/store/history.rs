//! What explains builds afterwards: what was built where, how each Dockerfile's last build went, which files a digest stood
//! for, and when a result was evicted. Nothing here is needed to build; all of it may be gone.

use std::io::Read as _;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, record};
use crate::fsio::{self, Durability};
use crate::oci::Digest;

/// The most that a listing may have, unpacked.
const LARGEST_LISTING: usize = 16 << 20;
/// Listings are packed once and read seldom.
const LISTING_LEVEL: i32 = 3;

/// What was last built where in one Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The stages, once for each platform they were built for.
    pub stages: Vec<PlacedStage>,
}

/// A stage as it was last built for a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedStage {
    /// Its name; empty for the only stage of a file.
    pub name: String,
    /// The platform its steps ran for.
    pub platform: String,
    /// The image at the bottom of it.
    pub base: Option<PlacedBase>,
    /// Its steps, in order.
    pub steps: Vec<PlacedStep>,
}

/// An image that a stage stood on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedBase {
    /// As it was asked for.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// What names its layers.
    pub state: Digest,
}

/// A step as it was last built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedStep {
    /// The instruction.
    pub text: String,
    /// The key of its record.
    pub key: Digest,
    /// The layer it made.
    pub diff_id: Digest,
    /// Digest of the layer's table of contents without times.
    pub content_id: Digest,
}

impl Store {
    /// What was last built where in a Dockerfile; nothing if that is not known.
    #[must_use]
    pub fn places(&self, dockerfile: Digest) -> Places {
        record::read(&self.paths.place(dockerfile)).unwrap_or_default()
    }

    /// Remembers what was built where.
    ///
    /// # Errors
    /// The disk.
    pub fn put_places(&self, dockerfile: Digest, places: &Places) -> Result<(), StoreError> {
        let path = self.paths.place(dockerfile);
        Ok(record::write(&path, places, Durability::Cached)?)
    }

    /// Files how the last build of a Dockerfile went.
    ///
    /// # Errors
    /// The disk.
    pub fn put_build<T: Serialize>(&self, dockerfile: Digest, build: &T) -> Result<(), StoreError> {
        let path = self.paths.build(dockerfile);
        Ok(record::write(&path, build, Durability::Cached)?)
    }

    /// How the last build of each Dockerfile went, the newest first. What cannot be read is left out.
    pub fn builds<T: DeserializeOwned>(&self) -> impl Iterator<Item = T> + '_ {
        let folder = self.paths.builds();
        let names = fsio::read_dir_sorted(&folder).unwrap_or_default();
        let mut files: Vec<_> = names
            .iter()
            .map(|name| folder.join(name))
            .filter_map(|path| Some((fsio::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        files
            .into_iter()
            .filter_map(|(_, path)| record::read(&path))
    }

    /// Keeps the list of files that a digest stands for, packed.
    ///
    /// # Errors
    /// The disk.
    pub fn put_listing(&self, of: Digest, listing: &[u8]) -> Result<(), StoreError> {
        if listing.len() > LARGEST_LISTING {
            return Ok(());
        }
        let path = self.paths.listing(of);
        let packed = zstd::bulk::compress(listing, LISTING_LEVEL)
            .map_err(|source| fsio::Error::new("pack", &path, source))?;
        Ok(record::write_body(&path, &packed, Durability::Cached)?)
    }

    /// The list of files that a digest stands for, if it is known and whole.
    #[must_use]
    pub fn listing(&self, of: Digest) -> Option<Vec<u8>> {
        let packed = record::read_body(&self.paths.listing(of))?;
        let mut listing = Vec::new();
        let decoder = zstd::Decoder::with_buffer(packed.as_slice()).ok()?;
        let limit = LARGEST_LISTING as u64;
        decoder.take(limit).read_to_end(&mut listing).ok()?;
        Some(listing)
    }

    /// Remembers when a layer was evicted.
    ///
    /// # Errors
    /// The disk.
    pub fn note_evicted(&self, diff_id: Digest, now: SystemTime) -> Result<(), StoreError> {
        let path = self.paths.evicted(diff_id);
        record::write_bytes(&path, b"", Durability::Cached)?;
        Ok(fsio::set_modified(&path, now)?)
    }

    /// When a layer was evicted, if it was and somebody remembers.
    #[must_use]
    pub fn evicted(&self, diff_id: Digest) -> Option<SystemTime> {
        let note = fsio::metadata(self.paths.evicted(diff_id)).ok()?;
        note.modified().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn listings_are_whole_or_absent() {
        let (_folder, store) = store();
        let of = Digest::of("files");
        assert_eq!(store.listing(of), None);
        let listing = b"some files ".repeat(1000);
        store.put_listing(of, &listing).unwrap();
        assert_eq!(store.listing(of).as_deref(), Some(listing.as_slice()));
        let path = store.paths.listing(of);
        let good = fsio::read(&path).unwrap();
        assert!(good.len() < 200, "{} bytes", good.len());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            // The line end after the sum is the one byte that says nothing.
            assert_eq!(store.listing(of).is_none(), at != 64, "flipped at {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert_eq!(store.listing(of), None, "cut at {at}");
        }
        let large = vec![0; LARGEST_LISTING + 1];
        store.put_listing(Digest::of("large"), &large).unwrap();
        assert_eq!(store.listing(Digest::of("large")), None);
    }

    #[test]
    fn evictions_are_remembered_with_their_time() {
        let (_folder, store) = store();
        let layer = Digest::of("layer");
        assert_eq!(store.evicted(layer), None);
        for seconds in [1_700_000_000, 1_700_000_060] {
            let when = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            store.note_evicted(layer, when).unwrap();
            assert_eq!(store.evicted(layer), Some(when));
        }
    }

    #[test]
    fn builds_come_newest_first_and_damaged_ones_not_at_all() {
        let (_folder, store) = store();
        for (age, name) in ["newest", "older", "oldest", "damaged"].iter().enumerate() {
            let dockerfile = Digest::of(name);
            store.put_build(dockerfile, name).unwrap();
            let path = store.paths.build(dockerfile);
            if *name == "damaged" {
                std::fs::write(&path, "x").unwrap();
            }
            let ago = Duration::from_secs(1000 - 10 * age as u64);
            fsio::set_modified(&path, SystemTime::UNIX_EPOCH + ago).unwrap();
        }
        let builds: Vec<String> = store.builds().collect();
        assert_eq!(builds, ["newest", "older", "oldest"]);
    }
}
