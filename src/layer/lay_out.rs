//! Fills a folder with what a stack of layers shows, as a mount of an overlay would: for where there can be no mount.
//!
//! The tables say what is visible, so no marker of an overlay has to be understood; what a file is like is taken from the
//! layer's directory itself, to the nanosecond. Names that share a file in a layer become files of their own, as they are once
//! an overlay has copied one of them up: a change to one name changes no other. Blocks are shared with the layer where the file
//! system can do that, and holes stay holes.
//!
//! What was laid out is remembered in a few bytes a path, so that [`super::keep_changes`] can tell later what a command did to it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, StatxFlags, ioctl_ficlone, mkdirat, mknodat, openat,
    readlinkat, seek, statat, statx, symlinkat,
};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::entry::{Xattrs, is_at_or_beneath, join};
use super::error::{Error, Result};
use super::metadata::{self, Target, is_of_this_machine, is_overlay_private, read_xattrs};
use super::stack::{Found, Stack};
use crate::fsio::{self, Context as _, Stopped};

/// So many layers' directories are kept open at the same time.
const MOST_OPEN: usize = 64;
/// So much of a file is copied between two looks at whether to stop.
const PIECE: u64 = 64 << 20;

/// What a name stood for when it was laid out; different once something was done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// 0 if nothing could be made of the entry.
    pub(super) inode: u64,
    pub(super) born: (i64, u32),
    pub(super) changed: (i64, u32),
}

impl Mark {
    /// The mark of what has this name now.
    pub(super) fn of(directory: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let found = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        let knows_birth = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let born = (found.stx_btime.tv_sec, found.stx_btime.tv_nsec);
        Ok(Self {
            inode: found.stx_ino,
            born: if knows_birth { born } else { (0, 0) },
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        })
    }

    /// Whether it is the same file or directory, however it was changed: inode numbers are used again, births are not.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }
}

/// What was laid out: a mark for each path, in the order of [`Stack::walk`].
#[derive(Debug, Default)]
pub struct LaidOut {
    pub(super) marks: Vec<Mark>,
}

/// Fills `root`, an empty directory, with what `stack` shows. `directories` has the directory of each of its layers, the bottom
/// one first; layers without entries need none. The root directory itself is left as it is.
///
/// Returns only when the file system's clock has moved on: whatever is changed from then on gets another time of change.
///
/// # Errors
/// What the operating system answers; a wish to stop.
pub fn lay_out(
    stack: &Stack,
    directories: &[Option<PathBuf>],
    root: &Path,
    is_stopped: &dyn Fn() -> bool,
) -> Result<LaidOut> {
    let mut filler = Filler::new(directories, root, is_stopped)?;
    for found in stack.walk("") {
        filler.put(found, &found.entry.path)?;
    }
    filler.finish()
}

/// Makes of what `stack` has at `from`, with all that is beneath it, the file or directory `name` in `folder`.
///
/// # Errors
/// As [`lay_out`].
pub fn lay_out_part(
    stack: &Stack,
    directories: &[Option<PathBuf>],
    from: Found<'_>,
    (folder, name): (&Path, &OsStr),
    is_stopped: &dyn Fn() -> bool,
) -> Result<()> {
    let mut filler = Filler::new(directories, folder, is_stopped)?;
    let (path, to) = (&from.entry.path, PathBuf::from(name));
    filler.put(from, &to)?;
    if from.entry.is_directory() {
        for found in stack.walk(path) {
            let beneath = found.entry.path.strip_prefix(path);
            filler.put(found, &join(&to, beneath.unwrap_or(path).as_os_str()))?;
        }
    }
    filler.finish().map(drop)
}

/// A folder that is being filled.
struct Filler<'a> {
    directories: &'a [Option<PathBuf>],
    /// Those that are open.
    sources: BTreeMap<usize, Beneath>,
    to: Beneath,
    /// The directories that the last path is in, outermost first: they get their metadata when all in them is made.
    unfinished: Vec<Unfinished>,
    marks: Vec<Mark>,
    /// Whether blocks are worth trying to share: not after the file system has said no.
    shares: bool,
    is_stopped: &'a dyn Fn() -> bool,
}

/// A directory whose content is still being made.
struct Unfinished {
    path: PathBuf,
    /// Its place among the marks.
    mark: usize,
    like: Stat,
    xattrs: Xattrs,
}

impl<'a> Filler<'a> {
    fn new(
        directories: &'a [Option<PathBuf>],
        root: &Path,
        is_stopped: &'a dyn Fn() -> bool,
    ) -> Result<Self> {
        Ok(Self {
            directories,
            sources: BTreeMap::new(),
            to: Beneath::open(root)?,
            unfinished: Vec::new(),
            marks: Vec::new(),
            shares: true,
            is_stopped,
        })
    }

    /// Makes `path` what the layer of `found` has at its path.
    fn put(&mut self, found: Found<'_>, path: &Path) -> Result<()> {
        self.go_on(path)?;
        let is_inside = |open: &Unfinished| is_at_or_beneath(path, &open.path);
        while self.unfinished.last().is_some_and(|open| !is_inside(open)) {
            self.finish_directory()?;
        }
        let at = self.marks.len();
        self.marks.push(Mark::default());
        let from = &found.entry.path;
        let name = from.file_name().unwrap_or(OsStr::new("."));
        let (parent, shown) = {
            let source = self.source(found.layer, from)?;
            (source.parent(from)?, source.shown(from))
        };
        let like = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // A device that this process may not make: neither would a mount show it.
            Err(Errno::NOENT) if !found.entry.is_directory() => return Ok(()),
            like => like.context("look at", &shown)?,
        };
        let xattrs = attributes(Target::Named(parent.as_fd(), name), &shown)?;
        let to = self.to.parent(path)?;
        let to_name = path.file_name().unwrap_or_default();
        let made = self.to.shown(path);
        match FileType::from_raw_mode(like.st_mode) {
            FileType::Directory => {
                mkdirat(&to, to_name, Mode::RWXU).context("create the folder", &made)?;
                self.unfinished.push(Unfinished {
                    path: path.to_owned(),
                    mark: at,
                    like,
                    xattrs,
                });
                return Ok(());
            }
            FileType::RegularFile => {
                let file = self.source(found.layer, from)?.file(from)?;
                let copy = self.copy(&file, &like, (&to, to_name), path)?;
                metadata::copy_onto(Target::Open(copy.as_fd()), &like, &xattrs, &made)?;
            }
            FileType::Symlink => {
                let says =
                    readlinkat(&parent, name, Vec::new()).context("read the link", &shown)?;
                symlinkat(&*says, &to, to_name).context("create", &made)?;
                metadata::copy_onto(Target::Named(to.as_fd(), to_name), &like, &xattrs, &made)?;
            }
            kind => {
                let mode = Mode::RUSR | Mode::WUSR;
                match mknodat(&to, to_name, kind, mode, like.st_rdev) {
                    // The layer was unpacked by somebody who may make devices.
                    Err(Errno::PERM) => return Ok(()),
                    result => result.context("create", &made)?,
                }
                metadata::copy_onto(Target::Named(to.as_fd(), to_name), &like, &xattrs, &made)?;
            }
        }
        self.mark(at, to.as_fd(), to_name, path)
    }

    fn mark(
        &mut self,
        at: usize,
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<()> {
        let mark = Mark::of(directory, name).context("look at", &self.to.shown(path))?;
        if let Some(place) = self.marks.get_mut(at) {
            *place = mark;
        }
        Ok(())
    }

    fn go_on(&self, path: &Path) -> Result<()> {
        match (self.is_stopped)() {
            true => {
                let stopped = io::Error::other(Stopped);
                Err(fsio::Error::new("lay out", self.to.shown(path), stopped).into())
            }
            false => Ok(()),
        }
    }

    /// The directory of a layer, open.
    fn source(&mut self, layer: usize, path: &Path) -> Result<&mut Beneath> {
        if self.sources.len() >= MOST_OPEN && !self.sources.contains_key(&layer) {
            self.sources.clear();
        }
        match self.sources.entry(layer) {
            std::collections::btree_map::Entry::Occupied(open) => Ok(open.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let directory = self.directories.get(layer).and_then(Option::as_ref);
                let missing = || fsio::Error::new("find the layer of", path, Errno::NOENT);
                let directory = directory.ok_or_else(missing)?;
                Ok(place.insert(Beneath::open(directory)?))
            }
        }
    }

    /// Copies content, sharing blocks where that can be.
    fn copy(
        &mut self,
        from: &File,
        like: &Stat,
        (to, name): (&OwnedFd, &OsStr),
        path: &Path,
    ) -> Result<File> {
        let shown = self.to.shown(path);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(to, name, flags, Mode::RUSR | Mode::WUSR).context("create", &shown)?;
        let file = File::from(file);
        let size = u64::try_from(like.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(file);
        }
        if self.shares {
            match ioctl_ficlone(&file, from) {
                Ok(()) => return Ok(file),
                Err(_cannot) => self.shares = false,
            }
        }
        let blocks = u64::try_from(like.st_blocks).unwrap_or(u64::MAX);
        let mut at = 0;
        if blocks.saturating_mul(512) >= size {
            self.copy_range(from, &file, 0..size, path)?;
        } else {
            while let Some(data) = next_data(from, at, size) {
                at = data.end;
                self.copy_range(from, &file, data, path)?;
            }
            file.set_len(size).context("write", &shown)?;
        }
        Ok(file)
    }

    fn copy_range(
        &self,
        mut from: &File,
        mut to: &File,
        range: std::ops::Range<u64>,
        path: &Path,
    ) -> Result<()> {
        let shown = self.to.shown(path);
        let place = SeekFrom::Start(range.start);
        from.seek(place).context("read", &shown)?;
        to.seek(place).context("write", &shown)?;
        let mut left = range.end - range.start;
        while left > 0 {
            self.go_on(path)?;
            let piece = left.min(PIECE);
            let copied = io::copy(&mut from.take(piece), &mut to).context("copy to", &shown)?;
            if copied < piece {
                return Err(Error::ContentSize {
                    path: path.to_owned(),
                    expected: range.end,
                    found: range.end - left + copied,
                });
            }
            left -= copied;
        }
        Ok(())
    }

    /// Gives the innermost directory its metadata.
    fn finish_directory(&mut self) -> Result<()> {
        let Some(done) = self.unfinished.pop() else {
            return Ok(());
        };
        let parent = self.to.parent(&done.path)?;
        let name = done.path.file_name().unwrap_or_default();
        let shown = self.to.shown(&done.path);
        let target = Target::Named(parent.as_fd(), name);
        metadata::copy_onto(target, &done.like, &done.xattrs, &shown)?;
        self.mark(done.mark, parent.as_fd(), name, &done.path)
    }

    fn finish(mut self) -> Result<LaidOut> {
        while !self.unfinished.is_empty() {
            self.finish_directory()?;
        }
        if let Some(last) = self.marks.iter().map(|mark| mark.changed).max() {
            wait_until_after(last);
        }
        Ok(LaidOut { marks: self.marks })
    }
}

/// Where a file has data from `at` on.
fn next_data(file: &File, at: u64, size: u64) -> Option<std::ops::Range<u64>> {
    let start = match seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        // A file system that does not know: all of it counts as data.
        Err(_unknown) => return (at < size).then_some(at..size),
    };
    let end = seek(file, rustix::fs::SeekFrom::Hole(start)).unwrap_or(size);
    (start < size).then_some(start..end.min(size))
}

/// The attributes that belong to the file, rather than to an overlay or the machine.
fn attributes(target: Target<'_>, shown: &Path) -> Result<Xattrs> {
    let mut xattrs = read_xattrs(target, shown)?;
    xattrs.retain(|name, _| !is_overlay_private(name) && !is_of_this_machine(name));
    Ok(xattrs)
}

/// The clock of a file system has a step of some milliseconds.
fn wait_until_after((seconds, nanoseconds): (i64, u32)) {
    let coarse = || rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    // A clock elsewhere (a network file system) may be ahead of ours: a tenth of a second is more than any step.
    for _ in 0..100 {
        let now = coarse();
        if (now.tv_sec, now.tv_nsec) > (seconds, i64::from(nanoseconds)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
