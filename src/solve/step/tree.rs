//! File trees to copy from: a context on disk or a state of the graph, seen the same way.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::environment::ContextTree;
use super::super::error::{LayerError, StepError};
use super::super::state::LayerHandle;
use super::copy::CopyError;
use super::{Inputs, Worker};
use crate::context::{self, Glob, PatternList, Reach, clean_source, has_wildcard};
use crate::layer::{Entry, EntryKind, Found, Stack};
use crate::oci::Digest;
use crate::plan::{CopySource, CopyStep, TreeSource};

/// A tree to copy from.
pub(super) enum Tree<'a> {
    /// A folder on the local disk, filtered by its ignore file.
    Context(&'a ContextTree),
    /// A state of the graph.
    State {
        stack: Stack,
        layers: Vec<Arc<LayerHandle>>,
    },
}

/// One path of a tree, ready to be copied.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is; the path is the one in its tree.
    pub(super) entry: Entry,
    /// For a file: where its content is.
    pub(super) content: Option<Content>,
    /// For a file with several names: what tells that two names are one file.
    pub(super) identity: Option<Identity>,
}

/// Where the content of a file is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// In a context.
    Context(context::Entry),
    /// In a layer of a state.
    Layer(Arc<LayerHandle>, Entry),
    /// Here.
    Inline(Arc<[u8]>),
    /// In an archive that was unpacked to a tar.
    Archive(Arc<crate::layer::ContentSource>, Entry),
}

/// What tells that two names are one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    /// Device and inode.
    Inode(u64, u64),
    /// Layer and path of the first name.
    Layer(Digest, PathBuf),
}

/// A source of a copy as found in its tree.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// What was found, links followed.
    pub(super) node: Node,
    /// Its name at the destination; empty for a directory whose contents are taken.
    pub(super) name: PathBuf,
    /// How much of it.
    pub(super) reach: Reach,
}

/// The tree that a plan's source names.
pub(super) fn open<'a>(
    worker: &'a Worker<'_>,
    source: &TreeSource,
    inputs: &Inputs,
) -> Result<Tree<'a>, StepError> {
    let environment = worker.environment;
    match source {
        TreeSource::Context => environment
            .context
            .as_ref()
            .map(Tree::Context)
            .ok_or_else(|| CopyError::NoContext.into()),
        TreeSource::NamedContext(name) => {
            let tree = environment.named_contexts.get(name).map(Tree::Context);
            tree.ok_or_else(|| CopyError::NoContext.into())
        }
        TreeSource::State(reference) => {
            let state = inputs.state(*reference);
            Ok(Tree::State {
                stack: worker.layers.stack(&state)?,
                layers: state.layers(),
            })
        }
    }
}

/// `--exclude` as patterns.
pub(super) fn exclude_patterns(copy: &CopyStep) -> Result<PatternList, StepError> {
    PatternList::new(&copy.exclude).map_err(|error| CopyError::Exclude(error.to_string()).into())
}

/// What ADD takes from elsewhere: one file, or all of a tree.
pub(super) fn select_remote(tree: &Tree<'_>, file: Option<&str>) -> Result<Selected, StepError> {
    let path = PathBuf::from(file.unwrap_or_default());
    Ok(Selected {
        node: tree.find(&path)?,
        reach: if file.is_some() {
            Reach::Whole
        } else {
            Reach::Contents
        },
        name: path,
    })
}

impl Tree<'_> {
    /// What the path sources of a copy name, in order. A wildcard without a match names nothing.
    /// What a wildcard found is left out if its name is excluded; what is named outright is wanted.
    pub(super) fn select(
        &self,
        copy: &CopyStep,
        exclude: &PatternList,
    ) -> Result<Vec<Selected>, StepError> {
        let mut selected = Vec::new();
        for source in &copy.sources {
            if let CopySource::Path(path) = source {
                selected.extend(self.select_path(copy, path, exclude)?);
            }
        }
        Ok(selected)
    }

    /// What one path source of a copy names.
    pub(super) fn select_path(
        &self,
        copy: &CopyStep,
        path: &str,
        exclude: &PatternList,
    ) -> Result<Vec<Selected>, StepError> {
        let mut selected = Vec::new();
        if copy.parents {
            self.select_with_parents(path, exclude, &mut selected)?;
            return Ok(selected);
        }
        for (name, node) in self.named(path, false)? {
            let directory = node.entry.is_directory();
            let base = if directory { None } else { name.file_name() };
            let name = base.map(PathBuf::from).unwrap_or_default();
            if has_wildcard(Path::new(path)) && !directory && exclude.judge(&name).excluded {
                continue;
            }
            let reach = if directory {
                Reach::Contents
            } else {
                Reach::Whole
            };
            selected.push(Selected { node, name, reach });
        }
        Ok(selected)
    }

    /// The nodes of one source text with the names by which it found them.
    fn named(&self, path: &str, double_star: bool) -> Result<Vec<(PathBuf, Node)>, StepError> {
        let cleaned = clean_source(Path::new(path));
        if has_wildcard(&cleaned) {
            let bad = |error: context::PatternError| CopyError::Pattern {
                pattern: path.to_owned(),
                why: error.to_string(),
            };
            let glob = if double_star {
                Glob::with_double_star(&cleaned)
            } else {
                Glob::new(&cleaned)
            }
            .map_err(bad)?;
            return self.glob(&glob);
        }
        let node = self.find(&cleaned)?;
        Ok(vec![(cleaned, node)])
    }

    /// The time of the directory before the pivot of the first source: the destination, if it is new, stands for it.
    pub(super) fn pivot_mtime(&self, copy: &CopyStep) -> Option<i64> {
        let Some(CopySource::Path(path)) = copy.sources.first() else {
            return None;
        };
        let (before, _) = path.split_once("/./")?;
        let directory = self.find(&clean_source(Path::new(before))).ok()?;
        Some(directory.entry.mtime)
    }

    /// `--parents`: the path below the pivot `/./`, or the whole path, is kept.
    fn select_with_parents(
        &self,
        path: &str,
        exclude: &PatternList,
        selected: &mut Vec<Selected>,
    ) -> Result<(), StepError> {
        let kept_from = match path.split_once("/./") {
            Some((before, _)) => clean_source(Path::new(before)).components().count(),
            None => 0,
        };
        for (found, node) in self.named(path, true)? {
            let below: PathBuf = found.components().skip(kept_from).collect();
            if below.as_os_str().is_empty() && kept_from > 0 {
                return Err(CopyError::NothingBelowPivot {
                    source_text: path.to_owned(),
                    path: found,
                }
                .into());
            }
            let trail = exclude.follow(&below);
            let holds = node.entry.is_directory() && exclude.may_reinclude_below(&trail);
            if trail.verdict().excluded && !holds {
                continue;
            }
            let mut ancestors: Vec<&Path> = below
                .ancestors()
                .skip(1)
                .filter(|a| !a.as_os_str().is_empty())
                .collect();
            ancestors.reverse();
            let pivot: PathBuf = found.components().take(kept_from).collect();
            for ancestor in ancestors {
                let node = self.find(&pivot.join(ancestor))?;
                selected.push(Selected {
                    node,
                    name: ancestor.to_owned(),
                    reach: Reach::Alone,
                });
            }
            selected.push(Selected {
                node,
                name: below,
                reach: Reach::Whole,
            });
        }
        Ok(())
    }

    /// What a path names, links followed.
    pub(super) fn find(&self, path: &Path) -> Result<Node, StepError> {
        match self {
            Self::Context(tree) => {
                let entry = tree.context.lookup(path).map_err(CopyError::Lookup)?;
                Ok(context_node(tree, entry))
            }
            Self::State { stack, layers } => {
                let missing = || CopyError::NotFound {
                    path: path.to_owned(),
                };
                let resolved = stack.resolve(path, true).map_err(|_| missing())?;
                Ok(state_node(
                    stack,
                    layers,
                    resolved.found.ok_or_else(missing)?,
                ))
            }
        }
    }

    fn glob(&self, glob: &Glob) -> Result<Vec<(PathBuf, Node)>, StepError> {
        match self {
            Self::Context(tree) => {
                let matches = tree.context.glob(glob)?;
                Ok(matches
                    .into_iter()
                    .map(|found| (found.name, context_node(tree, found.entry)))
                    .collect())
            }
            Self::State { stack, layers } => {
                let mut found: Vec<(PathBuf, Node)> = Vec::new();
                let Ok(base) = stack.resolve(glob.prefix(), true) else {
                    return Ok(found);
                };
                for candidate in stack.walk(&base.path) {
                    let below = candidate
                        .entry
                        .path
                        .strip_prefix(&base.path)
                        .unwrap_or(&candidate.entry.path);
                    let name = glob.prefix().join(below);
                    // A directory that matched is taken whole; nothing in it is a match of its own.
                    if found.last().is_some_and(|(last, node)| {
                        node.entry.is_directory() && name.starts_with(last)
                    }) {
                        continue;
                    }
                    if glob.matches(&name)
                        && let Ok(resolved) = stack.resolve(&candidate.entry.path, true)
                        && let Some(end) = resolved.found
                    {
                        found.push((name, state_node(stack, layers, end)));
                    }
                }
                Ok(found)
            }
        }
    }

    /// Everything below a directory, sorted, without what is excluded; each with its path below the directory. The
    /// patterns know the directory by the path that comes with it.
    pub(super) fn walk<'t>(
        &'t self,
        (directory, known_as): (&Node, &Path),
        exclude: &'t PatternList,
        visit: &mut dyn FnMut(PathBuf, Node) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let root = &directory.entry.path;
        match self {
            Self::Context(tree) => {
                let Some(Content::Context(entry)) = &directory.content else {
                    return Ok(());
                };
                for found in tree.context.walk_as(entry, exclude, known_as) {
                    let found = found?;
                    let below = found.path_below(root).to_owned();
                    visit(below, context_node(tree, found))?;
                }
            }
            Self::State { stack, layers } => {
                // Excluded directories, until something in them turns out not to be.
                let mut held: Vec<(PathBuf, Found<'_>)> = Vec::new();
                for found in stack.walk(root) {
                    let path = &found.entry.path;
                    let below = path.strip_prefix(root).unwrap_or(path).to_owned();
                    held.retain(|(directory, _)| below.starts_with(directory));
                    if !exclude.judge(&known_as.join(&below)).excluded {
                        for (directory, found) in held.drain(..) {
                            visit(directory, state_node(stack, layers, found))?;
                        }
                        visit(below, state_node(stack, layers, found))?;
                    } else if found.entry.is_directory() {
                        held.push((below, found));
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens the content of a file of this tree.
    pub(super) fn open_content(
        &self,
        worker: &Worker<'_>,
        content: &Content,
    ) -> Result<Box<dyn Read + Send>, StepError> {
        match (self, content) {
            (Self::Context(tree), Content::Context(entry)) => {
                Ok(Box::new(tree.context.open_content(entry)?))
            }
            (_, other) => other.open_anywhere(worker),
        }
    }
}

impl Content {
    /// Opens content that is in no context.
    pub(super) fn open_anywhere(
        &self,
        worker: &Worker<'_>,
    ) -> Result<Box<dyn Read + Send>, StepError> {
        match self {
            Self::Layer(layer, entry) => {
                let broken = |source| LayerError::Format {
                    diff_id: layer.diff_id,
                    source,
                };
                Ok(worker.layers.content(layer)?.open(entry).map_err(broken)?)
            }
            Self::Inline(bytes) => Ok(Box::new(std::io::Cursor::new(Arc::clone(bytes)))),
            Self::Archive(source, entry) => source
                .open(entry)
                .map_err(|error| CopyError::Archive(error).into()),
            Self::Context(_) => Err(CopyError::NoContext.into()),
        }
    }
}

fn context_node(tree: &ContextTree, found: context::Entry) -> Node {
    let kind = match &found.kind {
        context::EntryKind::File { size } => EntryKind::file(*size),
        context::EntryKind::Directory => EntryKind::directory(),
        context::EntryKind::Symlink { target } => EntryKind::Symlink {
            target: target.clone(),
        },
        context::EntryKind::Fifo => EntryKind::Fifo,
        context::EntryKind::CharDevice { major, minor } => EntryKind::CharDevice {
            major: *major,
            minor: *minor,
        },
        context::EntryKind::BlockDevice { major, minor } => EntryKind::BlockDevice {
            major: *major,
            minor: *minor,
        },
    };
    let entry = Entry {
        path: found.path.clone(),
        kind,
        mode: found.mode,
        uid: found.uid,
        gid: found.gid,
        mtime: found.mtime,
        xattrs: tree.context.xattrs(&found),
    };
    let identity = found
        .hard_link
        .as_ref()
        .map(|link| Identity::Inode(link.device, link.inode));
    Node {
        entry,
        content: Some(Content::Context(found)),
        identity,
    }
}

fn state_node(stack: &Stack, layers: &[Arc<LayerHandle>], found: Found<'_>) -> Node {
    let path = found.entry.path.clone();
    let Some(end) = stack.content_of(found) else {
        return Node {
            entry: found.entry.clone(),
            content: None,
            identity: None,
        };
    };
    let mut entry = end.entry.clone();
    entry.path = path;
    let file = matches!(entry.kind, EntryKind::File { .. });
    let layer = layers.get(end.layer).filter(|_| file);
    Node {
        content: layer.map(|layer| Content::Layer(Arc::clone(layer), end.entry.clone())),
        identity: layer.map(|layer| Identity::Layer(layer.diff_id, end.entry.path.clone())),
        entry,
    }
}
