//! Walking a directory of a context in a fixed order, without what is ignored or excluded.
//!
//! Memory is bounded by the depth of the tree and the largest single directory.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::local::LocalContext;
use super::pattern_list::{PatternList, Trail};
use super::{ContextError, Entry, lexical};
use crate::fsio;

/// The entries below a directory. See [`LocalContext::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    root: &'a Path,
    /// How deep below the root the walked directory is.
    top_depth: usize,
    ignore: &'a PatternList,
    exclude: &'a PatternList,
    inner: walkdir::IntoIter,
    /// The directories on the way to the current entry, the walked one first.
    levels: Vec<Level>,
    ready: VecDeque<Entry>,
    /// The directory that the inner walk yielded last, while nothing in it was.
    fresh_directory: Option<PathBuf>,
    skipped: Option<PathBuf>,
}

#[derive(Debug)]
struct Level {
    ignore: Trail,
    exclude: Trail,
    /// The directory's own entry, while it is excluded and nothing below it turned out not to be.
    held: Option<Entry>,
}

impl Level {
    fn excluded(&self) -> bool {
        self.ignore.verdict().excluded || self.exclude.verdict().excluded
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        context: &'a LocalContext,
        directory: &Entry,
        exclude: &'a PatternList,
    ) -> Self {
        let ignore = context.ignore().patterns();
        let top = Level {
            ignore: ignore.follow(&directory.path),
            exclude: exclude.root(),
            held: None,
        };
        let depth = if directory.is_directory() {
            usize::MAX
        } else {
            0
        };
        let inner = WalkDir::new(context.root().join(&directory.path))
            .min_depth(1)
            .max_depth(depth)
            .follow_root_links(false)
            .sort_by_file_name();
        Self {
            root: context.root(),
            top_depth: lexical::names(&directory.path).count(),
            ignore,
            exclude,
            inner: inner.into_iter(),
            levels: vec![top],
            ready: VecDeque::new(),
            fresh_directory: None,
            skipped: None,
        }
    }

    /// Leaves out everything below a directory that was just yielded.
    pub fn skip_below(&mut self, directory: &Path) {
        if self.fresh_directory.as_deref() == Some(directory) {
            self.inner.skip_current_dir();
            self.fresh_directory = None;
        } else {
            // The inner walk is ahead already: the directory was held back until something below it was found.
            self.ready
                .retain(|entry| !entry.path.starts_with(directory));
            self.skipped = Some(directory.to_owned());
        }
    }

    /// Judges what the inner walk found and queues what is in.
    fn take(&mut self, found: &DirEntry) -> Result<(), ContextError> {
        if found.depth() == 0 {
            // Not a directory: there is nothing below.
            return Ok(());
        }
        let is_directory = found.file_type().is_dir();
        self.levels.truncate(found.depth());
        self.fresh_directory = None;
        let path = found.path().strip_prefix(self.root).unwrap_or(found.path());
        if let Some(skipped) = &self.skipped {
            if path.starts_with(skipped) {
                if is_directory {
                    self.inner.skip_current_dir();
                }
                return Ok(());
            }
            self.skipped = None;
        }
        let Some(parent) = self.levels.last() else {
            return Ok(());
        };
        let name = found.file_name();
        if !is_directory {
            let excluded = self.ignore.judge_name(&parent.ignore, name).excluded
                || self.exclude.judge_name(&parent.exclude, name).excluded;
            return if excluded {
                Ok(())
            } else {
                self.queue(found, path)
            };
        }
        let level = Level {
            ignore: self.ignore.enter(&parent.ignore, name),
            exclude: self.exclude.enter(&parent.exclude, name),
            held: None,
        };
        self.enter(found, path, level)
    }

    /// Enters a directory, or passes it by where nothing below it can be in.
    fn enter(
        &mut self,
        found: &DirEntry,
        path: &Path,
        mut level: Level,
    ) -> Result<(), ContextError> {
        let hopeless = |list: &PatternList, trail: &Trail| {
            trail.verdict().excluded && !list.may_reinclude_below(trail)
        };
        if hopeless(self.ignore, &level.ignore) || hopeless(self.exclude, &level.exclude) {
            self.inner.skip_current_dir();
            return Ok(());
        }
        if level.excluded() {
            level.held = self.stat(found, path)?;
        } else {
            self.queue(found, path)?;
        }
        self.fresh_directory = Some(path.to_owned());
        self.levels.push(level);
        Ok(())
    }

    /// Queues an entry that is in, after the excluded directories above it, which are needed to hold it.
    fn queue(&mut self, found: &DirEntry, path: &Path) -> Result<(), ContextError> {
        if let Some(entry) = self.stat(found, path)? {
            let held = self.levels.iter_mut().filter_map(|level| level.held.take());
            self.ready.extend(held);
            self.ready.push_back(entry);
        }
        Ok(())
    }

    /// The entry of a found path; `None` where it has gone since its directory was read.
    fn stat(&self, found: &DirEntry, path: &Path) -> Result<Option<Entry>, ContextError> {
        let entry = found
            .metadata()
            .map_err(|error| failure(&error, found.path()))
            .and_then(|metadata| {
                Entry::new(path.to_owned(), &metadata, || fsio::read_link(found.path()))
            });
        match entry {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a failure of the inner walk may pass: the path is gone, or it is a closed directory that is excluded.
    fn tolerates(&self, error: &fsio::Error) -> bool {
        let path = error.path.strip_prefix(self.root).unwrap_or(&error.path);
        let excluded = || {
            let level = self.levels.get(self.depth_of(path));
            level.is_some_and(Level::excluded)
        };
        error.is_not_found() || (error.is_permission() && excluded())
    }

    /// How deep below the walked directory a path is.
    fn depth_of(&self, path: &Path) -> usize {
        lexical::names(path).count().saturating_sub(self.top_depth)
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry, ContextError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            let taken = match self.inner.next()? {
                Ok(found) => self.take(&found),
                Err(error) => {
                    let path = error.path().unwrap_or(self.root).to_owned();
                    match failure(&error, &path) {
                        error if self.tolerates(&error) => Ok(()),
                        error => Err(error.into()),
                    }
                }
            };
            if let Err(error) = taken {
                return Some(Err(error));
            }
        }
    }
}

/// The failure of the inner walk in our words.
pub(super) fn failure(error: &walkdir::Error, path: &Path) -> fsio::Error {
    let source = error
        .io_error()
        .and_then(io::Error::raw_os_error)
        .map_or_else(
            || io::Error::other("cannot walk"),
            io::Error::from_raw_os_error,
        );
    fsio::Error::new("read", path, source)
}
