//! Opening what is beneath a directory, without ever following a symbolic link or leaving it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, unlinkat};
use rustix::io::Errno;

use super::entry::ancestors;
use crate::fsio::{self, Context as _};

/// A directory and what is beneath it.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Arc<OwnedFd>,
    path: PathBuf,
    /// The directory opened last: neighbours mostly come one after the other.
    last: Option<(PathBuf, Arc<OwnedFd>)>,
}

/// Enough to reach what is in a directory.
const PLACE: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What the kernel takes in one piece.
const LONGEST_PATH: usize = 4096;

impl Beneath {
    /// Opens the directory at the top, whose own path may lead through links.
    pub(super) fn open(path: impl Into<PathBuf>) -> fsio::Result<Self> {
        let path = path.into();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(&path, flags, Mode::empty()).context("open the folder", &path)?;
        Ok(Self {
            root: Arc::new(root),
            path,
            last: None,
        })
    }

    /// The whole path, for messages.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(path)
    }

    /// The directory that `path` is in.
    pub(super) fn parent(&mut self, path: &Path) -> fsio::Result<Arc<OwnedFd>> {
        self.directory(path.parent().unwrap_or(Path::new("")))
    }

    /// The directory that `path` is in, made if it is not there.
    pub(super) fn make_parent(&mut self, path: &Path) -> fsio::Result<Arc<OwnedFd>> {
        match self.parent(path) {
            Err(error) if error.is_not_found() => {}
            result => return result,
        }
        let mut above = Arc::clone(&self.root);
        for directory in ancestors(path) {
            let name = directory.file_name().unwrap_or_default();
            match mkdirat(&above, name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                result => result.context("create the folder", &self.shown(directory))?,
            }
            above = self.directory(directory)?;
        }
        Ok(above)
    }

    /// A directory; the empty path is the top.
    pub(super) fn directory(&mut self, path: &Path) -> fsio::Result<Arc<OwnedFd>> {
        if path.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(
            self.open_at(path, PLACE)
                .context("open the folder", &self.shown(path))?,
        );
        self.last = Some((path.to_owned(), Arc::clone(&directory)));
        Ok(directory)
    }

    /// Opens a regular file for reading. What else is there is not opened: a pipe would block.
    pub(super) fn file(&mut self, path: &Path) -> fsio::Result<File> {
        let directory = self.parent(path)?;
        let shown = self.shown(path);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(
            &directory,
            path.file_name().unwrap_or_default(),
            flags,
            Mode::empty(),
        );
        let file = file.context("open", &shown)?;
        let kind = rustix::fs::fstat(&file).context("look at", &shown)?.st_mode;
        if !rustix::fs::FileType::from_raw_mode(kind).is_file() {
            return Err(fsio::Error::new("open", shown, Errno::INVAL));
        }
        Ok(File::from(file))
    }

    /// Removes whatever is at `path`, with all that is beneath it.
    pub(super) fn remove(&mut self, path: &Path) -> fsio::Result<()> {
        let directory = self.parent(path)?;
        let name = path.file_name().unwrap_or_default();
        self.last = None;
        match unlinkat(&directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                // Through the descriptor, so that nothing above can lead elsewhere.
                let place = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
                fsio::remove_tree(Path::new(&place).join(name))
            }
            result => result.context("remove", &self.shown(path)),
        }
    }

    fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if path.as_os_str().len() >= LONGEST_PATH {
            return self.open_step_by_step(path, flags);
        }
        match openat2(&self.root, path, flags, Mode::empty(), resolve) {
            // Some container runtimes answer this to calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => self.open_step_by_step(path, flags),
            result => result,
        }
    }

    /// The same without `openat2`: every name on its own, no links.
    fn open_step_by_step(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut above = Arc::clone(&self.root);
        let names: Vec<&[u8]> = path
            .as_os_str()
            .as_bytes()
            .split(|byte| *byte == b'/')
            .collect();
        let (last, directories) = names.split_last().ok_or(Errno::NOENT)?;
        if names.iter().any(|name| matches!(*name, b"" | b"." | b"..")) {
            return Err(Errno::XDEV);
        }
        for name in directories {
            above = Arc::new(openat(
                &above,
                OsStr::from_bytes(name),
                PLACE,
                Mode::empty(),
            )?);
        }
        openat(&above, OsStr::from_bytes(last), flags, Mode::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_can_be_reached() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fsio::create_dir_all(root.join("a/b")).unwrap();
        fsio::write_atomic(&dir.path().join("secret"), b"x", fsio::Durability::Cached).unwrap();
        fsio::write_atomic(&root.join("a/f"), b"x", fsio::Durability::Cached).unwrap();
        fsio::symlink("..", root.join("up")).unwrap();
        fsio::symlink("a/f", root.join("link")).unwrap();
        fsio::symlink("a", root.join("inside")).unwrap();
        let mut beneath = Beneath::open(&root).unwrap();
        assert!(beneath.file(Path::new("a/f")).is_ok());
        for path in [
            "../secret",
            "up/secret",
            "link",
            "inside/f",
            "a/b",
            "a/../a/../../secret",
        ] {
            let path = Path::new(path);
            assert!(beneath.file(path).is_err(), "{}", path.display());
        }
        let step = |path: &str| {
            beneath.open_step_by_step(Path::new(path), OFlags::PATH | OFlags::NOFOLLOW)
        };
        assert!(step("a/f").is_ok());
        for path in ["../secret", "up/secret", "inside/f", "a/../a"] {
            assert!(step(path).is_err(), "{path}");
        }
    }
}
