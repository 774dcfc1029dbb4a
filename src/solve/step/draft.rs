//! A layer in the making by copies: paths over a base, with the rules of what may replace what.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::copy::CopyError;
use super::tree::{Content, Identity, Node};
use crate::layer::{Entry, EntryKind, Stack};

/// Links that one path may lead through.
const MOST_LINKS: usize = 40;

/// Paths to be written on top of a base.
pub(super) struct Draft<'a> {
    /// What is below; for `--link` nothing.
    base: &'a Stack,
    entries: BTreeMap<PathBuf, Drafted>,
    /// Time of directories that are made on the way.
    mtime: i64,
    /// Owner of directories that are made on the way.
    owner: (u32, u32),
    /// Mode of directories that are made on the way.
    directory_mode: u32,
    /// Which source of the copy is being put: only names within one source are names of one file.
    source: usize,
}

/// One path of a draft.
#[derive(Clone, Debug)]
pub(super) struct Drafted {
    pub(super) entry: Entry,
    pub(super) content: Option<Content>,
    /// The source and its file, for files with several names.
    pub(super) identity: Option<(usize, Identity)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a Stack, mtime: i64, owner: (u32, u32), directory_mode: u32) -> Self {
        Self {
            base,
            entries: BTreeMap::new(),
            mtime,
            owner,
            directory_mode,
            source: 0,
        }
    }

    /// Sets the mode of directories that are made on the way, and says which it was.
    pub(super) fn set_directory_mode(&mut self, mode: u32) -> u32 {
        std::mem::replace(&mut self.directory_mode, mode)
    }

    /// What is put from here on comes from another source.
    pub(super) fn next_source(&mut self) {
        self.source += 1;
    }

    /// The entry that will be at a path.
    pub(super) fn at(&self, path: &Path) -> Option<&Entry> {
        match self.entries.get(path) {
            Some(drafted) => Some(&drafted.entry),
            None => self.base.lookup(path).map(|found| found.entry),
        }
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.at(path).is_some_and(Entry::is_directory)
    }

    /// Makes the directories that are missing on the way to `path`.
    pub(super) fn make_parents(&mut self, path: &Path) -> Result<(), CopyError> {
        let mut ancestors: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        ancestors.reverse();
        for ancestor in ancestors
            .into_iter()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
        {
            self.make_directory(&ancestor, None)?;
        }
        Ok(())
    }

    /// Makes a directory if it is missing; `mtime` of its own where given, also if this draft has made it before.
    pub(super) fn make_directory(
        &mut self,
        path: &Path,
        mtime: Option<i64>,
    ) -> Result<(), CopyError> {
        match self.at(path) {
            Some(entry) if entry.is_directory() => {
                if let (Some(mtime), Some(made), None) =
                    (mtime, self.entries.get_mut(path), self.base.lookup(path))
                {
                    made.entry.mtime = mtime;
                }
                Ok(())
            }
            Some(_) => Err(CopyError::NotADirectory {
                path: path.to_owned(),
            }),
            None => {
                let mut entry = Entry::new(path, EntryKind::directory(), self.directory_mode);
                (entry.uid, entry.gid) = self.owner;
                entry.mtime = mtime.unwrap_or(self.mtime);
                self.entries.insert(
                    path.to_owned(),
                    Drafted {
                        entry,
                        content: None,
                        identity: None,
                    },
                );
                Ok(())
            }
        }
    }

    /// Where `path` is below `root`, with the links on the way followed as if `root` was the root of everything.
    /// What is not there yet stays as named, but a link has to lead to something.
    pub(super) fn follow(&self, root: &Path, path: &Path) -> Result<PathBuf, CopyError> {
        let mut links = 0;
        let mut named = path.components();
        let inside = named.try_fold(PathBuf::new(), |at, part| {
            self.enter(root, at, part, false, &mut links)
        })?;
        Ok(root.join(inside))
    }

    fn enter(
        &self,
        root: &Path,
        mut at: PathBuf,
        part: Component<'_>,
        through_link: bool,
        links: &mut usize,
    ) -> Result<PathBuf, CopyError> {
        let name = match part {
            Component::Normal(name) => name,
            Component::RootDir => return Ok(PathBuf::new()),
            Component::ParentDir => {
                at.pop();
                return Ok(at);
            }
            Component::CurDir | Component::Prefix(_) => return Ok(at),
        };
        let next = at.join(name);
        let full = root.join(&next);
        match self.at(&full).map(|entry| &entry.kind) {
            Some(EntryKind::Symlink { target }) => {
                *links += 1;
                if *links > MOST_LINKS {
                    return Err(CopyError::NotADirectory { path: full });
                }
                let mut parts = target.components();
                parts.try_fold(at, |at, part| self.enter(root, at, part, true, links))
            }
            None if through_link => Err(CopyError::LeadsNowhere { path: full }),
            _ => Ok(next),
        }
    }

    /// Puts a node at a path whose parents are there.
    pub(super) fn put(&mut self, path: PathBuf, node: Node) -> Result<(), CopyError> {
        let directory = node.entry.is_directory();
        match self.at(&path) {
            Some(there) if there.is_directory() && !directory => {
                return Err(CopyError::ReplacesDirectory { path });
            }
            Some(there) if !there.is_directory() && directory => {
                return Err(CopyError::NotADirectory { path });
            }
            _ => {}
        }
        let Node {
            mut entry,
            content,
            identity,
        } = node;
        entry.path.clone_from(&path);
        self.entries.insert(
            path,
            Drafted {
                entry,
                content,
                identity: identity.map(|file| (self.source, file)),
            },
        );
        Ok(())
    }

    /// Puts a node at a path, whatever is there.
    pub(super) fn replace(&mut self, path: PathBuf, node: Node) {
        let Node {
            mut entry,
            content,
            identity,
        } = node;
        if !entry.is_directory() {
            // Nothing of a directory that was drafted here may stay below something else.
            self.entries
                .retain(|other, _| other == &path || !other.starts_with(&path));
        }
        entry.path.clone_from(&path);
        self.entries.insert(
            path,
            Drafted {
                entry,
                content,
                identity: identity.map(|file| (self.source, file)),
            },
        );
    }

    /// All paths in order, with the directories of the base that they are in, so that a layer says what it changes:
    /// such a directory keeps all its metadata.
    pub(super) fn into_entries(mut self) -> Vec<Drafted> {
        let paths: Vec<PathBuf> = self.entries.keys().cloned().collect();
        for path in paths {
            for ancestor in path
                .ancestors()
                .skip(1)
                .filter(|ancestor| !ancestor.as_os_str().is_empty())
            {
                if self.entries.contains_key(ancestor) {
                    break;
                }
                if let Some(found) = self.base.lookup(ancestor) {
                    let mut entry = found.entry.clone();
                    // What it hid below is hidden already; here it only carries metadata.
                    entry.kind = EntryKind::directory();
                    let drafted = Drafted {
                        entry,
                        content: None,
                        identity: None,
                    };
                    self.entries.insert(ancestor.to_owned(), drafted);
                }
            }
        }
        self.entries.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::Toc;

    #[test]
    fn links_are_followed_inside_a_root() {
        let link = |path: &str, target: &str| {
            let target = target.into();
            Entry::new(path, EntryKind::Symlink { target }, 0o777)
        };
        let directory = |path: &str| Entry::new(path, EntryKind::directory(), 0o755);
        let entries = vec![
            directory("d"),
            link("d/absolute", "/in"),
            link("d/dangling", "/nowhere"),
            directory("d/in"),
            link("d/loop", "loop"),
            link("d/up", "../../../in"),
            directory("in"),
        ];
        let base = Stack::new(vec![Arc::new(Toc::from_sorted(entries).unwrap())]);
        let draft = Draft::new(&base, 0, (0, 0), 0o755);
        for (path, expected) in [
            ("new/x", Some("d/new/x")),
            ("absolute/x", Some("d/in/x")),
            ("up/x", Some("d/in/x")),
            ("in/../up", Some("d/in")),
            ("dangling/x", None),
            ("loop/x", None),
        ] {
            let found = draft.follow(Path::new("d"), Path::new(path)).ok();
            assert_eq!(found, expected.map(PathBuf::from), "{path}");
        }
    }
}
