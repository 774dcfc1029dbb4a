//! A layer in the making by copies: paths over a base, with the rules of what may replace what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::copy::CopyError;
use super::tree::{Content, Identity, Node};
use crate::layer::{Entry, EntryKind, Stack};

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
}

/// One path of a draft.
#[derive(Clone, Debug)]
pub(super) struct Drafted {
    pub(super) entry: Entry,
    pub(super) content: Option<Content>,
    pub(super) identity: Option<Identity>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a Stack, mtime: i64, owner: (u32, u32), directory_mode: u32) -> Self {
        Self {
            base,
            entries: BTreeMap::new(),
            mtime,
            owner,
            directory_mode,
        }
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

    /// Makes a directory if it is missing; `mtime` of its own where given.
    pub(super) fn make_directory(
        &mut self,
        path: &Path,
        mtime: Option<i64>,
    ) -> Result<(), CopyError> {
        match self.at(path) {
            Some(entry) if entry.is_directory() => Ok(()),
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
                identity,
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
                identity,
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
