//! Kernel locks: held while a process lives, dropped by the kernel when it dies.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::fsio::{self, Context as _};

/// An exclusive lock on a name, across threads and processes. Dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock.
    pub(super) fn acquire(path: &Path) -> fsio::Result<Self> {
        loop {
            let file = fsio::create(path)?;
            flock(&file, FlockOperation::LockExclusive).context("lock", path)?;
            // The holder before us removes the file while it holds the lock; then ours is a lock on nothing.
            if still_there(&file, path) {
                return Ok(Self {
                    file,
                    path: path.to_owned(),
                });
            }
        }
    }

    /// Takes the lock if nobody holds it.
    pub(super) fn try_acquire(path: &Path) -> fsio::Result<Option<Self>> {
        let file = match fsio::open(path) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => fsio::create(path)?,
            Err(error) => return Err(error),
        };
        let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && still_there(&file, path);
        Ok(free.then(|| Self {
            file,
            path: path.to_owned(),
        }))
    }
}

fn still_there(file: &File, path: &Path) -> bool {
    match (file.metadata(), fsio::symlink_metadata(path)) {
        (Ok(held), Ok(named)) => held.dev() == named.dev() && held.ino() == named.ino(),
        _ => false,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still held, so that nobody can lock a file that is about to vanish unnoticed.
        let _gone = fsio::remove_file_if_there(&self.path);
        let _released = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_no_file_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _lock = Lock::acquire(&path).unwrap();
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
    }

    #[test]
    fn a_held_lock_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let held = Lock::acquire(&path).unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }
}
