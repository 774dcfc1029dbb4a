//! Makes of a folder that was laid out, and that a command worked in, what the upper directory of an overlay would be.
//!
//! In its place: what is still as it was laid out is removed, what is gone gets a marker, a directory that was removed and made
//! again becomes opaque, all else stays. So the cost grows with the image here, as that of laying it out did.
//!
//! Two things are told apart from an overlay: a directory that was renamed and renamed back has not changed, and neither has a
//! file that was only opened for writing. [`super::scan_upper`] sees no change in those either way, where the result is the same.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use super::entry::{Entry, compare_paths, is_at_or_beneath, join};
use super::error::Result;
use super::lay_out::{LaidOut, Mark};
use super::metadata::{self, Privileges, Target};
use super::scan::{DIRECTORY, list};
use super::stack::Stack;
use crate::fsio::Context as _;

/// Leaves in `root` only what differs from what was laid out there of `stack`.
///
/// # Errors
/// What the operating system answers.
pub fn keep_changes(
    root: &Path,
    stack: &Stack,
    laid_out: &LaidOut,
    privileges: Privileges,
) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(root, flags, Mode::empty()).context("open the folder", root)?;
    let expected = stack.walk("").map(|found| found.entry);
    let expected = expected.zip(laid_out.marks.iter().copied()).peekable();
    let time = modified(&directory, root)?;
    let names = list(&directory, root)?;
    let frame = Frame {
        path: PathBuf::new(),
        names,
        time,
        keeps: false,
        untouched: false,
    };
    let mut walk = Walk {
        root,
        privileges,
        expected,
        directory,
        frames: vec![frame],
    };
    while let Some(frame) = walk.frames.last_mut() {
        match frame.names.next() {
            Some(name) => walk.visit(&name)?,
            None => walk.leave()?,
        }
    }
    Ok(())
}

/// A walk in the order of [`Stack::walk`], beside it.
struct Walk<'a, I: Iterator<Item = (&'a Entry, Mark)>> {
    root: &'a Path,
    privileges: Privileges,
    /// What was laid out and was not come upon yet.
    expected: Peekable<I>,
    /// The directory of the last frame. Those above are reached by `..`, so that depth costs no descriptors.
    directory: OwnedFd,
    frames: Vec<Frame>,
}

/// A directory that was laid out, and is being walked.
struct Frame {
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
    /// Its time before anything was removed from it.
    time: (i64, i64),
    /// Whether something in it stays.
    keeps: bool,
    /// Whether nothing was done to the directory itself.
    untouched: bool,
}

impl<'a, I: Iterator<Item = (&'a Entry, Mark)>> Walk<'a, I> {
    fn visit(&mut self, name: &OsStr) -> Result<()> {
        let Some(frame) = self.frames.last() else {
            return Ok(());
        };
        let path = join(&frame.path, name);
        self.mark_missing(Some(&path))?;
        let shown = self.root.join(&path);
        let now = Mark::of(self.directory.as_fd(), name).context("look at", &shown)?;
        let is_expected = |(entry, _): &(&Entry, Mark)| entry.path == path;
        let Some((entry, mark)) = self.expected.next_if(is_expected) else {
            self.keep();
            return Ok(());
        };
        let is_directory = self.is_directory(name, &shown)?;
        if now.is_same(&mark) && is_directory {
            return self.enter(name, path, now == mark);
        }
        self.skip_beneath(&path);
        if now == mark {
            let removed = unlinkat(&self.directory, name, AtFlags::empty());
            return Ok(removed.context("remove", &shown)?);
        }
        if is_directory && entry.is_directory() {
            let directory = self.open(name, &shown)?;
            metadata::set_opaque(&directory, self.privileges, &shown)?;
        }
        self.keep();
        Ok(())
    }

    fn enter(&mut self, name: &OsStr, path: PathBuf, untouched: bool) -> Result<()> {
        let shown = self.root.join(&path);
        let directory = self.open(name, &shown)?;
        let time = modified(&directory, &shown)?;
        let names = list(&directory, &shown)?;
        self.directory = directory;
        self.frames.push(Frame {
            path,
            names,
            time,
            keeps: false,
            untouched,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        self.mark_missing(None)?;
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let shown = self.root.join(&frame.path);
        let stays = frame.keeps || !frame.untouched;
        if stays {
            // What was removed here by this walk is no change.
            metadata::set_times(Target::Open(self.directory.as_fd()), frame.time, &shown)?;
        }
        if self.frames.is_empty() {
            return Ok(());
        }
        self.directory = self.open(OsStr::new(".."), &shown)?;
        if stays {
            self.keep();
            return Ok(());
        }
        let name = frame.path.file_name().unwrap_or_default();
        let removed = unlinkat(&self.directory, name, AtFlags::REMOVEDIR);
        Ok(removed.context("remove the folder", &shown)?)
    }

    /// Marks what was laid out in this directory, comes before `path` (before its end, if there is none) and is gone.
    fn mark_missing(&mut self, before: Option<&Path>) -> Result<()> {
        // Mostly what comes next is what was expected.
        let next = self.expected.peek().zip(before);
        if next.is_some_and(|((entry, _), path)| compare_paths(&entry.path, path).is_ge()) {
            return Ok(());
        }
        let here = self.frames.last().map(|frame| frame.path.clone());
        let here = here.unwrap_or_default();
        let is_missing = |(entry, _): &(&Entry, Mark)| {
            is_at_or_beneath(&entry.path, &here)
                && before.is_none_or(|path| compare_paths(&entry.path, path).is_lt())
        };
        while let Some((entry, mark)) = self.expected.next_if(is_missing) {
            self.skip_beneath(&entry.path);
            if mark.inode == 0 {
                continue;
            }
            match metadata::make_whiteout(self.directory.as_fd(), entry.name()) {
                Err(Errno::EXIST) => {}
                made => made.context("mark as removed", &self.root.join(&entry.path))?,
            }
            self.keep();
        }
        Ok(())
    }

    fn skip_beneath(&mut self, path: &Path) {
        let is_beneath = |(entry, _): &(&Entry, Mark)| is_at_or_beneath(&entry.path, path);
        while self.expected.next_if(is_beneath).is_some() {}
    }

    fn keep(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.keeps = true;
        }
    }

    fn is_directory(&self, name: &OsStr, shown: &Path) -> Result<bool> {
        let found = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        let mode = found.context("look at", shown)?.st_mode;
        Ok(FileType::from_raw_mode(mode).is_dir())
    }

    fn open(&self, name: &OsStr, shown: &Path) -> Result<OwnedFd> {
        let opened = openat(&self.directory, name, DIRECTORY, Mode::empty());
        Ok(opened.context("open the folder", shown)?)
    }
}

fn modified(directory: &OwnedFd, shown: &Path) -> Result<(i64, i64)> {
    let stat = fstat(directory).context("look at", shown)?;
    Ok((
        stat.st_mtime,
        i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    ))
}
