//! A compact list of what went into a tree digest, to say later which files changed.
//!
//! For explanations only: it keeps eight bytes of each digest, and none at all of trees with very many entries.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

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
pub(super) struct ListingBuilder {
    entries: Vec<(Vec<u8>, [u8; PRINT])>,
    overflowed: bool,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is there in both, and differs.
    Changed,
}

/// How two listings differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number of new paths.
    pub added: u64,
    /// Number of paths that are gone.
    pub removed: u64,
    /// Number of paths that differ.
    pub changed: u64,
    /// The first few, sorted by path.
    pub first: Vec<(Change, PathBuf)>,
}

impl ListingBuilder {
    pub(super) fn add(&mut self, path: &Path, digest: &Digest) {
        if self.entries.len() >= MOST_ENTRIES {
            self.overflowed = true;
            self.entries = Vec::new();
        }
        if !self.overflowed {
            let mut print = [0; PRINT];
            print.copy_from_slice(&digest.as_bytes()[..PRINT]);
            self.entries
                .push((path.as_os_str().as_bytes().to_vec(), print));
        }
    }

    pub(super) fn finish(mut self) -> Listing {
        // A path that was selected twice is the same both times.
        self.entries.sort_unstable();
        self.entries.dedup();
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

    /// How `new` differs from this older one, naming the first `limit` paths; `None` where one of them says nothing.
    #[must_use]
    pub fn changes_to(&self, new: &Self, limit: usize) -> Option<Changes> {
        if !(self.complete && new.complete) {
            return None;
        }
        let mut changes = Changes::default();
        let (mut old, mut new) = (Records::new(&self.records), Records::new(&new.records));
        let (mut left, mut right) = (old.advance(), new.advance());
        loop {
            let order = match (left, right) {
                (None, None) => return Some(changes),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), Some(_)) => old.path.cmp(&new.path),
            };
            match order {
                std::cmp::Ordering::Less => {
                    changes.note(Change::Removed, &old.path, limit);
                    left = old.advance();
                }
                std::cmp::Ordering::Greater => {
                    changes.note(Change::Added, &new.path, limit);
                    right = new.advance();
                }
                std::cmp::Ordering::Equal => {
                    if left != right {
                        changes.note(Change::Changed, &new.path, limit);
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

impl Changes {
    /// Number of all differences.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.added + self.removed + self.changed
    }

    fn note(&mut self, change: Change, path: &[u8], limit: usize) {
        match change {
            Change::Added => self.added += 1,
            Change::Removed => self.removed += 1,
            Change::Changed => self.changed += 1,
        }
        if self.first.len() < limit {
            self.first
                .push((change, PathBuf::from(OsStr::from_bytes(path))));
        }
    }
}

impl fmt::Display for Changes {
    /// One line: "`src/app.py` changed, `b` added and 3 more".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (change, path)) in self.first.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let word = match change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Changed => "changed",
            };
            write!(f, "{comma}`{}` {word}", path.display())?;
        }
        let named = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        match (self.count().saturating_sub(named), named) {
            (0, 0) => f.write_str("nothing changed"),
            (0, _) => Ok(()),
            (more, 0) => write!(f, "{more} files changed"),
            (more, _) => write!(f, " and {more} more"),
        }
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

    fn listing(entries: &[(&str, &str)]) -> Listing {
        let mut builder = ListingBuilder::default();
        for (path, content) in entries {
            builder.add(Path::new(path), &Digest::of(content));
        }
        builder.finish()
    }

    #[test]
    fn changes_are_told_in_a_line() {
        type Case = (&'static [(&'static str, &'static str)], usize, &'static str);
        let old = listing(&[("b", "1"), ("a/x", "1"), ("c", "1"), ("z", "1")]);
        let cases: &[Case] = &[
            (
                &[("a/x", "1"), ("b", "1"), ("c", "1"), ("z", "1")],
                3,
                "nothing changed",
            ),
            (
                &[("a/x", "2"), ("b", "1"), ("c", "1"), ("z", "1")],
                3,
                "`a/x` changed",
            ),
            (
                &[("a/x", "1"), ("b2", "1"), ("c", "1"), ("z", "1")],
                3,
                "`b` removed, `b2` added",
            ),
            (&[("y", "1")], 2, "`a/x` removed, `b` removed and 3 more"),
            (&[], 0, "4 files changed"),
        ];
        for (entries, limit, line) in cases {
            let changes = old.changes_to(&listing(entries), *limit).unwrap();
            assert_eq!(changes.to_string(), *line);
        }
    }

    #[test]
    fn too_many_entries_are_no_listing() {
        let mut builder = ListingBuilder::default();
        let digest = Digest::of("");
        for number in 0..=MOST_ENTRIES {
            builder.add(Path::new(&number.to_string()), &digest);
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
            builder.add(Path::new(OsStr::from_bytes(path)), &Digest::of([*content]));
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
            prop_assert_eq!(changes.added, count(new.keys().filter(|path| !old.contains_key(*path)).count()));
            prop_assert_eq!(changes.removed, count(old.keys().filter(|path| !new.contains_key(*path)).count()));
            let differs = |path: &&Vec<u8>| new.get(*path).is_some_and(|content| old.get(*path) != Some(content));
            prop_assert_eq!(changes.changed, count(old.keys().filter(differs).count()));
            prop_assert_eq!(count(changes.first.len()), changes.count());
        }

        #[test]
        fn any_bytes_can_be_decoded(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let bytes = [&[VERSION, 1], &bytes[..]].concat();
            if let Some(listing) = Listing::decode(&bytes) {
                prop_assert_eq!(listing.changes_to(&listing, 9).map(|changes| changes.count()), Some(0));
                prop_assert_eq!(listing.encode(), bytes);
            }
        }
    }
}
