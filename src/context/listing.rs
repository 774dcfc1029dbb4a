//! A compact list of what went into a tree digest, to say later which files changed.
//!
//! For explanations only: it keeps eight bytes of each digest, and none at all of trees with very many entries. A directory
//! is in it with a `/` at the end of its path.

use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// Entries beyond which a listing is not kept.
const MOST_ENTRIES: usize = 200_000;
/// Bytes of a digest that are kept.
const PRINT: usize = 8;
/// First byte of an encoded listing.
const VERSION: u8 = 1;

/// Paths, sorted by their bytes, each with a few bytes of its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Records: length shared with the path before, length of the rest, the rest, the fingerprint.
    records: Vec<u8>,
    /// Whether it says all; otherwise it says nothing.
    complete: bool,
}

/// Collects a listing.
#[derive(Debug, Default)]
pub struct ListingBuilder {
    entries: Vec<(Vec<u8>, [u8; PRINT])>,
    overflowed: bool,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is there in both, and differs.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

/// How two listings differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Number of files in the newer one, directories not counted.
    pub total: u64,
    /// Number of files that differ.
    pub changed: u64,
    /// Number of new files.
    pub added: u64,
    /// Number of files that are gone.
    pub removed: u64,
    /// Number of directories that are new, gone or differ.
    pub directories: u64,
    /// The first few of each kind, sorted by path.
    pub first: Vec<(Change, String)>,
}

impl ListingBuilder {
    /// Adds an entry, in any order.
    pub fn add(&mut self, path: &Path, is_directory: bool, digest: &Digest) {
        if self.entries.len() >= MOST_ENTRIES {
            self.overflowed = true;
            self.entries = Vec::new();
        }
        if !self.overflowed {
            let mut print = [0; PRINT];
            print.copy_from_slice(&digest.as_bytes()[..PRINT]);
            let mut path = path.as_os_str().as_bytes().to_vec();
            path.extend(is_directory.then_some(b'/'));
            self.entries.push((path, print));
        }
    }

    /// The listing of all that was added.
    #[must_use]
    pub fn finish(mut self) -> Listing {
        // A path that was selected twice is the same both times.
        self.entries.sort_unstable();
        self.entries.dedup_by(|a, b| a.0 == b.0);
        let mut records = Vec::new();
        let mut before: &[u8] = b"";
        for (path, print) in &self.entries {
            let shared = before.iter().zip(path).take_while(|(a, b)| a == b).count();
            let rest = path.get(shared..).unwrap_or_default();
            push_number(&mut records, shared);
            push_number(&mut records, rest.len());
            records.extend_from_slice(rest);
            records.extend_from_slice(print);
            before = path;
        }
        Listing {
            records,
            complete: !self.overflowed,
        }
    }
}

impl Listing {
    /// The listing as bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.complete)];
        bytes.extend_from_slice(&self.records);
        bytes
    }

    /// Reads stored bytes; `None` where they are no listing.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, complete], records) = bytes.split_first_chunk::<2>()?;
        if version != VERSION || complete > 1 {
            return None;
        }
        let mut reader = Records::new(records);
        let mut before: Option<Vec<u8>> = None;
        while !reader.rest.is_empty() {
            reader.advance()?;
            if before.as_ref().is_some_and(|before| *before >= reader.path) {
                return None;
            }
            before = Some(reader.path.clone());
        }
        Some(Self {
            records: records.to_vec(),
            complete: complete == 1,
        })
    }

    /// How `new` differs from this older one, naming the first `limit` paths of each kind of change; `None` where one of
    /// them says nothing.
    #[must_use]
    pub fn changes_to(&self, new: &Self, limit: usize) -> Option<Changes> {
        if !(self.complete && new.complete) {
            return None;
        }
        let mut noting = Noting::new(limit);
        let (mut old, mut new) = (Records::new(&self.records), Records::new(&new.records));
        let (mut left, mut right) = (old.advance(), new.advance());
        loop {
            let order = match (left, right) {
                (None, None) => return Some(noting.finish()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), Some(_)) => old.path.cmp(&new.path),
            };
            if order.is_ge() {
                noting.count(&new.path);
            }
            match order {
                std::cmp::Ordering::Less => {
                    noting.note(Change::Removed, &old.path);
                    left = old.advance();
                }
                std::cmp::Ordering::Greater => {
                    noting.note(Change::Added, &new.path);
                    right = new.advance();
                }
                std::cmp::Ordering::Equal => {
                    if left != right {
                        noting.note(Change::Changed, &new.path);
                    }
                    left = old.advance();
                    right = new.advance();
                }
            }
        }
    }

    /// The paths, sorted by their bytes.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let mut records = Records::new(&self.records);
        std::iter::from_fn(move || {
            records.advance()?;
            let path = std::ffi::OsString::from_vec(records.path.clone());
            Some(PathBuf::from(path))
        })
    }
}

/// Collects changes, a few of each kind by name.
struct Noting {
    limit: usize,
    changes: Changes,
    named: [Vec<String>; 3],
}

impl Noting {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            changes: Changes::default(),
            named: [const { Vec::new() }; 3],
        }
    }

    /// Counts a path of the newer listing.
    fn count(&mut self, path: &[u8]) {
        self.changes.total += u64::from(!path.ends_with(b"/"));
    }

    fn note(&mut self, change: Change, path: &[u8]) {
        let changes = &mut self.changes;
        let count = match change {
            _ if path.ends_with(b"/") => &mut changes.directories,
            Change::Changed => &mut changes.changed,
            Change::Added => &mut changes.added,
            Change::Removed => &mut changes.removed,
        };
        *count += 1;
        let named = &mut self.named[change as usize];
        if named.len() < self.limit {
            named.push(String::from_utf8_lossy(path).into_owned());
        }
    }

    fn finish(self) -> Changes {
        let kinds = [Change::Changed, Change::Added, Change::Removed];
        let named = kinds.into_iter().zip(self.named);
        let first = named.flat_map(|(kind, paths)| paths.into_iter().map(move |path| (kind, path)));
        Changes {
            first: first.collect(),
            ..self.changes
        }
    }
}

/// Paths that a line names of a kind of change, if there is one kind; if there are several.
const NAMED: (usize, usize) = (3, 2);

impl Changes {
    /// Number of files that are new, gone or differ.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.added + self.removed + self.changed
    }

    /// The first of the paths to which something happened, as a list; with directories only where nothing else changed.
    fn names(&self, change: Change, most: usize) -> Vec<&str> {
        let directories = self.files() == 0;
        let paths = self
            .first
            .iter()
            .filter(|(kind, path)| *kind == change && path.ends_with('/') == directories);
        paths.take(most).map(|(_, path)| path.as_str()).collect()
    }
}

impl fmt::Display for Changes {
    /// One line: `3 of 1204 files changed: src/a.py, src/b.py, ...`, `1 file added: b; 1 removed: c`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files() == 0 {
            let kinds = [Change::Changed, Change::Added, Change::Removed];
            let name = kinds.iter().find_map(|kind| self.names(*kind, 1).pop());
            return match (self.directories, name) {
                (0, _) | (_, None) => f.write_str("nothing changed"),
                (1, Some(name)) => write!(f, "a directory changed: {name}"),
                (count, Some(name)) => write!(f, "{count} directories changed: {name}, ..."),
            };
        }
        let counts = [
            (Change::Changed, "changed", self.changed),
            (Change::Added, "added", self.added),
            (Change::Removed, "removed", self.removed),
        ];
        let kinds = counts.iter().filter(|(.., count)| *count > 0);
        let most = if kinds.clone().count() == 1 {
            NAMED.0
        } else {
            NAMED.1
        };
        for (position, (change, word, count)) in kinds.enumerate() {
            let files = match (position, count) {
                (0, 1) if *change != Change::Changed => " file",
                (0, _) if *change != Change::Changed => " files",
                _ => "",
            };
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{count}{files}")?;
            if *change == Change::Changed {
                let s = if self.total == 1 { "" } else { "s" };
                write!(f, " of {} file{s}", self.total)?;
            }
            write!(f, " {word}")?;
            let names = self.names(*change, most);
            if !names.is_empty() {
                let more = if (names.len() as u64) < *count {
                    ", ..."
                } else {
                    ""
                };
                write!(f, ": {}{more}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Reads records one after the other.
struct Records<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
}

impl<'a> Records<'a> {
    fn new(records: &'a [u8]) -> Self {
        Self {
            rest: records,
            path: Vec::new(),
        }
    }

    /// Moves to the next record and returns its fingerprint; `None` at the end and where the bytes are damaged.
    fn advance(&mut self) -> Option<[u8; PRINT]> {
        let (shared, rest) = take_number(self.rest)?;
        let (length, rest) = take_number(rest)?;
        let (name, rest) = rest.split_at_checked(length)?;
        let (print, rest) = rest.split_first_chunk::<PRINT>()?;
        if shared > self.path.len() {
            return None;
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(name);
        self.rest = rest;
        Some(*print)
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7F).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_usize;
    for (position, &byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7F) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(position + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(builder: &mut ListingBuilder, path: &[u8], content: &[u8]) {
        let (path, is_directory) = match path.strip_suffix(b"/") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        builder.add(path, is_directory, &Digest::of(content));
    }

    fn listing(entries: &[(&str, &str)]) -> Listing {
        let mut builder = ListingBuilder::default();
        for (path, content) in entries {
            add(&mut builder, path.as_bytes(), content.as_bytes());
        }
        builder.finish()
    }

    #[test]
    fn changes_are_told_in_a_line() {
        type Case = (&'static str, &'static str);
        // Each letter is a file, the number behind it its content.
        let of = |text: &str| {
            let entries: Vec<(&str, &str)> = text
                .split_whitespace()
                .map(|entry| entry.split_at(entry.len() - 1))
                .collect();
            listing(&entries)
        };
        let old = of("b1 a/1 a/x1 c1 z1");
        let cases: &[Case] = &[
            ("a/1 a/x1 b1 c1 z1", "nothing changed"),
            ("a/1 a/x2 b1 c1 z1", "1 of 4 files changed: a/x"),
            ("a/1 a/x2 b2 c2 z2", "4 of 4 files changed: a/x, b, c, ..."),
            ("a/1 a/x1 b1 c1 d1 z1", "1 file added: d"),
            ("a/1 a/x1 b1 c1", "1 file removed: z"),
            (
                "a/1 a/x2 b1 c1 d/1 d/x1",
                "1 of 4 files changed: a/x; 1 added: d/x; 1 removed: z",
            ),
            ("y1", "1 file added: y; 4 removed: a/x, b, ..."),
            ("a/2 a/x1 b1 c1 z1", "a directory changed: a/"),
            ("a/2 a/x1 b1 c1 z1 d/1", "2 directories changed: a/, ..."),
            ("", "4 files removed: a/x, b, c, ..."),
        ];
        for (new, line) in cases {
            let changes = old.changes_to(&of(new), 9).unwrap();
            assert_eq!(changes.to_string(), *line, "{new}");
        }
        let unnamed = old.changes_to(&of("b2 a/1 a/x1 c1 z1"), 0).unwrap();
        assert_eq!(unnamed.to_string(), "1 of 4 files changed");
    }

    #[test]
    fn too_many_entries_are_no_listing() {
        let mut builder = ListingBuilder::default();
        let digest = Digest::of("");
        for number in 0..=MOST_ENTRIES {
            builder.add(Path::new(&number.to_string()), false, &digest);
        }
        let large = builder.finish();
        assert_eq!(Listing::decode(&large.encode()), Some(large.clone()));
        assert_eq!(large.encode().len(), 2);
        assert_eq!(large.changes_to(&listing(&[]), 1), None);
        assert_eq!(listing(&[]).changes_to(&large, 1), None);
    }

    #[test]
    fn it_is_compact() {
        let paths: Vec<String> = (0..1000)
            .map(|n| format!("node_modules/a-package/lib/file-{n:04}.js"))
            .collect();
        let entries: Vec<_> = paths
            .iter()
            .map(|path| (path.as_str(), path.as_str()))
            .collect();
        let size = listing(&entries).encode().len();
        assert!(size < 16 * 1000, "{size}");
    }

    fn entries() -> impl Strategy<Value = std::collections::BTreeMap<Vec<u8>, u8>> {
        let path = prop::collection::vec(prop::sample::select(&b"ab/\xFF"[..]), 0..200);
        prop::collection::btree_map(path, 0..3_u8, 0..8)
    }

    fn built(entries: &std::collections::BTreeMap<Vec<u8>, u8>) -> Listing {
        let mut builder = ListingBuilder::default();
        for (path, content) in entries.iter().rev() {
            add(&mut builder, path, &[*content]);
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn encoding_and_comparing_agree_with_maps(old in entries(), new in entries()) {
            let (left, right) = (built(&old), built(&new));
            let decoded = Listing::decode(&left.encode());
            prop_assert_eq!(decoded.as_ref(), Some(&left));
            let paths: Vec<Vec<u8>> = left.paths().map(|path| path.into_os_string().into_vec()).collect();
            prop_assert_eq!(paths, old.keys().cloned().collect::<Vec<_>>());
            let changes = left.changes_to(&right, 100).unwrap();
            let count = |n: usize| u64::try_from(n).unwrap();
            let is_file = |path: &&Vec<u8>| !path.ends_with(b"/");
            let added = || new.keys().filter(|path| !old.contains_key(*path));
            let removed = || old.keys().filter(|path| !new.contains_key(*path));
            let differs = |path: &&Vec<u8>| new.get(*path).is_some_and(|content| old.get(*path) != Some(content));
            let changed = || old.keys().filter(differs);
            prop_assert_eq!(changes.added, count(added().filter(is_file).count()));
            prop_assert_eq!(changes.removed, count(removed().filter(is_file).count()));
            prop_assert_eq!(changes.changed, count(changed().filter(is_file).count()));
            let all = count(added().chain(removed()).chain(changed()).count());
            prop_assert_eq!(changes.files() + changes.directories, all);
            prop_assert_eq!(count(changes.first.len()), all);
            prop_assert_eq!(changes.total, count(new.keys().filter(is_file).count()));
        }

        #[test]
        fn any_bytes_can_be_decoded(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = [&[VERSION, 1], &bytes[..]].concat();
            if let Some(listing) = Listing::decode(&bytes) {
                let same = listing.changes_to(&listing, 9);
                prop_assert_eq!(same.map(|changes| changes.files() + changes.directories), Some(0));
                prop_assert_eq!(listing.encode(), bytes);
            }
        }
    }
}
