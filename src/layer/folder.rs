//! A directory that others may be writing to, as entries: the folder of a cache mount.
//!
//! Unlike [`scan_upper`](super::scan_upper) this is no overlay: nothing in it stands for a removal, times are kept to the
//! nanosecond, and what vanishes while it is looked at is not there. Everything is reached beneath the root, without following
//! links.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, openat,
    readlinkat, statat, utimensat,
};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::entry::{Entry, EntryKind, MODE_BITS, join, path_from};
use super::error::Result;
use super::metadata::{Privileges, Target, is_of_this_machine, is_overlay_private, read_xattrs};
use crate::fsio::{self, Context as _};

/// A directory with what is beneath it.
#[derive(Debug)]
pub struct Folder {
    root: Beneath,
    privileges: Privileges,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What it is. Of a file's content only the size is known.
    pub entry: Entry,
    /// The part of its time that the entry has no room for.
    pub nanos: u32,
}

/// What tells whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Bytes of content.
    pub size: u64,
    inode: u64,
    changed: (i64, u64),
    modified: (i64, u64),
}

impl FileState {
    /// Of an open file.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn of(file: &File, shown: &Path) -> fsio::Result<Self> {
        let stat = fstat(file).context("look at", shown)?;
        #[allow(
            clippy::unnecessary_cast,
            clippy::cast_sign_loss,
            reason = "the types differ between architectures; nanoseconds are not negative"
        )]
        Ok(Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec as u64),
            modified: (stat.st_mtime, stat.st_mtime_nsec as u64),
        })
    }

    /// When the content was last changed: seconds and nanoseconds.
    #[must_use]
    pub fn modified(&self) -> (i64, u32) {
        let (seconds, nanos) = self.modified;
        (seconds, u32::try_from(nanos).unwrap_or(0))
    }
}

impl Folder {
    /// Opens a directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: impl Into<PathBuf>, privileges: Privileges) -> Result<Self> {
        Ok(Self {
            root: Beneath::open(path)?,
            privileges,
        })
    }

    /// Opens a regular file in it, links not followed.
    ///
    /// # Errors
    /// It is not there, or no longer a file.
    pub fn file(&mut self, path: &Path) -> fsio::Result<File> {
        self.root.file(path)
    }

    /// All that is in it, itself first, in the order of a table of contents. Devices and sockets are left out.
    ///
    /// # Errors
    /// What the operating system answers, but for what vanishes.
    pub fn list(&mut self) -> Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut first_names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
        let mut todo: Vec<PathBuf> = Vec::new();
        let top = self.root.directory(Path::new(""))?;
        let stat = fstat(&*top).context("look at", &self.root.shown(Path::new("")))?;
        let own = openat(&*top, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context("open the folder", &self.root.shown(Path::new("")))?;
        let target = Target::Open(own.as_fd());
        listed.push(self.listed(Path::new(""), EntryKind::directory(), &stat, target)?);
        self.push_children(Path::new(""), &mut todo)?;
        while let Some(path) = todo.pop() {
            let Some(found) = self.visit(&path, &mut first_names)? else {
                continue;
            };
            if found.entry.is_directory() {
                self.push_children(&path, &mut todo)?;
            }
            listed.push(found);
        }
        Ok(listed)
    }

    /// The paths in a directory, so that the first one is popped first.
    fn push_children(&mut self, path: &Path, todo: &mut Vec<PathBuf>) -> Result<()> {
        let shown = self.root.shown(path);
        let Some(directory) = gone_is_none(self.root.directory(path))? else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat(&*directory, ".", flags, Mode::empty());
        let Some(directory) = gone_is_none(opened.context("open the folder", &shown))? else {
            return Ok(());
        };
        let mut names = names(&directory, &shown)?;
        names.sort_unstable_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
        todo.extend(names.iter().map(|name| join(path, name)));
        Ok(())
    }

    fn visit(
        &mut self,
        path: &Path,
        first_names: &mut BTreeMap<(u64, u64), PathBuf>,
    ) -> Result<Option<Listed>> {
        let shown = self.root.shown(path);
        let Some(parent) = gone_is_none(self.root.parent(path))? else {
            return Ok(None);
        };
        let name = path.file_name().unwrap_or_default();
        let looked = statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW).context("look at", &shown);
        let Some(stat) = gone_is_none(looked)? else {
            return Ok(None);
        };
        let mut kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::directory(),
            FileType::RegularFile => EntryKind::file(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::Fifo => EntryKind::Fifo,
            FileType::Symlink => {
                let read = readlinkat(&*parent, name, Vec::new()).context("read the link", &shown);
                let Some(target) = gone_is_none(read)? else {
                    return Ok(None);
                };
                EntryKind::Symlink {
                    target: path_from(target.into_bytes()),
                }
            }
            _ => return Ok(None),
        };
        if stat.st_nlink > 1 && !matches!(kind, EntryKind::Directory { .. }) {
            match first_names.get(&(stat.st_dev, stat.st_ino)) {
                Some(target) => {
                    kind = EntryKind::HardLink {
                        target: target.clone(),
                    }
                }
                None => {
                    first_names.insert((stat.st_dev, stat.st_ino), path.to_owned());
                }
            }
        }
        let target = Target::Named(parent.as_fd(), name);
        gone_is_none(self.listed(path, kind, &stat, target))
    }

    fn listed(
        &self,
        path: &Path,
        kind: EntryKind,
        stat: &Stat,
        target: Target<'_>,
    ) -> fsio::Result<Listed> {
        let mut xattrs = read_xattrs(target, &self.root.shown(path))?;
        xattrs.retain(|name, _| !is_overlay_private(name) && !is_of_this_machine(name));
        // Without root all files are ours, whoever they belong to inside.
        let (uid, gid) = match self.privileges {
            Privileges::OneId => (0, 0),
            _ => (stat.st_uid, stat.st_gid),
        };
        Ok(Listed {
            entry: Entry {
                path: path.to_owned(),
                kind,
                mode: stat.st_mode & MODE_BITS,
                uid,
                gid,
                mtime: stat.st_mtime,
                xattrs,
            },
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        })
    }

    /// Sets the times of what is there, which must be done when all else has been: those of directories change with every file
    /// made in them.
    ///
    /// # Errors
    /// What the operating system answers.
    pub fn set_times<'a>(&mut self, entries: impl Iterator<Item = (&'a Entry, u32)>) -> Result<()> {
        for (entry, nanos) in entries {
            let times = Timestamps {
                last_access: Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_OMIT,
                },
                last_modification: Timespec {
                    tv_sec: entry.mtime,
                    tv_nsec: nanos.into(),
                },
            };
            let parent = self.root.parent(&entry.path)?;
            let name = match entry.path.file_name() {
                Some(name) => name,
                None => OsStr::new("."),
            };
            utimensat(&*parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                .context("set the time of", &self.root.shown(&entry.path))?;
        }
        Ok(())
    }
}

fn names(directory: &OwnedFd, shown: &Path) -> fsio::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).context("read the folder", shown)? {
        let entry = entry.context("read the folder", shown)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// What vanished, or became something else, while it was looked at.
fn gone_is_none<T>(result: fsio::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        // A directory that has become a link is not followed.
        Err(error) if error.source.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
