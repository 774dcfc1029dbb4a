//! A directory of this machine as a context: its root, and the content of its files.
//!
//! Paths are found in `lookup`, whole trees in `walk`, digests in `tree_digest`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};

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
pub struct LocalContext {
    root: PathBuf,
    directory: OwnedFd,
    identity: RootIdentity,
    ignore: IgnoreFile,
    /// Whether nobody wants to know of it any more.
    is_stopped: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for LocalContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LocalContext");
        shown.field("root", &self.root).finish_non_exhaustive()
    }
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
            is_stopped: Box::new(|| false),
        })
    }

    /// The same context; hashing it ends soon after `is_stopped` says that nobody wants to know.
    #[must_use]
    pub fn stopped_by(mut self, is_stopped: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.is_stopped = Box::new(is_stopped);
        self
    }

    /// Fails once nobody wants to know of it any more.
    pub(super) fn go_on(&self) -> Result<(), ContextError> {
        match (self.is_stopped)() {
            true => Err(ContextError::Stopped),
            false => Ok(()),
        }
    }

    /// The root directory, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root directory, open.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
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
        Walk::new(self, directory, exclude, Path::new(""))
    }

    /// As [`Self::walk`], where the patterns know the directory by another path, as those of `COPY --parents` do.
    #[must_use]
    pub fn walk_as<'a>(
        &'a self,
        directory: &Entry,
        exclude: &'a PatternList,
        known_as: &Path,
    ) -> Walk<'a> {
        Walk::new(self, directory, exclude, known_as)
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
    // Nearly always there is none, so the size is asked for first.
    let names = match flistxattr_query(&file) {
        Ok(size) if size > 0 => filled(size, |buffer| flistxattr(&file, buffer)),
        _ => None,
    };
    let value = |name: &[u8]| {
        let size = fgetxattr_query(&file, name).ok()?;
        let value = filled(size, |buffer| fgetxattr(&file, name, buffer))?;
        Some((name.to_vec(), value))
    };
    let names = names.unwrap_or_default();
    let names = names.split(|&byte| byte == 0).filter(|name| kept(name));
    names.filter_map(value).collect()
}

/// A buffer with what was read into it.
fn filled(size: usize, read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Option<Vec<u8>> {
    let mut buffer = vec![0; size];
    let length = read(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{context, put, tree};
    use super::*;

    #[test]
    fn a_root_has_to_be_a_directory() {
        let dir = tree(&[("file", ""), ("sub/x", ""), ("link", "->sub")]);
        let open = |name: &str| LocalContext::open(dir.path().join(name), IgnoreFile::none());
        for (name, what) in [
            ("none", "not found"),
            ("file", "is not a directory"),
            ("file/x", "is not a directory"),
        ] {
            let path = dir.path().join(name);
            assert_eq!(
                open(name).unwrap_err().to_string(),
                format!(
                    "unable to prepare context: path \"{}\" {what}",
                    path.display()
                )
            );
        }
        let context = open("link").unwrap();
        assert!(context.root().ends_with("sub"));
        assert!(context.lookup(Path::new("x")).is_ok());
        assert_eq!(context.identity(), open("sub").unwrap().identity());
        assert_ne!(context.identity(), open("").unwrap().identity());
    }

    #[test]
    fn content_comes_from_beneath_the_root() {
        let outside = tree(&[("secret", "secret")]);
        let dir = tree(&[("dir/secret", "harmless"), ("file", "content")]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let context = context(dir.path(), "");
        let entry = |path: &str| context.lookup(Path::new(path)).unwrap();
        let read = |entry: &Entry| {
            let mut text = String::new();
            context
                .open_content(entry)?
                .read_to_string(&mut text)
                .unwrap();
            Ok::<_, ContextError>(text)
        };
        assert_eq!(read(&entry("file")).unwrap(), "content");
        assert_eq!(read(&entry("socket")).unwrap(), "");

        // What was a directory and a file when they were looked up are links and a directory when they are opened.
        let (below, file) = (entry("dir/secret"), entry("file"));
        crate::fsio::remove_tree(dir.path().join("dir")).unwrap();
        put(
            dir.path(),
            "dir",
            &format!("->{}", outside.path().display()),
        );
        assert!(
            read(&below)
                .unwrap_err()
                .to_string()
                .contains("dir/secret`")
        );
        crate::fsio::remove_file(dir.path().join("file")).unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(
            error.ends_with("file`: no such file or directory"),
            "{error}"
        );
        put(dir.path(), "file/", "");
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .ends_with("no longer a regular file")
        );
    }

    #[test]
    fn attributes_are_those_of_the_user_and_capabilities() {
        let dir = tree(&[("file", ""), ("plain", "")]);
        let path = dir.path().join("file");
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::setxattr(&path, "user.note", b"n", flags);
        let context = context(dir.path(), "");
        let xattrs = |name: &str| context.xattrs(&context.lookup(Path::new(name)).unwrap());
        // A file system without attributes has none to keep.
        let expected = match set {
            Ok(()) => Xattrs::from([(b"user.note".to_vec(), b"n".to_vec())]),
            Err(_) => Xattrs::new(),
        };
        assert_eq!(xattrs("file"), expected);
        assert_eq!(xattrs("plain"), Xattrs::new());
    }
}
