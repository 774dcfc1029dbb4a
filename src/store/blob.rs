//! Blobs: bytes under the name of their digest.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::lease::Held;
use super::remove::Leased;
use super::{Room, Store, StoreError};
use crate::fsio::{self, Context as _, Durability, HashingWriter, Stoppable};
use crate::oci::{BlobError, BlobSource, Descriptor, Digest, LayerSource};

impl Store {
    /// Whether a blob of this digest and size is here.
    #[must_use]
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        let path = self.held_blob(descriptor.digest);
        let held = self.leases.blobs.hold(descriptor.digest) != Held::No;
        held && fsio::metadata(path).is_ok_and(|m| m.is_file() && m.len() == descriptor.size)
    }

    /// Where a blob is if it is here. From here on nobody removes it.
    fn held_blob(&self, digest: Digest) -> PathBuf {
        let path = self.paths.blob(digest);
        if self.leases.blobs.hold(digest) == Held::Now {
            // The time of a blob says when it was used last. It is no harm if it cannot be set.
            let _touched = fsio::touch(&path);
        }
        path
    }

    /// Keeps some bytes (a config, a manifest) and names them.
    ///
    /// # Errors
    /// The disk.
    pub fn put_blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let descriptor = Descriptor::of(media_type, bytes);
        if !self.has_blob(&descriptor) {
            self.ingest(bytes, Some(&descriptor))?;
        }
        Ok(descriptor)
    }

    /// Streams a blob in. With `expected`, its digest and size are verified and nothing is kept where they differ.
    ///
    /// # Errors
    /// The reader, the disk, or other content than expected.
    pub fn ingest(
        &self,
        mut reader: impl Read,
        expected: Option<&Descriptor>,
    ) -> Result<(Digest, u64), StoreError> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("blob");
        let mut room = self.reserve(expected.map_or(0, |expected| expected.size))?;
        let mut reader = room.reader(&mut reader);
        let mut writer = HashingWriter::new(fsio::create(&path)?);
        copy(&mut reader, &mut writer).map_err(|source| match source {
            CopyError::Read(source) => StoreError::Ingest {
                digest: expected.map(|e| e.digest),
                source,
            },
            CopyError::Write(source) => fsio::Error::new("write", &path, source).into(),
        })?;
        let (digest, size, file) = writer.finish();
        let digest = Digest::from_bytes(digest);
        if let Some(expected) = expected
            && (expected.digest != digest || expected.size != size)
        {
            return Err(StoreError::Mismatch {
                expected: expected.digest,
                found: digest,
            });
        }
        self.publish_blob(&file, &path, digest)?;
        Ok((digest, size))
    }

    /// Gives a finished file in a scratch folder its name among the blobs.
    pub(super) fn publish_blob(
        &self,
        file: &File,
        path: &std::path::Path,
        digest: Digest,
    ) -> Result<(), StoreError> {
        fsio::sync(file, path)?;
        let target = self.held_blob(digest);
        if let Some(parent) = target.parent() {
            fsio::create_dir_all(parent)?;
        }
        fsio::replace(path, &target, Durability::Synced)?;
        self.grew(&target);
        Ok(())
    }

    /// Streams a blob through `write` into the store: for blobs made here, whose digest and size are known at the end. Room is
    /// reserved as it grows.
    ///
    /// # Errors
    /// Those of `write`, and the disk.
    pub fn create_blob<T, E: From<StoreError>>(
        &self,
        write: impl FnOnce(&mut HashingWriter<io::BufWriter<ReservingWriter<'_>>>) -> Result<T, E>,
    ) -> Result<(T, Digest, u64), E> {
        let room = self.reserve(0).map_err(E::from)?;
        let scratch = self.scratch().map_err(E::from)?;
        let path = scratch.path().join("blob");
        let file = fsio::create(&path).map_err(StoreError::from)?;
        let refused = Mutex::new(None);
        let refusal = || {
            refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let file = ReservingWriter {
            file,
            room: self.has_ceiling().then_some(room),
            reserved: 0,
            written: 0,
            refused: &refused,
        };
        let mut writer = HashingWriter::new(io::BufWriter::with_capacity(1 << 17, file));
        // That there is no room says more than that a write failed.
        let value = write(&mut writer).map_err(|error| refusal().map_or(error, E::from))?;
        let publish = || {
            let flushed = writer.flush().context("write", &path);
            flushed.map_err(|error| refusal().unwrap_or_else(|| error.into()))?;
            let (digest, size, buffered) = writer.finish();
            let reserving = buffered
                .into_inner()
                .map_err(|e| fsio::Error::new("write", &path, e.into_error()))?;
            let digest = Digest::from_bytes(digest);
            self.publish_blob(&reserving.file, &path, digest)?;
            Ok((digest, size))
        };
        let (digest, size) = publish().map_err(|e: StoreError| E::from(e))?;
        Ok((value, digest, size))
    }

    /// Makes sure that a blob is here, fetching it once across threads and processes, unless nobody wants it any more.
    ///
    /// # Errors
    /// It cannot be fetched, or is not what it should be; the disk; [`StoreError::Stopped`].
    pub fn fetch(
        &self,
        remote: &LayerSource,
        is_stopped: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        if self.has_blob(&remote.blob) {
            return Ok(());
        }
        let _lock = self.lock_unless("blob", remote.blob.digest, &is_stopped)?;
        while !self.has_blob(&remote.blob) {
            let places = remote.source.places();
            let reader = remote.source.open_blob(&remote.blob)?;
            match self.ingest(Stoppable::new(reader, &is_stopped), Some(&remote.blob)) {
                Err(_) if is_stopped() => return Err(StoreError::Stopped),
                // What is wrong at a mirror may be right elsewhere.
                Err(StoreError::Ingest { .. }) if remote.source.places() < places => {}
                result => return result.map(drop),
            }
        }
        Ok(())
    }

    /// A whole small blob, verified; `None` if it is not here or damaged.
    #[must_use]
    pub fn read_blob(&self, digest: Digest) -> Option<Vec<u8>> {
        let bytes = fsio::read(self.held_blob(digest)).ok()?;
        if Digest::of(&bytes) == digest {
            return Some(bytes);
        }
        self.forget_blob(digest);
        None
    }

    /// Opens a blob; the reader fails at the end if the content is not what the name says.
    ///
    /// # Errors
    /// It is not here.
    pub fn open_blob_file(&self, digest: Digest) -> Result<VerifyingReader<File>, StoreError> {
        Ok(VerifyingReader::new(
            fsio::open(self.held_blob(digest))?,
            digest,
        ))
    }

    /// Drops a damaged blob, so that it becomes a miss.
    pub fn forget_blob(&self, digest: Digest) {
        self.retire(Leased::Blob, digest, &self.paths.blob(digest));
    }
}

impl BlobSource for Store {
    fn open_blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, BlobError> {
        match self.open_blob_file(descriptor.digest) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(_) => Err(BlobError::NotFound(descriptor.digest)),
        }
    }
}

/// As much is reserved at a time for a blob that is being made.
const PORTION: u64 = 16 << 20;

/// Writes a blob, reserving room for it in portions.
#[derive(Debug)]
pub struct ReservingWriter<'s> {
    file: File,
    /// Where there is a ceiling. Otherwise the disk itself says when it is full.
    room: Option<Room<'s>>,
    reserved: u64,
    written: u64,
    /// Why there was no room.
    refused: &'s Mutex<Option<StoreError>>,
}

impl ReservingWriter<'_> {
    fn reserve(&mut self, bytes: u64) -> Result<(), StoreError> {
        let more = (self.written + bytes).saturating_sub(self.reserved);
        let Some(room) = self.room.as_mut().filter(|_| more > 0) else {
            return Ok(());
        };
        let portion = more.max(PORTION);
        // The last portion need not be a whole one.
        self.reserved += match room.grow(portion) {
            Ok(()) => portion,
            Err(_) => room.grow(more).map(|()| more)?,
        };
        Ok(())
    }
}

impl io::Write for ReservingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.reserve(bytes.len() as u64) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(error);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

fn copy(reader: &mut impl Read, writer: &mut impl io::Write) -> Result<(), CopyError> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => writer
                .write_all(&buffer[..count])
                .map_err(CopyError::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
}

/// Checks at the end of the stream that the content has the digest it should have.
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<Sha256>,
    expected: Digest,
}

impl<R: Read> VerifyingReader<R> {
    /// Wraps `inner`, whose whole content must have the digest `expected`.
    pub fn new(inner: R, expected: Digest) -> Self {
        Self {
            inner,
            hasher: Some(Sha256::new()),
            expected,
        }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
        {
            let found = Digest::from_bytes(hasher.finalize().into());
            if found != self.expected {
                let text = format!(
                    "content does not match its digest: expected {}, found {found}",
                    self.expected
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_takes_the_room_that_it_fills_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let ceiling = Some(super::super::Ceiling {
            max: 2 << 20,
            clock: || std::time::SystemTime::UNIX_EPOCH,
        });
        let store = Store::open(dir.path()).unwrap().with_ceiling(ceiling);
        let make = |bytes: usize| {
            store.create_blob(|out| {
                out.write_all(&vec![7; bytes])
                    .map_err(|source| fsio::Error::new("write", "blob", source).into())
            })
        };
        let ((), digest, size) = make(1 << 20).unwrap();
        assert!(store.open_blob_file(digest).is_ok());
        assert_eq!(size, 1 << 20);
        let refused: Result<_, StoreError> = make(3 << 20);
        assert!(matches!(refused, Err(StoreError::NoRoom { .. })));
    }

    #[test]
    fn what_goes_in_is_verified_and_damage_is_a_miss() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let blob = store.put_blob("text/plain", b"hello").unwrap();
        assert_eq!(store.read_blob(blob.digest).unwrap(), b"hello");
        let other = Descriptor::of("text/plain", b"other");
        assert!(matches!(
            store.ingest(&b"hello"[..], Some(&other)),
            Err(StoreError::Mismatch { .. })
        ));
        assert!(!store.has_blob(&other));
        std::fs::write(store.paths.blob(blob.digest), b"hellO").unwrap();
        let mut sink = Vec::new();
        assert!(
            store
                .open_blob_file(blob.digest)
                .unwrap()
                .read_to_end(&mut sink)
                .is_err()
        );
        assert_eq!(store.read_blob(blob.digest), None);
        assert!(!store.has_blob(&blob));
    }
}
