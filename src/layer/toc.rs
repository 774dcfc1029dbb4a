//! The table of contents of one layer: its entries in order, found by binary search.
//!
//! Invariants, checked by [`Toc::from_sorted`]: paths are clean and strictly ascending, and whatever is beneath a
//! directory has that directory (perhaps an implied one) in the table. A layer without entries is fine.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::entry::{Entry, EntryKind, compare_paths, is_at_or_beneath};
use super::error::{Error, Result, TocProblem};

/// All paths of a layer, sorted so that a directory comes right before what is beneath it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    entries: Vec<Entry>,
}

impl Toc {
    /// A table of entries that are in order.
    ///
    /// # Errors
    /// A path that is not clean, not after the one before it, or whose directory is missing.
    pub fn from_sorted(entries: Vec<Entry>) -> Result<Self> {
        // The chain of directories that the entry before is in.
        let mut open: Vec<usize> = Vec::new();
        let mut before: Option<&Entry> = None;
        for (index, entry) in entries.iter().enumerate() {
            let wrong = || Error::DecodeToc(TocProblem::Inconsistent(entry.path.clone()));
            let ascending =
                before.is_none_or(|before| compare_paths(&before.path, &entry.path).is_lt());
            if !ascending || !is_clean(&entry.path) {
                return Err(wrong());
            }
            let is_open = |at: &usize| {
                entries
                    .get(*at)
                    .is_some_and(|open| is_at_or_beneath(&entry.path, &open.path))
            };
            while open.last().is_some_and(|at| !is_open(at)) {
                open.pop();
            }
            let parent = entry.path.parent().unwrap_or(Path::new(""));
            let inside = open.last().and_then(|at| entries.get(*at));
            if inside.map_or(Path::new(""), |inside| inside.path.as_path()) != parent {
                return Err(wrong());
            }
            if entry.is_directory() {
                open.push(index);
            } else if entry.path.as_os_str().is_empty() {
                return Err(wrong());
            }
            before = Some(entry);
        }
        Ok(Self { entries })
    }

    /// A table of entries that are known to be in order.
    pub(super) fn trusted(entries: Vec<Entry>) -> Self {
        debug_assert!(
            Self::from_sorted(entries.clone()).is_ok(),
            "entries are in order"
        );
        Self { entries }
    }

    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether the layer has no entry at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes of all files together, each hard-linked file once.
    #[must_use]
    pub fn content_size(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum: u64, entry| sum.saturating_add(entry.size()))
    }

    /// The entry at `path`, which is relative to the root; a leading slash does not matter.
    #[must_use]
    pub fn get(&self, path: impl AsRef<Path>) -> Option<&Entry> {
        self.entries.get(self.index_of(path.as_ref())?)
    }

    /// Whether the layer's directory depends on the layers below: on a lower directory's mode and owner, or on a file
    /// that a hard link names. Such a directory belongs to one chain of layers, not to the diff ID alone.
    #[must_use]
    pub fn needs_lower(&self) -> bool {
        self.entries.iter().any(|entry| match &entry.kind {
            EntryKind::HardLink { target } => self.get(target).is_none(),
            _ => entry.is_implied(),
        })
    }

    /// The entry at `path` and all beneath it, in order.
    #[must_use]
    pub fn under(&self, path: impl AsRef<Path>) -> &[Entry] {
        let (start, end) = self.range_under(relative(path.as_ref()));
        self.entries.get(start..end).unwrap_or_default()
    }

    /// The entries directly in `directory`, in order.
    pub fn children(&self, directory: impl AsRef<Path>) -> impl Iterator<Item = &Entry> {
        let directory = relative(directory.as_ref());
        let (start, end) = self.range_under(directory);
        let own = self
            .entries
            .get(start)
            .is_some_and(|first| first.path == directory);
        self.children_in(start + usize::from(own), end)
            .map(|(_, entry)| entry)
    }

    /// Where `path` is in the table.
    pub(super) fn index_of(&self, path: &Path) -> Option<usize> {
        let path = relative(path);
        self.entries
            .binary_search_by(|entry| compare_paths(&entry.path, path))
            .ok()
    }

    /// The part of the table at `path` and beneath it.
    pub(super) fn range_under(&self, path: &Path) -> (usize, usize) {
        let start = self
            .entries
            .partition_point(|entry| compare_paths(&entry.path, path).is_lt());
        (start, self.end_of(start, self.entries.len(), path))
    }

    /// The top-most entries of a part of the table, each with the part that is it and what is beneath it.
    pub(super) fn children_in(
        &self,
        start: usize,
        end: usize,
    ) -> impl Iterator<Item = ((usize, usize), &Entry)> {
        let mut next = start;
        std::iter::from_fn(move || {
            let at = next;
            let entry = self.entries.get(at).filter(|_| at < end)?;
            next = self.end_of(at + 1, end, &entry.path);
            Some(((at, next), entry))
        })
    }

    /// The end of what is beneath `path`, which starts at `start`; most often that is right there.
    fn end_of(&self, start: usize, limit: usize, path: &Path) -> usize {
        let rest = self.entries.get(start..limit).unwrap_or_default();
        match rest.first() {
            Some(first) if is_at_or_beneath(&first.path, path) => {
                start + rest.partition_point(|entry| is_at_or_beneath(&entry.path, path))
            }
            _ => start,
        }
    }
}

/// `path` without leading slashes.
pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Whether a path is what a table may hold: relative, without NUL, `.`, `..` and empty components; or the root.
pub(super) fn is_clean(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.is_empty()
        || (!bytes.contains(&0)
            && bytes
                .split(|byte| *byte == b'/')
                .all(|name| !matches!(name, b"" | b"." | b"..")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::EntryKind;

    fn toc(paths: &[&str]) -> Result<Toc> {
        let entry = |path: &&str| match path.strip_suffix('/') {
            Some(path) => Entry::new(path, EntryKind::directory(), 0o755),
            None => Entry::new(*path, EntryKind::file(1), 0o644),
        };
        Toc::from_sorted(paths.iter().map(entry).collect())
    }

    fn names<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<&'a str> {
        entries
            .into_iter()
            .map(|entry| entry.path.to_str().unwrap())
            .collect()
    }

    #[test]
    fn finds_entries_children_and_subtrees() {
        let toc = toc(&["a/", "a/b/", "a/b/c", "a/b/d", "a/e", "a-b", "f"]).unwrap();
        assert_eq!(toc.get("a/b/c").unwrap().path, Path::new("a/b/c"));
        assert_eq!(toc.get("/a-b").unwrap().path, Path::new("a-b"));
        assert!(toc.get("a/b/cc").is_none());
        assert_eq!(names(toc.children("a")), ["a/b", "a/e"]);
        assert_eq!(names(toc.children("")), ["a", "a-b", "f"]);
        assert_eq!(names(toc.children("/")), ["a", "a-b", "f"]);
        assert_eq!(names(toc.children("none")), [""; 0]);
        assert_eq!(names(toc.under("a/b")), ["a/b", "a/b/c", "a/b/d"]);
        assert_eq!(toc.under("").len(), toc.len());
        assert_eq!(toc.content_size(), 5);
    }

    #[test]
    fn an_empty_table_answers_everything() {
        let toc = toc(&[]).unwrap();
        assert!(toc.is_empty() && toc.get("a").is_none() && toc.under("").is_empty());
        assert_eq!(toc.children("").count(), 0);
        assert!(!toc.needs_lower());
    }

    #[test]
    fn refuses_what_binary_search_could_not_rely_on() {
        let bad: [&[&str]; 8] = [
            &["b", "a"],
            &["a", "a"],
            &["a/b"],
            &["a", "a/b"],
            &["../a"],
            &["/a"],
            &["a/", "a/./"],
            &["", "a"],
        ];
        for paths in bad {
            assert!(toc(paths).is_err(), "{paths:?}");
        }
        // A root entry is allowed, and only as a directory.
        let root = Entry::new("", EntryKind::directory(), 0o700);
        assert!(Toc::from_sorted(vec![root]).is_ok());
    }
}
