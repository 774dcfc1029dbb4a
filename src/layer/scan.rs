//! Turns the upper directory of an overlay, as a RUN left it, into a layer.
//!
//! Walks in order and streams every file once through a [`TarWriter`]. Kept are all changes; left out is what is no
//! change: directories that look as they did and hold no change, files that were opened for writing and are as they were,
//! removals of what was not there, sockets (what one took the place of is removed), and what
//! overlayfs and this machine keep for themselves. What is left out is taken away from the directory too: it and the table of
//! contents say the same. The mount must not use `redirect_dir` or `metacopy`, which leave
//! content and names in the lower layers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, futimens,
    major, minor, openat, readlinkat, statat, unlinkat,
};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind, MODE_BITS, Xattrs, join, path_from};
use super::error::{EntryProblem, Error, Result};
use super::metadata::{Privileges, Target, is_of_this_machine, is_overlay_private, read_xattrs};
use super::stack::Stack;
use super::tar_write::{Layer, TarWriter};
use crate::fsio::{Context as _, HashingReader};

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Reads the changes in `upper`, made on top of `lower`, removes from it what is no change, and writes their tar to `out` ([`std::io::sink`] if only the
/// layer's identity is wanted). With [`Privileges::OneId`] files keep the owners they have in `lower`, and new ones
/// are root's.
///
/// The root is part of the layer only if its mode, owner or attributes differ from those in `lower`; an upper directory
/// has to start with them.
///
/// # Errors
/// What the operating system answers, names and files that no layer can hold, files that change meanwhile.
pub fn scan_upper<W: Write>(
    upper: impl AsRef<Path>,
    lower: &Stack,
    privileges: Privileges,
    out: W,
) -> Result<(Layer, W)> {
    let upper = upper.as_ref();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(upper, flags, Mode::empty()).context("open the folder", upper)?;
    let mut scan = Scan {
        upper,
        lower,
        privileges,
        tar: TarWriter::new(out),
        directory,
        frames: Vec::new(),
        first_names: BTreeMap::new(),
    };
    scan.enter_root()?;
    while let Some(frame) = scan.frames.last_mut() {
        match frame.names.next() {
            Some(name) => scan.visit(&name)?,
            None => scan.leave()?,
        }
    }
    scan.tar.finish()
}

/// A walk under way.
struct Scan<'a, W: Write> {
    upper: &'a Path,
    lower: &'a Stack,
    privileges: Privileges,
    tar: TarWriter<W>,
    /// The directory of the last frame. Those above are reached by `..`, so that depth costs no descriptors.
    directory: OwnedFd,
    frames: Vec<Frame>,
    /// By device and inode, the path under which a file with several names came first.
    first_names: BTreeMap<(u64, u64), PathBuf>,
}

/// A directory that is being walked.
struct Frame {
    path: PathBuf,
    /// Those that are still to be visited.
    names: std::vec::IntoIter<OsString>,
    /// Its entry, if it is written only once something in it has changed.
    unwritten: Option<Entry>,
    /// Whether lower layers show through.
    sees_lower: bool,
    /// Its times as they were, and whether they have to be put back.
    times: Timestamps,
    is_touched: bool,
}

/// The attributes of a file, those of overlayfs apart.
struct Attributes {
    xattrs: Xattrs,
    opaque: bool,
    whiteout: bool,
}

impl<W: Write> Scan<'_, W> {
    fn enter_root(&mut self) -> Result<()> {
        let path = PathBuf::new();
        let shown = self.upper;
        let stat = fstat(&self.directory).context("look at", shown)?;
        let attributes = self.attributes(Target::Open(self.directory.as_fd()), &path)?;
        let entry = self.entry(
            &path,
            EntryKind::directory(),
            &stat,
            attributes.xattrs,
            true,
        );
        if let Some(found) = self.lower.lookup(&path)
            && !looks_like(&entry, found.entry)
        {
            self.emit(entry, None)?;
        }
        let names = list(&self.directory, shown)?;
        self.frames.push(Frame {
            path,
            names,
            unwritten: None,
            sees_lower: true,
            times: times_of(&stat),
            is_touched: false,
        });
        Ok(())
    }

    fn visit(&mut self, name: &OsStr) -> Result<()> {
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let (path, sees_lower) = (join(&frame.path, name), frame.sees_lower);
        let shown = self.upper.join(&path);
        let stat =
            statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).context("look at", &shown)?;
        let device = || (major(stat.st_rdev), minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.enter(name, path, &stat, sees_lower),
            FileType::RegularFile => EntryKind::file(u64::try_from(stat.st_size).unwrap_or(0)),
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                return self.remove(name, &path, sees_lower);
            }
            FileType::CharacterDevice => {
                let (major, minor) = device();
                EntryKind::CharDevice { major, minor }
            }
            FileType::BlockDevice => {
                let (major, minor) = device();
                EntryKind::BlockDevice { major, minor }
            }
            FileType::Fifo => EntryKind::Fifo,
            FileType::Symlink => {
                let target = readlinkat(&self.directory, name, Vec::new())
                    .context("read the link", &shown)?;
                EntryKind::Symlink {
                    target: path_from(target.into_bytes()),
                }
            }
            // Is in no layer, and what it took the place of is gone all the same.
            FileType::Socket | FileType::Unknown => return self.remove(name, &path, sees_lower),
        };
        if stat.st_nlink > 1 {
            if let Some(target) = self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                // A file has one set of attributes, whatever name it goes by.
                let kind = EntryKind::HardLink {
                    target: target.clone(),
                };
                let xattrs = self
                    .attributes(Target::Named(self.directory.as_fd(), name), &path)?
                    .xattrs;
                let entry = self.entry(&path, kind, &stat, xattrs, sees_lower);
                return self.emit(entry, None);
            }
            self.first_names
                .insert((stat.st_dev, stat.st_ino), path.clone());
        }
        if !matches!(kind, EntryKind::File { .. }) {
            let xattrs = self
                .attributes(Target::Named(self.directory.as_fd(), name), &path)?
                .xattrs;
            let entry = self.entry(&path, kind, &stat, xattrs, sees_lower);
            return self.emit(entry, None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.directory, name, flags, Mode::empty()).context("open", &shown)?;
        let attributes = self.attributes(Target::Open(file.as_fd()), &path)?;
        if attributes.whiteout && stat.st_size == 0 {
            self.first_names.remove(&(stat.st_dev, stat.st_ino));
            return self.remove(name, &path, sees_lower);
        }
        let entry = self.entry(&path, kind, &stat, attributes.xattrs, sees_lower);
        let mut file = File::from(file);
        if stat.st_nlink == 1 && sees_lower && self.is_as_below(&entry, &mut file)? {
            return self.take_away(name, &path, AtFlags::empty());
        }
        self.emit(entry, Some(&mut file))
    }

    /// Whether a file is what the lower layers have under its name, in every respect that a layer keeps: it was opened for
    /// writing, and nothing was written. The content is read only if all else is the same.
    fn is_as_below(&self, entry: &Entry, file: &mut File) -> Result<bool> {
        let found = self.lower.lookup(&entry.path);
        let Some(below) = found.and_then(|found| self.lower.content_of(found)) else {
            return Ok(false);
        };
        let EntryKind::File { size, digest, .. } = &below.entry.kind else {
            return Ok(false);
        };
        if *size != entry.size()
            || !looks_like(entry, below.entry)
            || entry.mtime != below.entry.mtime
        {
            return Ok(false);
        }
        let shown = self.upper.join(&entry.path);
        let mut hashing = HashingReader::new(&mut *file);
        std::io::copy(&mut hashing, &mut std::io::sink()).context("read", &shown)?;
        let (found, ..) = hashing.finish();
        file.rewind().context("read", &shown)?;
        Ok(found == *digest.as_bytes())
    }

    fn enter(&mut self, name: &OsStr, path: PathBuf, stat: &Stat, sees_lower: bool) -> Result<()> {
        let shown = self.upper.join(&path);
        let directory = openat(&self.directory, name, DIRECTORY, Mode::empty())
            .context("open the folder", &shown)?;
        let attributes = self.attributes(Target::Open(directory.as_fd()), &path)?;
        let below = self
            .lower
            .lookup(&path)
            .filter(|_| sees_lower)
            .map(|found| found.entry);
        let below = below.filter(|below| below.is_directory());
        // Overlayfs calls every new directory opaque; a layer says so only where that hides something.
        let opaque = attributes.opaque && below.is_some();
        let kind = EntryKind::Directory {
            opaque,
            implied: false,
        };
        let entry = self.entry(&path, kind, stat, attributes.xattrs, sees_lower);
        let is_same = !opaque
            && below.is_some_and(|below| looks_like(&entry, below) && entry.mtime == below.mtime);
        let mut unwritten = Some(entry);
        if !is_same && let Some(entry) = unwritten.take() {
            self.emit(entry, None)?;
        }
        let names = list(&directory, &shown)?;
        self.directory = directory;
        self.frames.push(Frame {
            path,
            names,
            unwritten,
            sees_lower: below.is_some() && !attributes.opaque,
            times: times_of(stat),
            is_touched: false,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let Some(left) = self.frames.pop() else {
            return Ok(());
        };
        if left.is_touched {
            let shown = self.upper.join(&left.path);
            futimens(&self.directory, &left.times).context("set the time of", &shown)?;
        }
        let Some(above) = self.frames.last() else {
            return Ok(());
        };
        let shown = self.upper.join(&above.path);
        self.directory = openat(&self.directory, "..", DIRECTORY, Mode::empty())
            .context("open the folder", &shown)?;
        match (left.unwritten, left.path.file_name()) {
            // Nothing in it is a change, so nothing is in it any more.
            (Some(_), Some(name)) => self.take_away(name, &left.path, AtFlags::REMOVEDIR),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, name: &OsStr, path: &Path, sees_lower: bool) -> Result<()> {
        match sees_lower && self.lower.lookup(path).is_some() {
            true => self.emit(Entry::whiteout(path), None),
            false => self.take_away(name, path, AtFlags::empty()),
        }
    }

    /// Removes what is no change from the directory, whose time stays as it was.
    fn take_away(&mut self, name: &OsStr, path: &Path, kind: AtFlags) -> Result<()> {
        if let Some(frame) = self.frames.last_mut() {
            frame.is_touched = true;
        }
        match unlinkat(&self.directory, name, kind) {
            // Made immutable by a step that may: it does no harm where it is.
            Err(Errno::PERM | Errno::NOTEMPTY) => Ok(()),
            result => Ok(result.context("remove", &self.upper.join(path))?),
        }
    }

    /// Writes an entry, and before it the directories it is in.
    fn emit(&mut self, entry: Entry, content: Option<&mut dyn Read>) -> Result<()> {
        for frame in &mut self.frames {
            if let Some(directory) = frame.unwritten.take() {
                self.tar.append(directory, None)?;
            }
        }
        self.tar.append(entry, content)?;
        Ok(())
    }

    fn entry(
        &self,
        path: &Path,
        kind: EntryKind,
        stat: &Stat,
        xattrs: Xattrs,
        sees_lower: bool,
    ) -> Entry {
        let (mut uid, mut gid) = (stat.st_uid, stat.st_gid);
        if self.privileges == Privileges::OneId {
            let below = self.lower.lookup(path).filter(|_| sees_lower);
            (uid, gid) = below.map_or((0, 0), |below| (below.entry.uid, below.entry.gid));
        }
        Entry {
            path: path.to_owned(),
            kind,
            mode: stat.st_mode & MODE_BITS,
            uid,
            gid,
            mtime: stat.st_mtime,
            xattrs,
        }
    }

    /// Reads attributes and sorts out those that are overlayfs's or the machine's.
    fn attributes(&self, target: Target<'_>, path: &Path) -> Result<Attributes> {
        let mut attributes = Attributes {
            xattrs: Xattrs::new(),
            opaque: false,
            whiteout: false,
        };
        for (name, value) in read_xattrs(target, &self.upper.join(path))? {
            if !is_overlay_private(&name) {
                if !is_of_this_machine(&name) {
                    attributes.xattrs.insert(name, value);
                }
                continue;
            }
            let own = name.splitn(3, |byte| *byte == b'.').nth(2);
            match own.unwrap_or_default() {
                b"opaque" => attributes.opaque = value == b"y",
                b"whiteout" => attributes.whiteout = true,
                b"redirect" | b"metacopy" => {
                    return Err(Error::RefusedEntry {
                        path: path.to_owned(),
                        problem: EntryProblem::OverlayFeature,
                    });
                }
                _ => {}
            }
        }
        Ok(attributes)
    }
}

/// The time of the last change, for being put back.
fn times_of(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    Timestamps {
        last_access: time(0, UTIME_OMIT),
        last_modification: time(
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
    }
}

/// Whether two directories differ at most in their time.
fn looks_like(a: &Entry, b: &Entry) -> bool {
    (a.mode, a.uid, a.gid, &a.xattrs) == (b.mode, b.uid, b.gid, &b.xattrs)
}

/// The names in a directory, sorted by bytes, which within one directory is the order of a layer.
pub(super) fn list(directory: &OwnedFd, shown: &Path) -> Result<std::vec::IntoIter<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).context("read the folder", shown)? {
        let name = entry
            .context("read the folder", shown)?
            .file_name()
            .to_bytes()
            .to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names.into_iter())
}
