//! Makes a table of contents from entries in any order, by the rules that hold when a tar is unpacked.
//!
//! The last entry of a name wins; what is beneath a symbolic link of the same layer goes to where the link leads;
//! directories nobody mentioned are implied; a removal only concerns lower layers, whatever its place in the tar. Of
//! the names of one hard-linked file the first in order is the file, so that the table does not depend on the order of
//! the tar.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::entry::{Entry, EntryKind, ancestors, compare_paths, is_at_or_beneath, join};
use super::error::{EntryProblem, Error, Result};
use super::toc::Toc;
use crate::oci::Digest;

/// As many as the kernel follows in one path would be 40; chains across directories may add up.
pub(super) const MAX_LINKS: usize = 255;
/// The longest path that can be opened.
const MAX_PATH: usize = 4096;
/// What an entry takes beside its names.
const ENTRY_COST: usize = 256;
/// The memory that the names of one layer may take: a small archive can unpack to any number of entries.
const MAX_COST: usize = 512 << 20;

/// A path in the order of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sorted(PathBuf);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_paths(&self.0, &other.0)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is at this path now, in place of whatever was there.
    At(PathBuf),
    /// It is another name, at the first path, of what is or will be at the second.
    Link(PathBuf, PathBuf),
    /// It says nothing new: a removal of something that the layer has itself, or a link to itself.
    Nowhere,
}

/// A table in the making.
#[derive(Debug, Default)]
pub(super) struct TocBuilder {
    /// By path; the entries' own paths are empty until the end.
    entries: BTreeMap<Sorted, Entry>,
    /// The other names of a path.
    links: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// A directory that is there without any link on the way: neighbours mostly come one after the other.
    last_directory: Option<PathBuf>,
    cost: usize,
}

impl TocBuilder {
    /// Puts an entry with a clean path in. A file's digest may be told later.
    pub(super) fn put(&mut self, mut entry: Entry) -> Result<Placed> {
        let named = mem::take(&mut entry.path);
        let path = self.resolve_directories(&named, &named)?;
        self.charge(&named, entry_cost(&path, &entry))?;
        if let EntryKind::HardLink { target } = &mut entry.kind {
            *target = self.link_target(&path, target)?;
            if *target == path {
                return Ok(Placed::Nowhere);
            }
        }
        self.imply_directories(&path)?;
        let before = self
            .entries
            .get(&Sorted(path.clone()))
            .map(|entry| &entry.kind);
        match (&mut entry.kind, before) {
            (EntryKind::Whiteout, Some(EntryKind::Directory { .. })) => {
                self.make_opaque(&path);
                return Ok(Placed::Nowhere);
            }
            (EntryKind::Whiteout, Some(_)) => return Ok(Placed::Nowhere),
            (
                EntryKind::Directory { opaque, .. },
                Some(EntryKind::Directory { opaque: was, .. }),
            ) => *opaque |= was,
            (EntryKind::Directory { opaque, .. }, Some(EntryKind::Whiteout)) => *opaque = true,
            (EntryKind::Directory { .. }, Some(_)) => self.detach(&path),
            (_, Some(EntryKind::Directory { .. })) => self.remove_tree(&path),
            (_, Some(_)) => self.detach(&path),
            (_, None) => {}
        }
        let placed = match &entry.kind {
            EntryKind::HardLink { target } => {
                self.links
                    .entry(target.clone())
                    .or_default()
                    .insert(path.clone());
                Placed::Link(path.clone(), target.clone())
            }
            _ => Placed::At(path.clone()),
        };
        self.entries.insert(Sorted(path), entry);
        Ok(placed)
    }

    /// The entry at a path; its own path is empty.
    pub(super) fn get(&self, path: &Path) -> Option<&Entry> {
        self.entries.get(&Sorted(path.to_owned()))
    }

    /// Gives a file the metadata that the entry of another of its names has, as unpacking that name would.
    pub(super) fn set_metadata(&mut self, path: &Path, from: Entry) {
        if let Some(entry) = self.entries.get_mut(&Sorted(path.to_owned()))
            && matches!(entry.kind, EntryKind::File { .. })
        {
            (entry.mode, entry.uid, entry.gid, entry.mtime) =
                (from.mode, from.uid, from.gid, from.mtime);
            entry.xattrs.extend(from.xattrs);
        }
    }

    /// Says what the content of a file turned out to be.
    pub(super) fn set_digest(&mut self, path: &Path, found: Digest) {
        if let Some(entry) = self.entries.get_mut(&Sorted(path.to_owned()))
            && let EntryKind::File { digest, .. } = &mut entry.kind
        {
            *digest = found;
        }
    }

    /// Hides what lower layers have in `directory`, whose path is clean.
    pub(super) fn put_opaque(&mut self, directory: &Path) -> Result<()> {
        let probe = join(directory, OsStr::new("x"));
        let inside = self.resolve_directories(&probe, &probe)?;
        self.charge(directory, 0)?;
        self.imply_directories(&inside)?;
        let directory = inside.parent().unwrap_or(Path::new("")).to_owned();
        // The root has no directory above it that would imply it.
        let root = || Entry::implied_directory("");
        if directory.as_os_str().is_empty() {
            self.entries
                .entry(Sorted(PathBuf::new()))
                .or_insert_with(root);
        }
        self.make_opaque(&directory);
        Ok(())
    }

    /// The finished table.
    pub(super) fn finish(mut self) -> Toc {
        self.name_files_by_their_first_path();
        let entries = self.entries.into_iter().map(|(path, mut entry)| {
            entry.path = path.0;
            entry
        });
        Toc::trusted(entries.collect())
    }

    /// The path with the directories on the way resolved: those that are symbolic links in this layer lead elsewhere.
    fn resolve_directories(&self, named: &Path, path: &Path) -> Result<PathBuf> {
        let refuse = |problem| Err(refuse(named, problem));
        if path.as_os_str().len() > MAX_PATH {
            return refuse(EntryProblem::NameTooLong);
        }
        let is_link = |directory: &Path| {
            let found = self.entries.get(&Sorted(directory.to_owned()));
            found.is_some_and(|found| matches!(found.kind, EntryKind::Symlink { .. }))
        };
        if self.is_in_last_directory(path) {
            return Ok(path.to_owned());
        }
        // Few layers have any; the common case costs one look-up a directory.
        if !ancestors(path).any(is_link) {
            return Ok(path.to_owned());
        }
        let mut done = PathBuf::new();
        let mut todo: Vec<Vec<u8>> = Vec::new();
        push_components(&mut todo, path.as_os_str().as_bytes());
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                continue;
            }
            let next = join(&done, OsStr::from_bytes(&name));
            let found = self
                .entries
                .get(&Sorted(next.clone()))
                .map(|found| &found.kind);
            match found {
                Some(EntryKind::Symlink { target }) if !todo.is_empty() => {
                    links += 1;
                    let length: usize = todo.iter().map(|name| name.len() + 1).sum();
                    if links > MAX_LINKS || length + target.as_os_str().len() > 2 * MAX_PATH {
                        return refuse(EntryProblem::LinkLoop);
                    }
                    if target.is_absolute() {
                        done = PathBuf::new();
                    }
                    push_components(&mut todo, target.as_os_str().as_bytes());
                }
                _ => done = next,
            }
        }
        match done.as_os_str().len() {
            0 => refuse(EntryProblem::NotRelative),
            length if length > MAX_PATH => refuse(EntryProblem::NameTooLong),
            _ => Ok(done),
        }
    }

    /// Puts the directories on the way to `path` in, if they are not there.
    fn imply_directories(&mut self, path: &Path) -> Result<()> {
        if self.is_in_last_directory(path) {
            return Ok(());
        }
        for directory in ancestors(path) {
            match self.entries.get_mut(&Sorted(directory.to_owned())) {
                Some(found) if found.is_directory() => {}
                // Removed and made anew: nothing of the lower layers' directory is left.
                Some(found) if found.kind == EntryKind::Whiteout => {
                    *found = Entry::implied_directory("");
                    self.make_opaque(directory);
                }
                Some(_) => {
                    let problem = EntryProblem::ParentNotDirectory(directory.to_owned());
                    return Err(refuse(path, problem));
                }
                None => {
                    let entry = Entry::implied_directory("");
                    self.charge(path, entry_cost(directory, &entry))?;
                    self.entries.insert(Sorted(directory.to_owned()), entry);
                }
            }
        }
        self.last_directory = path.parent().map(Path::to_owned);
        Ok(())
    }

    fn is_in_last_directory(&self, path: &Path) -> bool {
        self.last_directory.is_some() && self.last_directory.as_deref() == path.parent()
    }

    /// What a hard link leads to: never to another link that is known.
    fn link_target(&self, path: &Path, target: &Path) -> Result<PathBuf> {
        let problem = || refuse(path, EntryProblem::HardLinkTarget(target.to_owned()));
        if target.as_os_str().is_empty() {
            return Err(problem());
        }
        let resolved = self.resolve_directories(path, target)?;
        match self
            .entries
            .get(&Sorted(resolved.clone()))
            .map(|found| &found.kind)
        {
            Some(EntryKind::HardLink { target }) => Ok(target.clone()),
            Some(EntryKind::Directory { .. }) => Err(problem()),
            None if resolved == path => Err(problem()),
            _ => Ok(resolved),
        }
    }

    fn make_opaque(&mut self, path: &Path) {
        if let Some(entry) = self.entries.get_mut(&Sorted(path.to_owned()))
            && let EntryKind::Directory { opaque, .. } = &mut entry.kind
        {
            *opaque = true;
        }
    }

    /// Removes a directory and all beneath it.
    fn remove_tree(&mut self, path: &Path) {
        self.last_directory = None;
        let from = Bound::Included(Sorted(path.to_owned()));
        let range = self.entries.range((from, Bound::Unbounded));
        let beneath = range.take_while(|(found, _)| is_at_or_beneath(&found.0, path));
        let gone: Vec<PathBuf> = beneath.map(|(found, _)| found.0.clone()).collect();
        // Other names outside the tree keep a file alive, so each is detached on its own; last first, so that within
        // the tree a file goes to the name that goes next.
        for path in gone.iter().rev() {
            self.detach(path);
        }
    }

    /// Removes an entry; its other names, if it has any, keep the file.
    fn detach(&mut self, path: &Path) {
        let Some(removed) = self.entries.remove(&Sorted(path.to_owned())) else {
            return;
        };
        if matches!(
            removed.kind,
            EntryKind::Directory { .. } | EntryKind::Whiteout
        ) {
            // Links of this name, if there are any, lead to a lower layer.
            return;
        }
        if let EntryKind::HardLink { target } = &removed.kind
            && let Some(names) = self.links.get_mut(target)
        {
            names.remove(path);
        } else if let Some(names) = self.links.remove(path) {
            self.hand_over(removed, names);
        }
    }

    /// Makes the first of `names` the file that `removed` was, and the others names of it.
    fn hand_over(&mut self, removed: Entry, mut names: BTreeSet<PathBuf>) {
        let Some(first) = names.pop_first() else {
            return;
        };
        for name in &names {
            if let Some(entry) = self.entries.get_mut(&Sorted(name.clone())) {
                let target = first.clone();
                entry.kind = EntryKind::HardLink { target };
            }
        }
        self.entries.insert(Sorted(first.clone()), removed);
        self.links.insert(first, names);
    }

    /// Moves each file to the first of its names, and gives all names the same metadata.
    fn name_files_by_their_first_path(&mut self) {
        for (target, names) in mem::take(&mut self.links) {
            let Some(file) = self.entries.get(&Sorted(target.clone())).cloned() else {
                // The file is in a lower layer.
                continue;
            };
            if matches!(file.kind, EntryKind::Directory { .. } | EntryKind::Whiteout) {
                continue;
            }
            let mut all: Vec<Sorted> = names.into_iter().map(Sorted).collect();
            all.push(Sorted(target));
            all.sort();
            let Some(first) = all.first().cloned() else {
                continue;
            };
            for name in all {
                let mut entry = file.clone();
                if name != first {
                    let target = first.0.clone();
                    entry.kind = EntryKind::HardLink { target };
                }
                self.entries.insert(name, entry);
            }
        }
    }

    /// Counts memory, and refuses a layer that takes too much.
    fn charge(&mut self, path: &Path, cost: usize) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost > MAX_COST {
            true => Err(refuse(path, EntryProblem::TooManyEntries)),
            false => Ok(()),
        }
    }
}

/// Puts the components of a path on a stack, the first on top; `..` stays.
fn push_components(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let names = path.split(|byte| *byte == b'/').rev();
    let names = names.filter(|name| !matches!(*name, b"" | b"."));
    todo.extend(names.map(<[u8]>::to_vec));
}

/// About how much memory an entry takes.
fn entry_cost(path: &Path, entry: &Entry) -> usize {
    let link = match &entry.kind {
        EntryKind::Symlink { target } => target.as_os_str().len(),
        // Three times: here, and both names in the index of links.
        EntryKind::HardLink { target } => 2 * target.as_os_str().len() + path.as_os_str().len(),
        _ => 0,
    };
    let xattrs = entry
        .xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 64);
    ENTRY_COST + path.as_os_str().len() + link + xattrs.sum::<usize>()
}

fn refuse(path: &Path, problem: EntryProblem) -> Error {
    let path = path.to_owned();
    Error::RefusedEntry { path, problem }
}
