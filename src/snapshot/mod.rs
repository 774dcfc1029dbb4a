//! Mountable file-system states for RUN: overlays of layer directories.
//!
//! A committed state is a list of layer directories, which the store knows. What is here is the start of the next one: the
//! directories that a step writes to. What becomes of their content is the business of `layer` and `store`.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};

use crate::fsio::{self, Context as _};

/// The directories that a step writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Where the changes go.
    pub upper: PathBuf,
    /// The overlay's scratch directory; for one mount only.
    pub work: PathBuf,
}

/// Makes the directories for a step on top of `lower` (topmost first), in the empty directory `folder`.
///
/// The root directory of an overlay is its upper directory, so that one gets mode, owner and time of the topmost layer's.
///
/// # Errors
/// When they cannot be made.
pub fn prepare(folder: &Path, lower: &[PathBuf]) -> fsio::Result<Active> {
    let active = Active {
        upper: folder.join("upper"),
        work: folder.join("work"),
    };
    fsio::create_dir(&active.upper)?;
    fsio::create_dir(&active.work)?;
    match lower.first() {
        Some(top) => copy_attributes(top, &active.upper)?,
        // Everybody may enter it, whatever the builder's umask is.
        None => fsio::set_mode(&active.upper, 0o755)?,
    }
    Ok(active)
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
        let [layer, step] = ["layer", "step"].map(|name| scratch.path().join(name));
        fsio::create_dir(&layer).unwrap();
        fsio::create_dir(&step).unwrap();
        fsio::set_mode(&layer, 0o1711).unwrap();
        let active = prepare(&step, std::slice::from_ref(&layer)).unwrap();
        let (made, model) = (
            fsio::metadata(active.upper).unwrap(),
            fsio::metadata(&layer).unwrap(),
        );
        assert_eq!(
            (made.mode(), made.uid(), made.mtime()),
            (model.mode(), model.uid(), model.mtime())
        );
        assert_eq!(made.mtime_nsec(), model.mtime_nsec());
    }

    #[test]
    fn a_root_without_layers_is_open_to_all() {
        let scratch = tempfile::tempdir().unwrap();
        let active = prepare(scratch.path(), &[]).unwrap();
        assert_eq!(fsio::metadata(active.upper).unwrap().mode() & 0o7777, 0o755);
        assert!(fsio::read_dir_sorted(active.work).unwrap().is_empty());
        assert!(prepare(scratch.path(), &[]).is_err());
    }
}
