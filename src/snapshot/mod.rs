//! Mountable file-system states for RUN: overlays of layer directories.
//!
//! A committed state is a list of layer directories, which the store knows. What is here is the active one: the pair of
//! directories that a step writes to. What becomes of its content is the business of `layer` and `store`.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use crate::fsio::{self, Context as _};

/// The upper and work directories of a step; removed with all their content when dropped.
#[derive(Debug)]
pub struct ActiveSnapshot {
    folder: PathBuf,
    upper: PathBuf,
    work: PathBuf,
}

impl ActiveSnapshot {
    /// Makes an empty one in `folder`, which must not exist yet, on top of `lower` (topmost first).
    ///
    /// The root directory of an overlay is its upper directory, so that one gets mode, owner and time of the topmost layer's.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn create(folder: impl Into<PathBuf>, lower: &[PathBuf]) -> fsio::Result<Self> {
        let folder = folder.into();
        fsio::create_dir(&folder)?;
        let snapshot = Self {
            upper: folder.join("upper"),
            work: folder.join("work"),
            folder,
        };
        fsio::create_dir(&snapshot.upper)?;
        fsio::create_dir(&snapshot.work)?;
        match lower.first() {
            Some(top) => copy_attributes(top, &snapshot.upper)?,
            None => fsio::set_mode(&snapshot.upper, 0o755)?,
        }
        Ok(snapshot)
    }

    /// Where the changes are.
    #[must_use]
    pub fn upper(&self) -> &Path {
        &self.upper
    }

    /// The overlay's scratch directory; for one mount only.
    #[must_use]
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Moves the changes to `path`, which must not exist yet and has to be on the same file system. They are not synced.
    ///
    /// # Errors
    /// When they cannot be moved; then they are gone.
    pub fn keep(self, path: impl AsRef<Path>) -> fsio::Result<()> {
        fsio::rename(&self.upper, path)
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next clean-up of the store.
        let _unused = fsio::remove_tree(&self.folder);
    }
}

fn copy_attributes(from: &Path, to: &Path) -> fsio::Result<()> {
    let stat = rustix::fs::stat(from).context("look at", from)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, to, flags, Mode::empty()).context("open", to)?;
    match rustix::fs::fchown(
        &folder,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    ) {
        // Without root all is owned by one user, and ownership lives in the table of contents.
        Err(rustix::io::Errno::PERM) => {}
        result => result.context("change the owner of", to)?,
    }
    rustix::fs::fchmod(&folder, Mode::from_raw_mode(stat.st_mode & 0o7777))
        .context("set the mode of", to)?;
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(&folder, &times).context("set the time of", to)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_root_looks_like_the_topmost_layers() {
        let scratch = tempfile::tempdir().unwrap();
        let layer = scratch.path().join("layer");
        fsio::create_dir(&layer).unwrap();
        fsio::set_mode(&layer, 0o1711).unwrap();
        let snapshot =
            ActiveSnapshot::create(scratch.path().join("step"), std::slice::from_ref(&layer))
                .unwrap();
        let (made, model) = (
            fsio::metadata(snapshot.upper()).unwrap(),
            fsio::metadata(&layer).unwrap(),
        );
        assert_eq!(
            (made.mode(), made.uid(), made.mtime()),
            (model.mode(), model.uid(), model.mtime())
        );
        assert_eq!(made.mtime_nsec(), model.mtime_nsec());
    }

    #[test]
    fn what_is_kept_stays_and_the_rest_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let step = scratch.path().join("step");
        let snapshot = ActiveSnapshot::create(&step, &[]).unwrap();
        fsio::create(snapshot.upper().join("made")).unwrap();
        snapshot.keep(scratch.path().join("kept")).unwrap();
        assert_eq!(fsio::read_dir_sorted(scratch.path()).unwrap(), ["kept"]);
        assert_eq!(
            fsio::read_dir_sorted(scratch.path().join("kept")).unwrap(),
            ["made"]
        );

        drop(ActiveSnapshot::create(&step, &[]).unwrap());
        assert_eq!(fsio::read_dir_sorted(scratch.path()).unwrap(), ["kept"]);
        let _first = ActiveSnapshot::create(&step, &[]).unwrap();
        assert!(ActiveSnapshot::create(&step, &[]).is_err());
    }
}
