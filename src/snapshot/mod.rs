//! File-system states for RUN: overlays of layer directories, or copies of what they show.
//!
//! A committed state is a list of layer directories, which the store knows. What is here is the start of the next one: the
//! directories that a step writes to. What becomes of their content is the business of `layer` and `store`.

mod tree;

use std::path::{Path, PathBuf};

use crate::fsio;
use crate::layer::Entry;

pub use tree::Tree;

/// How the root file system of a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshotter {
    /// An overlay is mounted: costs what the step changes.
    Overlay,
    /// All files are copied: costs what the image has.
    Copy,
}

impl Snapshotter {
    /// The one of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "overlay" => Some(Self::Overlay),
            "copy" => Some(Self::Copy),
            _ => None,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Copy => "copy",
        }
    }
}

/// The directories that a step writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// Where the changes go.
    pub upper: PathBuf,
    /// The overlay's scratch directory; for one mount only.
    pub work: PathBuf,
}

/// Makes the directories for a step in the empty directory `folder`. `root` is the root directory of what is below.
///
/// The root directory of an overlay is its upper directory, so that one gets mode and owner of the root it stands for:
/// what was so before the step is not the step's change.
///
/// # Errors
/// When they cannot be made.
pub fn prepare(folder: &Path, root: Option<&Entry>) -> fsio::Result<Active> {
    let active = Active {
        upper: folder.join("upper"),
        work: folder.join("work"),
    };
    fsio::create_dir(&active.upper)?;
    fsio::create_dir(&active.work)?;
    if let Some(root) = root {
        match fsio::set_owner(&active.upper, root.uid, root.gid) {
            // Without root all is owned by one user, and ownership lives in the table of contents.
            Err(error) if error.is_permission() || error.is_invalid() => {}
            result => result?,
        }
    }
    // Everybody may enter it unless the image says otherwise, whatever the builder's umask is.
    fsio::set_mode(&active.upper, root.map_or(0o755, |root| root.mode))?;
    Ok(active)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::layer::EntryKind;

    #[test]
    fn the_root_looks_like_what_it_stands_for() {
        for (mode, root) in [(0o755, None), (0o1711, Some(0o1711))] {
            let scratch = tempfile::tempdir().unwrap();
            let root = root.map(|mode| Entry::new("", EntryKind::directory(), mode));
            let active = prepare(scratch.path(), root.as_ref()).unwrap();
            assert_eq!(fsio::metadata(&active.upper).unwrap().mode() & 0o7777, mode);
            assert!(fsio::read_dir_sorted(active.work).unwrap().is_empty());
            assert!(prepare(scratch.path(), None).is_err());
        }
    }
}
