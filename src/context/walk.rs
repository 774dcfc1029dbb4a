//! Walking a directory of a context in a fixed order, without what is ignored or excluded.
//!
//! Memory is bounded by the depth of the tree and the largest single directory. A walk goes by path names: where
//! somebody swaps a directory for a link meanwhile it may name what is elsewhere, but content is opened beneath the
//! root only.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, statat};
use walkdir::{DirEntry, WalkDir};

use super::local::LocalContext;
use super::pattern_list::{PatternList, Trail};
use super::{ContextError, Entry, lexical};
use crate::fsio::{self, Context as _};

/// The entries below a directory. See [`LocalContext::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    root: &'a Path,
    /// The root, open.
    directory: BorrowedFd<'a>,
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
        known_as: &Path,
    ) -> Self {
        let ignore = context.ignore().patterns();
        let top = Level {
            ignore: ignore.follow(&directory.path),
            exclude: exclude.follow(known_as),
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
            // Of neighbours all but the last name is the same.
            .sort_by(|a, b| a.path().as_os_str().cmp(b.path().as_os_str()));
        Self {
            root: context.root(),
            directory: context.directory(),
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
        let path = lexical::below(found.path(), self.root).unwrap_or(found.path());
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
        let name = lexical::last_name(path);
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
        // From the root on, which is shorter than the whole path.
        let entry = statat(self.directory, path, AtFlags::SYMLINK_NOFOLLOW)
            .context("read", found.path())
            .and_then(|stat| Entry::new(path.to_owned(), &stat, || fsio::read_link(found.path())));
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::super::EntryKind;
    use super::super::fixture::{context, put, tree};
    use super::*;

    fn walked(root: &Path, rules: &str, from: &str, exclude: &[&str]) -> Vec<String> {
        let context = context(root, rules);
        let directory = context.lookup(Path::new(from)).unwrap();
        let exclude = PatternList::new(exclude).unwrap();
        context
            .walk(&directory, &exclude)
            .map(|entry| entry.unwrap().path.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_order_is_by_components() {
        let dir = tree(&[
            ("b", ""),
            ("a.b", ""),
            ("a/z", ""),
            ("a/b/c", ""),
            ("a-", ""),
            ("B/", ""),
        ]);
        assert_eq!(
            walked(dir.path(), "", "", &[]),
            ["B", "a", "a/b", "a/b/c", "a/z", "a-", "a.b", "b"]
        );
        assert_eq!(walked(dir.path(), "", "a", &[]), ["a/b", "a/b/c", "a/z"]);
        assert!(walked(dir.path(), "", "b", &[]).is_empty());
    }

    #[test]
    fn excluded_directories_appear_only_to_hold_something() {
        let dir = tree(&[
            ("empty/", ""),
            ("keep/x", ""),
            ("out/x", ""),
            ("out/deep/a", ""),
            ("out/deep/b", ""),
            ("out/other/b", ""),
            ("src/a", ""),
        ]);
        let cases: &[(&str, &[&str], &[&str])] = &[
            (
                "out\n!out/deep/a",
                &[],
                &[
                    "empty",
                    "keep",
                    "keep/x",
                    "out",
                    "out/deep",
                    "out/deep/a",
                    "src",
                    "src/a",
                ],
            ),
            ("*\n!src", &[], &["src", "src/a"]),
            ("**\n!src", &[], &["src", "src/a"]),
            ("*", &["!src"], &[]),
            ("*\n!out/none", &[], &[]),
            ("", &["*", "!src/a"], &["src", "src/a"]),
            (
                "out\n!out/deep/a",
                &["**/a"],
                &["empty", "keep", "keep/x", "src"],
            ),
            (
                "out\n!out/deep",
                &["out/deep/a"],
                &[
                    "empty",
                    "keep",
                    "keep/x",
                    "out",
                    "out/deep",
                    "out/deep/b",
                    "src",
                    "src/a",
                ],
            ),
            (
                "keep/*\nout/**\nempty",
                &[],
                &["keep", "out", "src", "src/a"],
            ),
        ];
        for (rules, exclude, expected) in cases {
            assert_eq!(
                walked(dir.path(), rules, "", exclude),
                *expected,
                "{rules:?} {exclude:?}"
            );
        }
        // Exclusions of a copy are relative to what is copied, ignore rules to the root.
        assert_eq!(
            walked(dir.path(), "out/x", "out", &["deep"]),
            ["out/other", "out/other/b"]
        );
    }

    #[test]
    fn a_directory_can_be_skipped_also_when_it_was_held() {
        let dir = tree(&[("a/x", ""), ("a/y/z", ""), ("b", "")]);
        for rules in ["", "a\n!a/y/z", "a\n!a/x\n!a/y/z"] {
            let context = context(dir.path(), rules);
            let root = context.lookup(Path::new("")).unwrap();
            let exclude = PatternList::default();
            let mut walk = context.walk(&root, &exclude);
            let first = walk.next().unwrap().unwrap();
            assert_eq!(first.path, Path::new("a"), "{rules:?}");
            walk.skip_below(&first.path);
            let rest: Vec<_> = walk.map(|entry| entry.unwrap().path).collect();
            assert_eq!(rest, [Path::new("b")], "{rules:?}");
        }
    }

    #[test]
    fn kinds_and_odd_names() {
        let dir = tree(&[
            ("link", "->some where"),
            ("100%\n", "x"),
            (" ", "yy"),
            ("-é", ""),
        ]);
        crate::fsio::create(dir.path().join(OsStr::from_bytes(b"\xFF\xFE"))).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        crate::fsio::hard_link(dir.path().join(" "), dir.path().join("twin")).unwrap();
        crate::fsio::set_mode(dir.path().join("twin"), 0o4711).unwrap();
        let context = context(dir.path(), "");
        let root = context.lookup(Path::new("")).unwrap();
        let exclude = PatternList::default();
        let entries: Vec<Entry> = context.walk(&root, &exclude).map(Result::unwrap).collect();
        let names: Vec<&[u8]> = entries
            .iter()
            .map(|e| e.path.as_os_str().as_bytes())
            .collect();
        let expected: [&[u8]; 8] = [
            b" ",
            "-é".as_bytes(),
            b"100%\n",
            b"link",
            b"pipe",
            b"socket",
            b"twin",
            b"\xFF\xFE",
        ];
        assert_eq!(names, expected);
        let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.clone()).collect();
        assert_eq!(kinds[0], EntryKind::File { size: 2 });
        assert_eq!(
            kinds[3],
            EntryKind::Symlink {
                target: "some where".into()
            }
        );
        assert_eq!(kinds[4], EntryKind::Fifo);
        assert_eq!(kinds[5], EntryKind::File { size: 0 });
        assert_eq!(
            (entries[0].mode, entries[0].uid, entries[0].gid),
            (0o4711, 0, 0)
        );
        assert!(entries[0].hard_link.is_some_and(|link| link.names == 2));
        assert_eq!(entries[0].hard_link, entries[6].hard_link);
        assert_eq!(entries[2].hard_link, None);
    }

    #[test]
    fn the_same_however_the_files_were_made() {
        let made = |numbers: &mut dyn Iterator<Item = usize>| {
            let dir = tree(&[]);
            for number in numbers {
                let name = format!("{}/{}/f{number}", number % 7, number % 50);
                put(dir.path(), &name, "");
            }
            walked(dir.path(), "3/**\n!3/10/f10*", "", &["1*/**", "!**/f99"])
        };
        let forwards = made(&mut (0..5000));
        assert_eq!(forwards, made(&mut (0..5000).rev()));
        assert!(forwards.is_sorted_by_key(Path::new));
        assert!(forwards.len() > 3000, "{}", forwards.len());
    }
}
