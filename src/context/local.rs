//! A directory of this machine as a context: its root, and the content of its files.
//!
//! Paths are found in `lookup`, whole trees in `walk`, digests in `tree_digest`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fgetxattr, flistxattr};

use super::beneath::open_beneath;
use super::ignore::IgnoreFile;
use super::pattern_list::PatternList;
use super::stat_index::RootIdentity;
use super::walk::Walk;
use super::{ContextError, Entry, EntryKind};
use crate::fsio::{self, Context as _};

/// Extended attributes by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory offered as a context, seen through its ignore file.
#[derive(Debug)]
pub struct LocalContext {
    root: PathBuf,
    directory: OwnedFd,
    identity: RootIdentity,
    ignore: IgnoreFile,
}

/// The content of a file of a context.
#[derive(Debug)]
pub struct Content(Option<File>);

impl Content {
    /// The open file; `None` for a socket, which counts as an empty file.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.0.as_ref()
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

impl LocalContext {
    /// Opens a directory as a context.
    ///
    /// # Errors
    /// A root that is not there, is no directory, or cannot be read.
    pub fn open(root: impl AsRef<Path>, ignore: IgnoreFile) -> Result<Self, ContextError> {
        let given = root.as_ref();
        let unreadable = |source: fsio::Error| {
            let path = given.to_owned();
            match source.source.kind() {
                io::ErrorKind::NotFound => ContextError::RootNotFound { path },
                io::ErrorKind::NotADirectory => ContextError::RootNotDirectory { path },
                _ => ContextError::RootUnreadable { source },
            }
        };
        let root = fsio::canonicalize(given).map_err(unreadable)?;
        let directory = fsio::open(&root).map_err(unreadable)?;
        let metadata = directory
            .metadata()
            .context("look at", given)
            .map_err(unreadable)?;
        if !metadata.is_dir() {
            return Err(ContextError::RootNotDirectory {
                path: given.to_owned(),
            });
        }
        Ok(Self {
            identity: RootIdentity::new(&root, metadata.dev(), metadata.ino()),
            root,
            directory: directory.into(),
            ignore,
        })
    }

    /// The root directory, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What tells this context from every other on the machine: the owner of a stat index.
    #[must_use]
    pub fn identity(&self) -> RootIdentity {
        self.identity
    }

    /// The rules that decide what is in.
    #[must_use]
    pub fn ignore(&self) -> &IgnoreFile {
        &self.ignore
    }

    /// Everything below a directory, without what is ignored or excluded by `exclude`, whose patterns are relative
    /// to that directory. Sorted by components, a directory before what is in it. The directory itself is not part of
    /// it; anything but a directory has nothing below it.
    #[must_use]
    pub fn walk<'a>(&'a self, directory: &Entry, exclude: &'a PatternList) -> Walk<'a> {
        Walk::new(self, directory, exclude)
    }

    /// Opens the content of a file. Links are not followed, and nothing outside the root can be reached.
    ///
    /// # Errors
    /// A file that cannot be read, is gone, or has become something else; the error names it.
    pub fn open_content(&self, entry: &Entry) -> Result<Content, ContextError> {
        let full = self.root.join(&entry.path);
        // Not blocking, in case it has become a pipe since.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        match self.open_beneath(&entry.path, flags) {
            Ok(file) => {
                let file = File::from(file);
                if !file.metadata().context("look at", &full)?.is_file() {
                    let changed = io::Error::other("it is no longer a regular file");
                    return Err(fsio::Error::new("open", full, changed).into());
                }
                Ok(Content(Some(file)))
            }
            // What opening a socket answers.
            Err(rustix::io::Errno::NXIO) if entry.size() == 0 => Ok(Content(None)),
            Err(source) => Err(fsio::Error::new("open", full, source).into()),
        }
    }

    /// The extended attributes that a copy keeps: file capabilities and `user.*`. Best effort: a file system without
    /// them, or a file that cannot be read, has none.
    #[must_use]
    pub fn xattrs(&self, entry: &Entry) -> Xattrs {
        let has = matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        if !has {
            return Xattrs::new();
        }
        self.open_beneath(&entry.path, flags)
            .map(|file| xattrs_of(&file))
            .unwrap_or_default()
    }

    /// Opens a path without links beneath the root.
    pub(super) fn open_beneath(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.directory.as_fd(), path, flags)
    }
}

/// The attributes of an open file that a copy keeps.
pub(super) fn xattrs_of(file: impl AsFd) -> Xattrs {
    let kept = |name: &[u8]| name == b"security.capability" || name.starts_with(b"user.");
    let names = sized(|buffer| flistxattr(&file, buffer)).unwrap_or_default();
    let value = |name: &[u8]| {
        let value = sized(|buffer| fgetxattr(&file, name, buffer))?;
        Some((name.to_vec(), value))
    };
    let names = names.split(|&byte| byte == 0).filter(|name| kept(name));
    names.filter_map(value).collect()
}

/// Asks for the size of an answer first, then for the answer: nearly always there is none.
fn sized(ask: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Option<Vec<u8>> {
    let size = ask(&mut []).ok()?;
    let mut answer = vec![0; size];
    if size > 0 {
        let length = ask(&mut answer).ok()?;
        answer.truncate(length);
    }
    Some(answer)
}
