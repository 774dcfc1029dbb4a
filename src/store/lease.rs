//! Leases: what a process uses, nobody takes away while it lives.
//!
//! A lease is a shared kernel lock on one byte, named by the object's digest. It is taken when the store is asked for the
//! object and kept until the store is closed, at the latest until the process is gone, however it ends. Who wants to
//! remove an object takes the byte for himself first. So there is one order for everybody who uses something: lease, then look.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::lock::{self, Lock};
use super::paths::Paths;
use crate::fsio::{self, Context as _};
use crate::oci::Digest;
use crate::sys::lock::{Sharing, lock_byte};

/// The leases of one open store.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) layers: Kind,
    pub(super) blobs: Kind,
    pub(super) mounts: Kind,
}

/// The leases of objects of one kind.
#[derive(Debug)]
pub(super) struct Kind {
    path: PathBuf,
    /// Opened once: a description shares its locks with nobody.
    file: OnceLock<File>,
    held: Mutex<BTreeSet<i64>>,
}

/// What a lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// It is new.
    Now,
    /// This process had it.
    Before,
    /// It cannot be had: the object must not be relied on.
    No,
}

impl Leases {
    pub(super) fn new(paths: &Paths) -> Self {
        let kind = |name| Kind {
            path: paths.lock(name),
            file: OnceLock::new(),
            held: Mutex::default(),
        };
        Self {
            layers: kind("use-layer"),
            blobs: kind("use-blob"),
            mounts: kind("use-mount"),
        }
    }
}

impl Kind {
    /// Sees to it that nobody removes the object. Waits while somebody does.
    pub(super) fn hold(&self, what: Digest) -> Held {
        let byte = lock::byte_of(what);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.contains(&byte) {
            return Held::Before;
        }
        match self.lock(byte) {
            Ok(()) => {
                held.insert(byte);
                Held::Now
            }
            Err(_) => Held::No,
        }
    }

    fn lock(&self, byte: i64) -> fsio::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let opened = lock::open_to_share(&self.path)?;
                self.file.get_or_init(|| opened)
            }
        };
        lock_byte(file.as_fd(), byte, Sharing::Shared, true).context("lock", &self.path)?;
        Ok(())
    }

    /// The right to remove the object, if nobody uses it, this process included.
    pub(super) fn take(&self, what: Digest) -> fsio::Result<Option<Lock>> {
        Lock::try_acquire(&self.path, lock::byte_of(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_cannot_be_taken_and_what_is_taken_can_be_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        fsio::create_dir_all(paths.lock("use-layer").parent().unwrap()).unwrap();
        let [user, other] = [(); 2].map(|()| Leases::new(&paths));
        let [one, two] = ["one", "two"].map(Digest::of);
        assert_eq!(user.layers.hold(one), Held::Now);
        assert_eq!(user.layers.hold(one), Held::Before);
        assert_eq!(other.layers.hold(one), Held::Now, "it is shared");
        drop(other);
        assert!(
            user.layers.take(one).unwrap().is_none(),
            "even from oneself"
        );
        let taken = user.layers.take(two).unwrap().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| user.layers.hold(two));
            drop(taken);
            assert_eq!(waiting.join().unwrap(), Held::Now);
        });
        drop(user);
        let later = Leases::new(&paths);
        assert!(
            later.layers.take(one).unwrap().is_some(),
            "it ends with its store"
        );
    }
}
