//! A stack of tables of contents as a file system: no mount, no root, no unpacking.
//!
//! Nothing is merged ahead of time; a look-up is a few binary searches a layer. From the top down, the first layer that
//! has a path decides; a removal, an opaque directory, or something else than a directory on the way hides all layers
//! below.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::entry::{Entry, EntryKind, ancestors, join};
use super::toc::{Toc, relative};
use super::toc_builder::MAX_LINKS;

/// What is at the root if no layer says anything about it.
static ROOT: LazyLock<Entry> = LazyLock::new(|| Entry::new("", EntryKind::directory(), 0o755));

/// Layers, one upon the other.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    layers: Vec<Arc<Toc>>,
}

/// An entry of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The entry; its path is the one asked for. An implied directory only if no layer says more about it.
    pub entry: &'a Entry,
    /// The layer it is from, counted from the bottom.
    pub layer: usize,
}

/// Where a path with links in it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// Without links in it (but for the last component, if that was not to be followed), relative to the root.
    pub path: PathBuf,
    /// What is there; `None` if nothing is.
    pub found: Option<Found<'a>>,
}

/// A path that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A loop.
    #[error("too many symbolic links in `{}`", .0.display())]
    TooManyLinks(PathBuf),
    /// Something else than a directory on the way.
    #[error("`{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
}

/// The parts of tables that make up one directory, the top layer's first: layer, start, end.
type Parts = Vec<(usize, usize, usize)>;

/// How a directory looks once layers are merged: what is in it, and the parts of each child that is a directory.
struct Child<'a> {
    found: Option<Found<'a>>,
    parts: Parts,
    /// Lower layers are hidden.
    closed: bool,
}

/// How a layer answers for a path.
enum Answer<'a> {
    /// The entry, and whether it or a directory above it hides the layers below.
    Entry(&'a Entry, bool),
    /// Not there; whether the layers below are hidden.
    Nothing(bool),
}

impl Stack {
    /// A stack of these layers, the bottom one first.
    #[must_use]
    pub const fn new(layers: Vec<Arc<Toc>>) -> Self {
        Self { layers }
    }

    /// Puts a layer on top.
    pub fn push(&mut self, layer: Arc<Toc>) {
        self.layers.push(layer);
    }

    /// The layers, the bottom one first.
    #[must_use]
    pub fn layers(&self) -> &[Arc<Toc>] {
        &self.layers
    }

    /// What is at a path; links are not followed, not even on the way, and `..` is not understood: see
    /// [`Stack::resolve`].
    #[must_use]
    pub fn lookup(&self, path: impl AsRef<Path>) -> Option<Found<'_>> {
        self.lookup_in(self.layers.len(), relative(path.as_ref()))
    }

    /// The entry that holds the content: hard links lead to their file. Nothing, if that is missing.
    #[must_use]
    pub fn content_of<'a>(&'a self, found: Found<'a>) -> Option<Found<'a>> {
        let mut found = found;
        for _ in 0..MAX_LINKS {
            match &found.entry.kind {
                // What is above the link's own layer has no part in it.
                EntryKind::HardLink { target } => {
                    found = self.lookup_in(found.layer + 1, target)?
                }
                _ => return Some(found),
            }
        }
        None
    }

    /// Follows a path with symbolic links and `..` in it; neither leads out of the root. Components that are not there
    /// are taken as they are, so that a path to be made can be resolved.
    ///
    /// # Errors
    /// A loop of links, or something else than a directory on the way.
    pub fn resolve(
        &self,
        path: impl AsRef<Path>,
        follow_last: bool,
    ) -> Result<Resolved<'_>, ResolveError> {
        let path = path.as_ref();
        let mut done = PathBuf::new();
        let mut found = self.lookup(&done);
        let mut todo: Vec<Vec<u8>> = Vec::new();
        push_components(&mut todo, path);
        // `a/` and `a/.` mean what is at the end of `a`.
        let bytes = path.as_os_str().as_bytes();
        let follow_last = follow_last || bytes.ends_with(b"/") || bytes.ends_with(b"/.");
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if found.is_some_and(|found| !found.entry.is_directory()) {
                return Err(ResolveError::NotADirectory(done));
            }
            if name == b".." {
                done.pop();
                found = self.lookup(&done);
                continue;
            }
            let next = join(&done, OsStr::from_bytes(&name));
            let at_next = self.lookup(&next);
            let link = match at_next.map(|found| &found.entry.kind) {
                Some(EntryKind::Symlink { target }) if follow_last || !todo.is_empty() => target,
                _ => {
                    (done, found) = (next, at_next);
                    continue;
                }
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(ResolveError::TooManyLinks(path.to_owned()));
            }
            if link.is_absolute() {
                done = PathBuf::new();
                found = self.lookup(&done);
            }
            push_components(&mut todo, link);
        }
        Ok(Resolved { path: done, found })
    }

    /// What is in a directory, sorted by name; nothing if there is no directory at this path. Links are not followed.
    #[must_use]
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Vec<Found<'_>> {
        let parts = self.parts_of(relative(path.as_ref()));
        let children = self.children(&parts);
        children
            .into_iter()
            .filter_map(|child| child.found)
            .collect()
    }

    /// All that is beneath a path, in the order of [`super::compare_paths`], without the path itself. Links are not
    /// followed.
    pub fn walk(&self, path: impl AsRef<Path>) -> impl Iterator<Item = Found<'_>> {
        let parts = self.parts_of(relative(path.as_ref()));
        let mut open = vec![self.children(&parts).into_iter()];
        std::iter::from_fn(move || {
            loop {
                let Some(child) = open.last_mut()?.next() else {
                    open.pop();
                    continue;
                };
                let Some(found) = child.found else { continue };
                if found.entry.is_directory() {
                    open.push(self.children(&child.parts).into_iter());
                }
                return Some(found);
            }
        })
    }

    /// Looks a path up in the lowest `count` layers.
    fn lookup_in(&self, count: usize, path: &Path) -> Option<Found<'_>> {
        let mut implied = None;
        for (layer, toc) in self.layers.iter().enumerate().take(count).rev() {
            let closed = match answer(toc, path) {
                Answer::Nothing(closed) => closed,
                Answer::Entry(entry, _) if entry.kind == EntryKind::Whiteout => true,
                Answer::Entry(entry, _) if !entry.is_directory() => {
                    // Hidden by a directory further up, which then says nothing about itself.
                    return implied.or(Some(Found { entry, layer }));
                }
                Answer::Entry(entry, closed) => {
                    let found = Found { entry, layer };
                    if !entry.is_implied() {
                        return Some(found);
                    }
                    implied = implied.or(Some(found));
                    closed
                }
            };
            if closed {
                return implied;
            }
        }
        match path.as_os_str().is_empty() {
            true => implied.or(Some(Found {
                entry: &ROOT,
                layer: 0,
            })),
            false => implied,
        }
    }

    /// The parts of tables that make up what is in a directory.
    fn parts_of(&self, path: &Path) -> Parts {
        let mut parts = Vec::new();
        for (layer, toc) in self.layers.iter().enumerate().rev() {
            let closed = match answer(toc, path) {
                Answer::Entry(entry, closed) if entry.is_directory() => {
                    let (start, end) = toc.range_under(path);
                    parts.push((layer, start + 1, end));
                    closed
                }
                Answer::Entry(..) => true,
                // A table without the root still has what is in it.
                Answer::Nothing(closed) if path.as_os_str().is_empty() => {
                    parts.push((layer, 0, toc.len()));
                    closed
                }
                Answer::Nothing(closed) => closed,
            };
            if closed {
                break;
            }
        }
        parts
    }

    /// Merges what is in a directory.
    fn children(&self, parts: &Parts) -> Vec<Child<'_>> {
        let mut merged: BTreeMap<&OsStr, Child<'_>> = BTreeMap::new();
        for (layer, start, end) in parts {
            let (layer, start, end) = (*layer, *start, *end);
            let Some(toc) = self.layers.get(layer) else {
                continue;
            };
            for ((at, end), entry) in toc.children_in(start, end) {
                let child = merged.entry(entry.name()).or_insert_with(|| Child {
                    found: None,
                    parts: Vec::new(),
                    closed: false,
                });
                if child.closed {
                    continue;
                }
                let found = Found { entry, layer };
                if entry.is_directory() {
                    child.parts.push((layer, at + 1, end));
                    child.closed = entry.is_opaque();
                    if child
                        .found
                        .is_none_or(|above| above.entry.is_implied() && !entry.is_implied())
                    {
                        child.found = Some(found);
                    }
                } else {
                    child.closed = true;
                    if child.found.is_none() && entry.kind != EntryKind::Whiteout {
                        child.found = Some(found);
                    }
                }
            }
        }
        merged.into_values().collect()
    }
}

/// How one layer answers for a path.
fn answer<'a>(toc: &'a Toc, path: &Path) -> Answer<'a> {
    let root_closes = toc
        .entries()
        .first()
        .is_some_and(|first| first.path.as_os_str().is_empty() && first.is_opaque());
    let mut closed = root_closes;
    for directory in ancestors(path) {
        match toc.get(directory) {
            // Whatever is beneath a directory has it in the table, so there is nothing.
            None => return Answer::Nothing(closed),
            Some(entry) if entry.is_directory() => closed |= entry.is_opaque(),
            Some(_) => return Answer::Nothing(true),
        }
    }
    match toc.get(path) {
        Some(entry) => Answer::Entry(entry, closed || entry.is_opaque()),
        None => Answer::Nothing(closed),
    }
}

/// Puts the components of a path on a stack, the first on top.
fn push_components(todo: &mut Vec<Vec<u8>>, path: &Path) {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
    todo.extend(names);
}
