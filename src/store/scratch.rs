//! Scratch folders of a running process, and the removal of what dead processes left.
//!
//! A process has a folder of its own only when it makes something: who only looks needs no space on the disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock::Lock;
use super::paths::Paths;
use crate::fsio;

/// Before the name of a folder that its process is making.
const UNBORN: &str = ".new-";
/// Name of the file that says what a process has reserved.
const RESERVED: &str = "reserved";

/// What all living processes have reserved.
pub(super) fn reserved(paths: &Paths) -> u64 {
    let of = |name: std::ffi::OsString| -> Option<u64> {
        let folder = paths.tmp().join(name);
        let reserved = fsio::read_to_string(folder.join(RESERVED)).ok()?;
        let is_dead = matches!(Lock::try_acquire(&folder.join("lock"), 0), Ok(Some(_)));
        if is_dead { None } else { reserved.parse().ok() }
    };
    let names = fsio::read_dir_sorted(paths.tmp()).unwrap_or_default();
    names.into_iter().filter_map(of).sum()
}

/// This process's folder below `tmp`. Its lock is the process's sign of life.
#[derive(Debug)]
pub(super) struct Workplace {
    path: PathBuf,
    next: AtomicU64,
    lock: Option<Lock>,
    /// Bytes that this process is about to write.
    pub(super) reserved: Mutex<u64>,
}

impl Workplace {
    pub(super) fn open(paths: &Paths) -> fsio::Result<Arc<Self>> {
        let name = fsio::unique();
        let path = paths.tmp().join(&name);
        // Locked before it has its name: under that name it is either locked or left behind.
        let aside = paths.tmp().join(format!("{UNBORN}{name}"));
        fsio::create_dir(&aside)?;
        let lock = Lock::acquire(&aside.join("lock"), 0)?;
        fsio::rename(&aside, &path)?;
        Ok(Arc::new(Self {
            path,
            next: AtomicU64::new(0),
            lock: Some(lock),
            reserved: Mutex::default(),
        }))
    }

    /// Lets other processes see what this one has reserved.
    pub(super) fn show_reserved(&self, bytes: u64) -> fsio::Result<()> {
        let path = self.path.join(RESERVED);
        fsio::write_atomic(
            &path,
            bytes.to_string().as_bytes(),
            fsio::Durability::Cached,
        )
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        drop(self.lock.take());
        let _gone = fsio::remove_tree(&self.path);
    }
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _workplace: Arc<Workplace>,
}

impl Scratch {
    pub(super) fn new(workplace: &Arc<Workplace>) -> fsio::Result<Self> {
        let number = workplace.next.fetch_add(1, Ordering::Relaxed);
        let path = workplace.path.join(number.to_string());
        fsio::create_dir(&path)?;
        Ok(Self {
            path,
            _workplace: Arc::clone(workplace),
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fsio::remove_tree(&self.path);
    }
}

/// Removes the folders of processes that are no more: those whose lock nobody holds.
pub(super) fn remove_leftovers(paths: &Paths) -> fsio::Result<()> {
    for name in fsio::read_dir_sorted(paths.tmp())? {
        let folder = paths.tmp().join(&name);
        let lock_path = folder.join("lock");
        // A process that is making its folder has not locked it yet: leave young ones alone.
        if name.as_encoded_bytes().starts_with(UNBORN.as_bytes()) && is_young(&folder) {
            continue;
        }
        if let Ok(Some(lock)) = Lock::try_acquire(&lock_path, 0) {
            // What cannot be removed now is tried again by the next process.
            let _gone = fsio::remove_tree(&folder);
            drop(lock);
        }
    }
    Ok(())
}

fn is_young(folder: &Path) -> bool {
    let age = fsio::symlink_metadata(folder)
        .ok()
        .and_then(|m| m.modified().ok()?.elapsed().ok());
    age.is_none_or(|age| age.as_secs() < 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path());
        fsio::create_dir_all(paths.tmp().join("1-0/0")).unwrap();
        std::fs::write(paths.tmp().join("1-0/lock"), "").unwrap();
        let alive = Workplace::open(&paths).unwrap();
        let scratch = Scratch::new(&alive).unwrap();
        remove_leftovers(&paths).unwrap();
        assert!(scratch.path().is_dir());
        assert_eq!(fsio::read_dir_sorted(paths.tmp()).unwrap().len(), 1);
        drop((scratch, alive));
        assert!(fsio::read_dir_sorted(paths.tmp()).unwrap().is_empty());
    }
}
