//! Paths inside the new root: found, and made where missing, without ever leaving it.
//!
//! The root belongs to the image, which may be hostile: every link in it is read and followed here, one name at a time, each from
//! a descriptor of the folder that holds it. A `..` goes back to a descriptor that was held before, so that neither a link nor
//! somebody who moves folders at the same moment leads out.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, mknodat, openat, openat2,
    readlinkat, statx,
};
use rustix::io::Errno;

use super::stubs::Recorder;

/// As many links in one path as the kernel follows.
const MOST_LINKS: usize = 40;

/// What to make when the path is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens what `path` is below `root`, as if `root` were `/`. Links are followed.
pub(super) fn open(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_with(
        root,
        path,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Opens what `path` is below `root`, if there is no link in it.
pub(super) fn open_without_links(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    open_with(
        root,
        path,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
}

fn open_with(root: BorrowedFd<'_>, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match openat2(
            root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        ) {
            // Somebody moved a folder somewhere while a `..` was resolved.
            Err(Errno::AGAIN) if attempts < 64 => {}
            result => return result,
        }
    }
}

/// Opens what `path` is below `root`, making what is missing of it: folders on the way, and `kind` at its end. What is made in the
/// root file system itself (not in a mount inside of it) is noted in `recorder`.
pub(super) fn open_or_make(
    root: BorrowedFd<'_>,
    path: &str,
    kind: Kind,
    recorder: Option<&mut Recorder>,
) -> Result<OwnedFd, Errno> {
    match open(root, path) {
        Err(Errno::NOENT) => Walk::new(root)?.run(path, kind, recorder),
        result => result,
    }
}

/// Where something is, or is to be: a folder, its path below the root without links in it, and a name in it.
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) folder_path: Vec<u8>,
    pub(super) name: Vec<u8>,
}

/// The place of what `path` is below `root`, made where it is missing, as by [`open_or_make`].
pub(super) fn place(
    root: BorrowedFd<'_>,
    path: &str,
    kind: Kind,
    recorder: &mut Recorder,
) -> Result<Place, Errno> {
    let mut walk = Walk::new(root)?;
    walk.go(path, kind, Some(recorder))?;
    let (_, name) = walk.entered.pop().ok_or(Errno::BUSY)?;
    Ok(Place {
        folder: reopen(walk.here())?,
        folder_path: walk.path(),
        name,
    })
}

/// A descriptor with which names in a folder can be changed.
fn reopen(folder: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(folder, ".", flags, Mode::empty())
}

/// A walk from the root down.
struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The mount that is the root file system.
    root_mount: u64,
    /// The folders that were entered below the root, with their names; the last one is where the walk is.
    entered: Vec<(OwnedFd, Vec<u8>)>,
    /// What is left to walk.
    ahead: VecDeque<Vec<u8>>,
    links: usize,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>) -> Result<Self, Errno> {
        let root_mount = mount_of(root)?;
        Ok(Self {
            root,
            root_mount,
            entered: Vec::new(),
            ahead: VecDeque::new(),
            links: 0,
        })
    }

    fn run(
        mut self,
        path: &str,
        kind: Kind,
        recorder: Option<&mut Recorder>,
    ) -> Result<OwnedFd, Errno> {
        self.go(path, kind, recorder)?;
        match self.entered.pop() {
            Some((found, _)) => Ok(found),
            None => rustix::io::fcntl_dupfd_cloexec(self.root, 3),
        }
    }

    /// Walks to the end of `path`.
    fn go(
        &mut self,
        path: &str,
        kind: Kind,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<(), Errno> {
        self.put_ahead(path.as_bytes());
        while let Some(name) = self.ahead.pop_front() {
            if name == b".." {
                self.entered.pop();
                continue;
            }
            let found = match self.look(&name) {
                Err(Errno::NOENT) => {
                    let kind = if self.ahead.is_empty() {
                        kind
                    } else {
                        Kind::Directory
                    };
                    self.make(&name, kind, recorder.as_deref_mut())?;
                    self.look(&name)?
                }
                result => result?,
            };
            let stat = rustix::fs::fstat(&found)?;
            if FileType::from_raw_mode(stat.st_mode).is_symlink() {
                self.follow(&found)?;
            } else {
                self.entered.push((found, name));
            }
        }
        Ok(())
    }

    /// The path of where the walk is.
    fn path(&self) -> Vec<u8> {
        let names: Vec<_> = self
            .entered
            .iter()
            .map(|(_, name)| name.as_slice())
            .collect();
        names.join(&b'/')
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.entered
            .last()
            .map_or(self.root, |(folder, _)| folder.as_fd())
    }

    fn look(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        openat(
            self.here(),
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
    }

    fn make(&self, name: &[u8], kind: Kind, recorder: Option<&mut Recorder>) -> Result<(), Errno> {
        if let Some(recorder) = recorder
            && mount_of(self.here())? == self.root_mount
        {
            recorder.before_making(self.here(), &self.path(), name)?;
        }
        let made = match kind {
            Kind::Directory => mkdirat(self.here(), name, Mode::from_raw_mode(0o755)),
            Kind::File => mknodat(
                self.here(),
                name,
                FileType::RegularFile,
                Mode::from_raw_mode(0o644),
                0,
            ),
        };
        match made {
            // In a cache that steps share, another one may have made it since it was looked for.
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        let says = readlinkat(link, "", Vec::new())?;
        if says.to_bytes().starts_with(b"/") {
            self.entered.clear();
        }
        self.put_ahead(says.to_bytes());
        Ok(())
    }

    fn put_ahead(&mut self, path: &[u8]) {
        let names = path.split(|&byte| byte == b'/').rev();
        for name in names.filter(|&name| !name.is_empty() && name != b".") {
            self.ahead.push_front(name.to_vec());
        }
    }
}

fn mount_of(path: BorrowedFd<'_>) -> Result<u64, Errno> {
    Ok(statx(path, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;
    use crate::fsio;

    fn root(folder: &std::path::Path) -> OwnedFd {
        openat(
            CWD,
            folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .unwrap()
    }

    /// Where the descriptor leads, as a path below the root.
    fn place(found: &OwnedFd, folder: &std::path::Path) -> String {
        use std::os::fd::AsRawFd as _;
        let path = fsio::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap();
        let folder = fsio::canonicalize(folder).unwrap();
        path.strip_prefix(folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn missing_paths_are_made_inside_whatever_links_say() {
        let cases = [
            ("/a/b/c", "a/b/c"),
            ("a/./b//c", "a/b/c"),
            ("/absolute/x", "target/x"),
            ("/dangling", "run/made/stub"),
            ("/up/x", "x"),
            ("/../../x", "x"),
            ("/etc/resolv.conf", "run/resolv"),
            ("/chain/x", "target/x"),
        ];
        for (path, expected) in cases {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("root");
            fsio::create_dir_all(folder.join("etc")).unwrap();
            for (link, says) in [
                ("absolute", "/target"),
                ("dangling", "/run/made/stub"),
                ("up", "../../../.."),
                ("etc/resolv.conf", "../run/resolv"),
                ("chain", "etc/../absolute"),
            ] {
                fsio::symlink(says, folder.join(link)).unwrap();
            }
            let mut recorder = Recorder::default();
            let root = root(&folder);
            let found = open_or_make(root.as_fd(), path, Kind::File, Some(&mut recorder)).unwrap();
            assert_eq!(place(&found, &folder), expected, "{path}");
            assert!(
                fsio::symlink_metadata(folder.join(expected))
                    .unwrap()
                    .is_file()
            );
            assert_eq!(
                fsio::read_dir_sorted(scratch.path()).unwrap(),
                ["root"],
                "{path}"
            );

            super::super::stubs::remove(&folder, &recorder.finish()).unwrap();
            let left = fsio::read_dir_sorted(&folder).unwrap();
            assert_eq!(
                left,
                ["absolute", "chain", "dangling", "etc", "up"],
                "{path}"
            );
        }
    }

    #[test]
    fn what_is_there_is_opened_and_loops_end() {
        let scratch = tempfile::tempdir().unwrap();
        fsio::symlink("b", scratch.path().join("a")).unwrap();
        fsio::symlink("a", scratch.path().join("b")).unwrap();
        fsio::create(scratch.path().join("file")).unwrap();
        let root = root(scratch.path());
        let make = |path| open_or_make(root.as_fd(), path, Kind::Directory, None);
        assert_eq!(place(&make("/file").unwrap(), scratch.path()), "file");
        assert_eq!(make("/a/x").unwrap_err(), Errno::LOOP);
        assert_eq!(make("/file/x").unwrap_err(), Errno::NOTDIR);
        assert_eq!(place(&make("/").unwrap(), scratch.path()), "");
        assert_eq!(
            open_without_links(root.as_fd(), "/a").unwrap_err(),
            Errno::LOOP
        );
    }
}
