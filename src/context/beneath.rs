//! Opening a path beneath a directory, with no way out of it.
//!
//! The paths given here have been resolved already, so a link on the way means that somebody changed the tree in
//! between; it is refused, not followed.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

use super::lexical;

/// Opens `path`, relative and clean, beneath `root`. The last component may be a link only with `O_PATH`, which then
/// opens the link itself.
pub(super) fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, name, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, seccomp filters that do not know the call, and a rename seen half way.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_stepwise(root, path, flags),
        result => result,
    }
}

/// The same one component at a time.
fn open_stepwise(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at: Option<OwnedFd> = None;
    let mut names = lexical::names(path).peekable();
    while let Some(name) = names.next() {
        let last = names.peek().is_none();
        let directory = at.as_ref().map_or(root, OwnedFd::as_fd);
        let opened = openat(
            directory,
            name,
            if last { flags } else { step },
            Mode::empty(),
        )?;
        if last {
            return Ok(opened);
        }
        at = Some(opened);
    }
    openat(root, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_refused_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        crate::fsio::create_dir_all(dir.path().join("a/b")).unwrap();
        crate::fsio::create(dir.path().join("a/b/file")).unwrap();
        crate::fsio::symlink("a", dir.path().join("link")).unwrap();
        let root = OwnedFd::from(crate::fsio::open(dir.path()).unwrap());
        for open in [open_beneath, |root: BorrowedFd<'_>, path: &Path, flags| {
            open_stepwise(root, path, flags | OFlags::NOFOLLOW)
        }] {
            let open = |path: &str, flags| open(root.as_fd(), Path::new(path), flags);
            assert!(open("a/b/file", OFlags::RDONLY).is_ok());
            assert!(open("", OFlags::RDONLY).is_ok());
            assert!(open("link", OFlags::PATH).is_ok(), "the link itself");
            assert_eq!(open("link", OFlags::RDONLY).unwrap_err(), Errno::LOOP);
            assert!(open("link/b/file", OFlags::RDONLY).is_err());
            assert_eq!(open("a/none", OFlags::RDONLY).unwrap_err(), Errno::NOENT);
        }
    }
}
