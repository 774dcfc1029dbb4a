//! Kernel locks: held while a process lives, dropped by the kernel when it dies.
//!
//! A lock is one byte of a file, named by its offset, so that any number of things can be locked without a file for
//! each, and nothing is left to clean up.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::fsio::{self, Context as _};
use crate::oci::Digest;
use crate::sys::lock::{Sharing, lock_byte};

/// An exclusive lock, across threads and processes. Dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _held: File,
}

impl Lock {
    /// Waits for a byte of a file, which is made if it is not there.
    pub(super) fn acquire(path: &Path, byte: i64) -> fsio::Result<Self> {
        let file = open(path)?;
        lock_byte(file.as_fd(), byte, Sharing::Exclusive, true).context("lock", path)?;
        Ok(Self { _held: file })
    }

    /// Takes the lock if nobody holds it.
    pub(super) fn try_acquire(path: &Path, byte: i64) -> fsio::Result<Option<Self>> {
        let file = open(path)?;
        let free =
            lock_byte(file.as_fd(), byte, Sharing::Exclusive, false).context("lock", path)?;
        Ok(free.then_some(Self { _held: file }))
    }
}

pub(super) fn open(path: &Path) -> fsio::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .context("open the lock", path)
}

/// Opens a lock for those who only share it: they may be on a file system that they cannot write to.
pub(super) fn open_to_share(path: &Path) -> fsio::Result<File> {
    open(path).or_else(|_| fsio::open(path))
}

/// The byte that stands for a thing of a kind. Two things may share one, so a holder of one lock never waits for another
/// of the same kind.
pub(super) fn byte_of(what: Digest) -> i64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&what.as_bytes()[..8]);
    i64::from_be_bytes(bytes) & (i64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_at_a_time_for_a_thing_and_independent_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let (one, other) = (byte_of(Digest::of("one")), byte_of(Digest::of("other")));
        let held = Lock::acquire(&path, one).unwrap();
        assert!(Lock::try_acquire(&path, one).unwrap().is_none());
        assert!(Lock::try_acquire(&path, other).unwrap().is_some());
        drop(held);
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::acquire(&path, one).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
