//! A directory of this machine as a context: looking paths up, matching wildcards, opening content.
//!
//! The order and filtering of whole trees is in `walk`, hashing in `tree_digest`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{OFlags, fgetxattr, flistxattr, readlinkat};

use super::beneath::open_beneath;
use super::glob::Glob;
use super::ignore::IgnoreFile;
use super::pattern_list::{PatternList, Trail};
use super::stat_index::RootIdentity;
use super::walk::Walk;
use super::{ContextError, Entry, EntryKind, LookupError, lexical};
use crate::fsio::{self, Context as _};

/// Links that a lookup follows before it gives up; the kernel's own limit.
const MOST_LINKS: usize = 40;

/// Extended attributes by name.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A directory offered as a context, seen through its ignore file.
#[derive(Debug)]
pub struct LocalContext {
    root: PathBuf,
    directory: OwnedFd,
    identity: RootIdentity,
    ignore: IgnoreFile,
}

/// A path that a wildcard matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// As the pattern names it, relative to the root; a copied file takes its name from here.
    pub name: PathBuf,
    /// What is there, links followed.
    pub entry: Entry,
}

/// The content of a file of a context.
#[derive(Debug)]
pub struct Content(Option<File>);

impl Content {
    /// The open file; `None` for a socket, which counts as an empty file.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        self.0.as_ref()
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |file| file.read(buffer))
    }
}

impl LocalContext {
    /// Opens a directory as a context.
    ///
    /// # Errors
    /// A root that is not there, is no directory, or cannot be read.
    pub fn open(root: impl AsRef<Path>, ignore: IgnoreFile) -> Result<Self, ContextError> {
        let given = root.as_ref();
        let unreadable = |source: fsio::Error| {
            let path = given.to_owned();
            match source.source.kind() {
                io::ErrorKind::NotFound => ContextError::RootNotFound { path },
                io::ErrorKind::NotADirectory => ContextError::RootNotDirectory { path },
                _ => ContextError::RootUnreadable { source },
            }
        };
        let root = fsio::canonicalize(given).map_err(unreadable)?;
        let directory = fsio::open(&root).map_err(unreadable)?;
        let metadata = directory
            .metadata()
            .context("look at", given)
            .map_err(unreadable)?;
        if !metadata.is_dir() {
            return Err(ContextError::RootNotDirectory {
                path: given.to_owned(),
            });
        }
        Ok(Self {
            identity: RootIdentity::new(&root, metadata.dev(), metadata.ino()),
            root,
            directory: directory.into(),
            ignore,
        })
    }

    /// The root directory, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What tells this context from every other on the machine: the owner of a stat index.
    #[must_use]
    pub fn identity(&self) -> RootIdentity {
        self.identity
    }

    /// The rules that decide what is in.
    #[must_use]
    pub fn ignore(&self) -> &IgnoreFile {
        &self.ignore
    }

    /// Looks a COPY source up. Links are followed, the last component's too, but never out of the root: an absolute
    /// link starts at the root, and `..` stays in it.
    ///
    /// # Errors
    /// A path that is not there or is ignored, by itself or where links lead.
    pub fn lookup(&self, path: &Path) -> Result<Entry, LookupError> {
        let asked = lexical::clean_source(path);
        let mut steps: Vec<Step> = steps(&asked).collect();
        let mut at = PathBuf::new();
        let mut trails = vec![self.ignore.patterns().root()];
        let mut links = 0;
        while let Some(step) = steps.pop() {
            let Step::Down(name) = step else {
                if step == Step::Top {
                    at.clear();
                    trails.truncate(1);
                } else if at.pop() {
                    trails.pop();
                }
                continue;
            };
            let parent = trails.last().ok_or_else(|| not_found(&asked, &at))?;
            let trail = self.ignore.patterns().enter(parent, &name);
            let next = at.join(&name);
            let (metadata, link) = self.look(&next, &asked)?;
            if !metadata.is_symlink() {
                at = next;
                trails.push(trail);
                continue;
            }
            // A link that is ignored is not in the context, so it leads nowhere.
            self.refuse_ignored(&trail, &asked, &next)?;
            links += 1;
            if links > MOST_LINKS {
                return Err(LookupError::TooManyLinks { path: asked });
            }
            let target = readlinkat(&link, "", Vec::new())
                .context("read the link", &self.root.join(&next))?;
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            steps.extend(self::steps(target));
        }
        let entry = self.entry_without_links(&at, &asked)?;
        let trail = trails.last().ok_or_else(|| not_found(&asked, &at))?;
        if !(entry.is_directory() && self.shows_something_below(&entry, trail)) {
            self.refuse_ignored(trail, &asked, &at)?;
        }
        Ok(entry)
    }

    /// All that a pattern matches, sorted by name; what is ignored does not match. Links are followed in the leading
    /// components without wildcards and where a match itself is a link. A directory that matches is not searched
    /// for more.
    ///
    /// # Errors
    /// A matching link that leads nowhere, or a directory that cannot be read.
    pub fn glob(&self, glob: &Glob) -> Result<Vec<Match>, ContextError> {
        let base = match self.lookup(glob.prefix()) {
            Ok(base) if base.is_directory() => base,
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.is_absent() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut matches = Vec::new();
        let mut levels = vec![glob.start()];
        let no_exclude = PatternList::default();
        let mut walk = self.walk(&base, &no_exclude);
        while let Some(entry) = walk.next() {
            let entry = entry?;
            let below = entry.path_below(&base.path);
            levels.truncate(below.components().count());
            let (Some(name), Some(states)) = (below.file_name(), levels.last()) else {
                continue;
            };
            let matched = glob.matches_name(states, name);
            if entry.is_directory() {
                let states = glob.enter(states, name);
                if matched || states.is_empty() {
                    walk.skip_below(&entry.path);
                }
                levels.push(states);
            }
            if matched {
                matches.push(Match {
                    name: glob.prefix().join(below),
                    entry: self.follow(entry)?,
                });
            }
        }
        Ok(matches)
    }

    /// Everything below a directory, without what is ignored or excluded by `exclude`, whose patterns are relative
    /// to that directory. Sorted by components, a directory before what is in it. The directory itself is not part of
    /// it; anything but a directory has nothing below it.
    #[must_use]
    pub fn walk<'a>(&'a self, directory: &Entry, exclude: &'a PatternList) -> Walk<'a> {
        Walk::new(self, directory, exclude)
    }

    /// Opens the content of a file. Links are not followed, and nothing outside the root can be reached.
    ///
    /// # Errors
    /// A file that cannot be read, is gone, or has become something else; the error names it.
    pub fn open_content(&self, entry: &Entry) -> Result<Content, ContextError> {
        let full = self.root.join(&entry.path);
        // Not blocking, in case it has become a pipe since.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        match open_beneath(self.directory.as_fd(), &entry.path, flags) {
            Ok(file) => {
                let file = File::from(file);
                if !file.metadata().context("look at", &full)?.is_file() {
                    let changed = io::Error::other("it is no longer a regular file");
                    return Err(fsio::Error::new("open", full, changed).into());
                }
                Ok(Content(Some(file)))
            }
            // What opening a socket answers.
            Err(rustix::io::Errno::NXIO) if entry.size() == 0 => Ok(Content(None)),
            Err(source) => Err(fsio::Error::new("open", full, source).into()),
        }
    }

    /// The extended attributes that a copy keeps: file capabilities and `user.*`. Best effort: a file system without
    /// them, or a file that cannot be read, has none.
    #[must_use]
    pub fn xattrs(&self, entry: &Entry) -> Xattrs {
        let has = matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        if !has {
            return Xattrs::new();
        }
        open_beneath(self.directory.as_fd(), &entry.path, flags)
            .map(|file| xattrs_of(&file))
            .unwrap_or_default()
    }

    /// Follows a link to its end; anything else is its own end.
    fn follow(&self, entry: Entry) -> Result<Entry, LookupError> {
        if matches!(entry.kind, EntryKind::Symlink { .. }) {
            self.lookup(&entry.path)
        } else {
            Ok(entry)
        }
    }

    /// What a path without links on the way is, and a descriptor of it.
    fn look(&self, path: &Path, asked: &Path) -> Result<(Metadata, OwnedFd), LookupError> {
        let full = self.root.join(path);
        let found = open_beneath(self.directory.as_fd(), path, OFlags::PATH)
            .context("look at", &full)
            .map_err(|error| match error.is_not_found() {
                true => not_found(asked, path),
                false => error.into(),
            })?;
        let file = File::from(found);
        let metadata = file.metadata().context("look at", &full)?;
        Ok((metadata, file.into()))
    }

    fn entry_without_links(&self, path: &Path, asked: &Path) -> Result<Entry, LookupError> {
        let (metadata, _) = self.look(path, asked)?;
        Entry::new(path.to_owned(), &metadata, || Ok(PathBuf::new()))
    }

    /// Whether a directory is in the context: it is not ignored, or something below it is not.
    fn shows_something_below(&self, directory: &Entry, trail: &Trail) -> bool {
        if !trail.verdict().excluded {
            return true;
        }
        let no_exclude = PatternList::default();
        self.ignore.patterns().may_reinclude_below(trail)
            && self.walk(directory, &no_exclude).any(|entry| entry.is_ok())
    }

    fn refuse_ignored(&self, trail: &Trail, asked: &Path, end: &Path) -> Result<(), LookupError> {
        let verdict = trail.verdict();
        match verdict.rule.and_then(|rule| self.ignore.rule(rule)) {
            Some(rule) if verdict.excluded => Err(LookupError::Ignored {
                path: asked.to_owned(),
                ignored: end.to_owned(),
                rule,
            }),
            _ => Ok(()),
        }
    }
}

/// One step of a lookup.
#[derive(PartialEq, Eq)]
enum Step {
    /// Back to the root.
    Top,
    /// To the parent directory.
    Up,
    /// To a name.
    Down(OsString),
}

/// The steps of a path, the last one first, so that the next to take can be popped.
fn steps(path: &Path) -> impl Iterator<Item = Step> + '_ {
    path.components().rev().filter_map(|part| match part {
        Component::RootDir => Some(Step::Top),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    })
}

fn not_found(asked: &Path, missing: &Path) -> LookupError {
    LookupError::NotFound {
        path: asked.to_owned(),
        missing: missing.to_owned(),
    }
}

/// The attributes of an open file that a copy keeps.
pub(super) fn xattrs_of(file: impl AsFd) -> Xattrs {
    let kept = |name: &[u8]| name == b"security.capability" || name.starts_with(b"user.");
    let names = sized(|buffer| flistxattr(&file, buffer)).unwrap_or_default();
    let value = |name: &[u8]| {
        let value = sized(|buffer| fgetxattr(&file, name, buffer))?;
        Some((name.to_vec(), value))
    };
    let names = names.split(|&byte| byte == 0).filter(|name| kept(name));
    names.filter_map(value).collect()
}

/// Asks for the size of an answer first, then for the answer: nearly always there is none.
fn sized(ask: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Option<Vec<u8>> {
    let size = ask(&mut []).ok()?;
    let mut answer = vec![0; size];
    if size > 0 {
        let length = ask(&mut answer).ok()?;
        answer.truncate(length);
    }
    Some(answer)
}
