//! Mount points that the set-up had to make: remembered while it runs, removed from the upper directory afterwards, so that
//! a layer shows what the command did and nothing of the sandbox.
//!
//! They are removed only as they were made, empty: what the command put into one is the command's. The folder that held one gets
//! back the modification time it had, unless the command changed the folder as well.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, Timespec, Timestamps,
    UTIME_OMIT, futimens, openat, openat2, statat, statx, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::super::{Operation, SetupFailure};
use super::failed;

/// A modification time: seconds and nanoseconds.
type Time = (i64, u32);

/// The mount points that were made, and the folders they were made in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stubs {
    folders: Vec<Folder>,
    /// In the order in which they were made: what is inside another comes later.
    made: Vec<Stub>,
}

/// A folder in which a mount point was made.
#[derive(Debug, Serialize, Deserialize)]
struct Folder {
    /// Path below the root without links; empty for the root.
    path: Vec<u8>,
    before: Time,
    after: Time,
}

/// One file or folder that was made as a mount point.
#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    folder: usize,
    name: Vec<u8>,
}

/// Takes notes while mount points are made.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    stubs: Stubs,
    /// The folders, open until their final times are known.
    open: Vec<OwnedFd>,
}

impl Recorder {
    /// Notes that `name` is about to be made in the folder `path`.
    pub(super) fn before_making(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
    ) -> Result<(), Errno> {
        let number = self.before_changing(folder, path)?;
        self.stubs.made.push(Stub {
            folder: number,
            name: name.to_vec(),
        });
        Ok(())
    }

    /// Notes that something is about to change in the folder `path`, which is to look untouched afterwards; gives its number.
    pub(super) fn before_changing(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<usize, Errno> {
        let known = self
            .stubs
            .folders
            .iter()
            .position(|known| known.path == path);
        if let Some(number) = known {
            return Ok(number);
        }
        let before = modified(folder)?;
        self.open.push(rustix::io::fcntl_dupfd_cloexec(folder, 3)?);
        self.stubs.folders.push(Folder {
            path: path.to_vec(),
            before,
            after: before,
        });
        Ok(self.stubs.folders.len() - 1)
    }

    /// The notes, once nothing more will be made and nothing of the step runs yet.
    pub(super) fn finish(mut self) -> Stubs {
        for (folder, open) in self.stubs.folders.iter_mut().zip(&self.open) {
            folder.after = modified(open.as_fd()).unwrap_or(folder.after);
        }
        self.stubs
    }
}

fn modified(folder: BorrowedFd<'_>) -> Result<Time, Errno> {
    let stat = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MTIME)?;
    Ok((stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec))
}

/// Removes the mount points from the upper directory of an overlay that is not mounted any more.
pub(super) fn remove(upper: &Path, stubs: &Stubs) -> Result<(), SetupFailure> {
    remove_around(upper, stubs, || ())
}

/// The same, with more to be removed by `others`, whose traces in the times of folders are removed as well.
pub(super) fn remove_around(
    upper: &Path,
    stubs: &Stubs,
    others: impl FnOnce(),
) -> Result<(), SetupFailure> {
    if stubs.folders.is_empty() {
        others();
        return Ok(());
    }
    let named = || failed(Operation::RemoveStub, upper.display().to_string());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, upper, flags, Mode::empty()).map_err(named())?;
    // A folder that the command removed or replaced has taken the mount points with it.
    let mut open = Vec::new();
    for folder in &stubs.folders {
        let path = if folder.path.is_empty() {
            b".".as_slice()
        } else {
            &folder.path
        };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let found = openat2(&root, path, flags, Mode::empty(), resolve).ok();
        open.push(match found {
            Some(found) => Some((modified(found.as_fd()).map_err(named())?, found)),
            None => None,
        });
    }
    others();
    for stub in stubs.made.iter().rev() {
        if let Some(Some((_, folder))) = open.get(stub.folder) {
            let name = String::from_utf8_lossy(&stub.name);
            remove_one(folder.as_fd(), &stub.name).map_err(failed(Operation::RemoveStub, name))?;
        }
    }
    for (folder, open) in stubs.folders.iter().zip(&open) {
        if let Some((now, open)) = open {
            let time = if *now == folder.after {
                folder.before
            } else {
                *now
            };
            set_modified(open.as_fd(), time).map_err(named())?;
        }
    }
    Ok(())
}

fn remove_one(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let result = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => unlinkat(folder, name, AtFlags::REMOVEDIR),
        FileType::RegularFile if stat.st_size == 0 => unlinkat(folder, name, AtFlags::empty()),
        _ => Ok(()),
    };
    match result {
        // The command put something into it.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        result => result,
    }
}

fn set_modified(folder: BorrowedFd<'_>, (seconds, nanoseconds): Time) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: i64::from(nanoseconds),
        },
    };
    match futimens(folder, &times) {
        // A folder that was itself a mount point is gone by now.
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::fsio;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.directory("etc");
            tree
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }

        fn open(&self, name: &str) -> OwnedFd {
            openat(
                CWD,
                self.path(name),
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .unwrap()
        }

        fn directory(&self, name: &str) {
            fsio::create_dir(self.path(name)).unwrap();
        }

        fn set_time(&self, name: &str, seconds: i64) {
            set_modified(self.open(name).as_fd(), (seconds, 7)).unwrap();
        }

        fn time(&self, name: &str) -> (i64, i64) {
            let found = fsio::symlink_metadata(self.path(name)).unwrap();
            (found.mtime(), found.mtime_nsec())
        }

        fn exists(&self, name: &str) -> bool {
            fsio::symlink_metadata(self.path(name)).is_ok()
        }

        /// Makes `etc/hosts`, `etc/resolv.conf` and `run/secrets`.
        fn make_stubs(&self) -> Stubs {
            let mut recorder = Recorder::default();
            for name in ["hosts", "resolv.conf"] {
                recorder
                    .before_making(self.open("etc").as_fd(), b"etc", name.as_bytes())
                    .unwrap();
                fsio::create(self.path("etc").join(name)).unwrap();
            }
            recorder
                .before_making(self.open("").as_fd(), b"", b"run")
                .unwrap();
            self.directory("run");
            recorder
                .before_making(self.open("run").as_fd(), b"run", b"secrets")
                .unwrap();
            self.directory("run/secrets");
            recorder.finish()
        }
    }

    #[test]
    fn everything_that_was_made_goes_and_times_come_back() {
        let tree = Tree::new();
        tree.set_time("etc", 1000);
        tree.set_time("", 2000);
        let stubs = tree.make_stubs();
        remove(tree.0.path(), &stubs).unwrap();
        assert!(
            !tree.exists("etc/hosts") && !tree.exists("etc/resolv.conf") && !tree.exists("run")
        );
        assert_eq!((tree.time("etc"), tree.time("")), ((1000, 7), (2000, 7)));
    }

    #[test]
    fn what_the_command_did_stays() {
        let tree = Tree::new();
        let stubs = tree.make_stubs();
        fsio::write_atomic(&tree.path("etc/hosts"), b"1", fsio::Durability::Cached).unwrap();
        fsio::create(tree.path("run/secrets/kept")).unwrap();
        tree.set_time("etc", 3000);
        remove(tree.0.path(), &stubs).unwrap();
        assert!(tree.exists("etc/hosts") && tree.exists("run/secrets/kept"));
        assert!(!tree.exists("etc/resolv.conf"));
        assert_eq!(
            tree.time("etc"),
            (3000, 7),
            "the time that the command left"
        );
    }

    #[test]
    fn a_folder_that_became_a_link_is_not_followed() {
        let tree = Tree::new();
        let outside = Tree::new();
        let stubs = tree.make_stubs();
        outside.make_stubs();
        fsio::remove_tree(tree.path("etc")).unwrap();
        fsio::symlink(outside.path("etc"), tree.path("etc")).unwrap();
        remove(tree.0.path(), &stubs).unwrap();
        assert!(outside.exists("etc/hosts"));
        assert!(!tree.exists("run"));
    }
}
