//! Cgroups that are of no use any more: their removal, and how one that a killed builder left is told from one in use.
//!
//! A builder holds a lock on the folder of each cgroup that it made. The kernel drops it with the builder, in whatever process
//! namespace that was.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;

use crate::fsio;

/// How the names of our cgroups begin.
pub(super) const PREFIX: &str = "builder-step-";

/// A killed process is out of its cgroup a moment later.
const WAIT: Duration = Duration::from_millis(2);
const WAITS: u32 = 500;

/// Opens the folder of a cgroup, and locks it.
pub(super) fn lock(folder: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = openat(CWD, folder, flags, Mode::empty())?;
    flock(&descriptor, FlockOperation::NonBlockingLockExclusive)?;
    // Somebody who took it for a leftover may have removed it before it was locked.
    rustix::fs::stat(folder)?;
    Ok(descriptor)
}

/// Removes what killed builders left in a folder.
pub(super) fn sweep(folder: &Path) {
    for name in fsio::read_dir_sorted(folder).unwrap_or_default() {
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_ours {
            continue;
        }
        let path = folder.join(name);
        if let Ok(lock) = lock(&path) {
            kill(&path);
            // One that is still being left is found by whoever comes next.
            let _gone = remove_now(&path);
            drop(lock);
        }
    }
}

/// Removes a cgroup when its processes are out of it, and helps them on their way.
pub(in crate::sandbox) fn remove(folder: &Path) {
    for attempt in 0..WAITS {
        match remove_now(folder) {
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            // Removed, or there is nothing that waiting would help with.
            _ => return,
        }
        if attempt == 0 {
            kill(folder);
        }
        std::thread::sleep(WAIT);
    }
}

/// Kills every process of a cgroup, where the kernel can (version 2, Linux 5.14).
fn kill(folder: &Path) {
    let _there_is_no_such_file = fsio::write_to(folder.join("cgroup.kill"), b"1");
}

/// Removes a cgroup with those in it, which a step without confinement can make.
fn remove_now(folder: &Path) -> Result<(), Errno> {
    match rustix::fs::rmdir(folder) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        result => return result,
    }
    for name in fsio::read_dir_sorted(folder).unwrap_or_default() {
        let path: PathBuf = folder.join(name);
        if fsio::symlink_metadata(&path).is_ok_and(|there| there.is_dir()) {
            remove_now(&path)?;
        }
    }
    rustix::fs::rmdir(folder)
}
