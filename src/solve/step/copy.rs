//! COPY and ADD: what the sources name, where it goes, and what may replace what.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::StepError;
use super::draft::Draft;
use super::tree::{self, Content, Node, Selected, Tree};
use super::user::Accounts;
use super::write::write_layer;
use super::{Inputs, Made, Worker};
use crate::context::{LookupError, PatternList, Reach};
use crate::fsio;
use crate::layer::{self, ContentSource, Entry, EntryKind, Markers, Stack};
use crate::oci::Digest;
use crate::plan::{CopySource, CopyStep, FileMode, StepId};

/// Files that cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source that the context does not have.
    #[error("failed to calculate checksum: {0}")]
    Lookup(#[source] LookupError),
    /// A source that a stage or image does not have.
    #[error("failed to calculate checksum: \"/{}\": not found", path.display())]
    NotFound {
        /// Relative to the root.
        path: PathBuf,
    },
    /// `--parents` with a pivot that nothing follows.
    #[error("\"/{}\": not found: in `{source_text}` nothing follows the pivot `/./`", path.display())]
    NothingBelowPivot {
        /// As written, expanded.
        source_text: String,
        /// The path before the pivot.
        path: PathBuf,
    },
    /// A wildcard that is none.
    #[error("bad wildcard `{pattern}`: {why}")]
    Pattern {
        /// As written, expanded.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// An `--exclude` that is no pattern.
    #[error("bad --exclude: {0}")]
    Exclude(String),
    /// A mode that is none.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Chmod(String),
    /// A file would replace a directory.
    #[error("cannot replace to directory {} with file", shown(path))]
    ReplacesDirectory {
        /// Relative to the root.
        path: PathBuf,
    },
    /// A directory would replace something else, or something else is on the way.
    #[error("cannot copy to non-directory: {}", shown(path))]
    NotADirectory {
        /// Relative to the root.
        path: PathBuf,
    },
    /// A WORKDIR is something else, or something else is on the way.
    #[error("mkdir {}: not a directory", shown(path))]
    WorkdirNotADirectory {
        /// Relative to the root.
        path: PathBuf,
    },
    /// An archive puts something where a link of the image leads to nothing.
    #[error("open {}: no such file or directory", shown(path))]
    LeadsNowhere {
        /// Relative to the root.
        path: PathBuf,
    },
    /// Links that lead nowhere on the way to the destination.
    #[error("cannot resolve the destination: {0}")]
    Destination(#[source] layer::ResolveError),
    /// A file of a stage or image is not what it was when its layer was made.
    #[error("\"/{}\" is damaged in the store", path.display())]
    Damaged {
        /// Relative to the root.
        path: PathBuf,
        /// Its layer.
        layer: Digest,
    },
    /// There is no context to copy from.
    #[error("there is no build context to copy from")]
    NoContext,
    /// An archive that cannot be unpacked.
    #[error("cannot unpack: {0}")]
    Archive(#[source] layer::Error),
    /// What was copied could not be written, or changed while it was read.
    #[error("cannot copy: {0}")]
    Write(#[source] layer::Error),
}

fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}

/// What a copy does to everything it copies.
struct Changes {
    owner: Option<(u32, u32)>,
    mode: Option<FileMode>,
    mtime: i64,
}

impl Changes {
    fn apply(&self, entry: &mut Entry) {
        if let Some((uid, gid)) = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = &self.mode
            && !matches!(entry.kind, EntryKind::Symlink { .. })
        {
            entry.mode = mode.apply(entry.mode, entry.is_directory());
        }
    }
}

pub(super) fn execute(
    worker: &Worker<'_>,
    id: StepId,
    copy: &CopyStep,
    inputs: &Inputs,
) -> Result<Made, StepError> {
    let changes = changes(worker, copy, inputs)?;
    let below = if copy.link {
        Stack::default()
    } else {
        worker.layers.stack(&inputs.below)?
    };
    let directory_mode = changes
        .mode
        .as_ref()
        .and_then(FileMode::fixed)
        .unwrap_or(0o755);
    let mut draft = Draft::new(
        &below,
        changes.mtime,
        changes.owner.unwrap_or((0, 0)),
        directory_mode,
    );
    let (destination, into) = destination(&below, copy)?;
    let has_paths = copy
        .sources
        .iter()
        .any(|source| matches!(source, CopySource::Path(_)));
    let tree = if has_paths {
        Some(tree::open(worker, &copy.from, inputs)?)
    } else {
        None
    };
    let exclude = &tree::exclude_patterns(copy)?;
    let mut scratches = Vec::new();
    let mut copying = Copying {
        worker,
        copy,
        changes: &changes,
        draft: &mut draft,
        destination,
        into,
        exclude,
    };
    if let Some(tree) = tree.as_ref().filter(|_| copy.parents) {
        // The destination is there even if no wildcard matches.
        copying.make_destination(tree.pivot_mtime(copy))?;
    }
    for source in &copy.sources {
        match (source, &tree) {
            (CopySource::Path(path), Some(tree)) => {
                for selected in tree.select_path(copy, path, exclude)? {
                    scratches.extend(copying.take(tree, selected, copy.unpack != Some(false))?);
                }
            }
            (CopySource::Remote { from, file }, _) => {
                let tree = tree::open(worker, from, inputs)?;
                let selected = tree::select_remote(&tree, file.as_deref())?;
                scratches.extend(copying.take(&tree, selected, copy.unpack == Some(true))?);
            }
            // Heredocs come last, wherever they stand.
            (CopySource::Inline { .. }, _) | (CopySource::Path(_), None) => {}
        }
    }
    copying.inline()?;
    let entries = draft.into_entries();
    let open = |content: &Content| match &tree {
        Some(tree) => tree.open_content(worker, content),
        None => content.open_anywhere(worker),
    };
    write_layer(worker, id, entries, &open)
}

fn changes(worker: &Worker<'_>, copy: &CopyStep, inputs: &Inputs) -> Result<Changes, StepError> {
    let owner = match &copy.chown {
        Some(spec) => Some(Accounts::of(worker.layers, &inputs.below).owner(spec)?),
        None => None,
    };
    let mode = match &copy.chmod {
        Some(text) => Some(FileMode::parse(text).ok_or_else(|| CopyError::Chmod(text.clone()))?),
        None => None,
    };
    Ok(Changes {
        owner,
        mode,
        mtime: worker.mtime(),
    })
}

/// Where the destination leads, relative to the root, and whether it says "into this directory".
fn destination(below: &Stack, copy: &CopyStep) -> Result<(PathBuf, bool), StepError> {
    let into = copy.destination.ends_with('/') || copy.parents;
    let text = copy.destination.trim_end_matches('/');
    if copy.link {
        return Ok((PathBuf::from(text.trim_start_matches('/')), into));
    }
    let resolved = below.resolve(text, true).map_err(|error| match error {
        layer::ResolveError::NotADirectory(path) => CopyError::NotADirectory { path },
        error @ layer::ResolveError::TooManyLinks(_) => CopyError::Destination(error),
    })?;
    Ok((resolved.path, into))
}

type Archive = (crate::store::Scratch, layer::Toc, Arc<ContentSource>);

/// The contents of a source that is an archive, by content and never by name.
fn archive(
    worker: &Worker<'_>,
    tree: &Tree<'_>,
    selected: &Selected,
) -> Result<Option<Archive>, StepError> {
    let scratch = worker.environment.store.scratch()?;
    let opened = match (tree, &selected.node.content) {
        (Tree::Context(tree), Some(Content::Context(entry))) => {
            let opened = tree.context.open_content(entry)?;
            let Some(file) = opened.file() else {
                return Ok(None);
            };
            // The descriptor was opened beneath the context's root; its path leads nowhere else.
            layer::open_archive(format!("/proc/self/fd/{}", file.as_raw_fd()))
        }
        (Tree::State { .. }, Some(content)) => {
            let path = scratch.path().join("file");
            let mut reader = worker.stoppable(tree.open_content(worker, content)?);
            let mut file = fsio::create(&path)?;
            std::io::copy(&mut reader, &mut file)
                .map_err(|source| fsio::Error::new("copy to", &path, source))?;
            layer::open_archive(path)
        }
        _ => return Ok(None),
    };
    let Some(plain) = opened.map_err(CopyError::Archive)? else {
        return Ok(None);
    };
    let mut plain = worker.stoppable(plain);
    // Files are read again when the layer is written, each from its place in the plain tar.
    let path = scratch.path().join("tar");
    let mut tar = fsio::create(&path)?;
    std::io::copy(&mut plain, &mut tar)
        .map_err(|source| fsio::Error::new("unpack to", &path, source))?;
    drop(tar);
    let tar = worker.stoppable(fsio::open(&path)?);
    let read = layer::read_tar(tar, Markers::Names, None).map_err(CopyError::Archive)?;
    Ok(Some((
        scratch,
        read.toc,
        Arc::new(ContentSource::Tar(path)),
    )))
}

/// A copy under way.
struct Copying<'c, 'd> {
    worker: &'c Worker<'c>,
    copy: &'c CopyStep,
    changes: &'c Changes,
    draft: &'c mut Draft<'d>,
    destination: PathBuf,
    into: bool,
    exclude: &'c PatternList,
}

impl Copying<'_, '_> {
    /// Takes a source: what is in it if it is an archive that is to be unpacked, else itself. What is unpacked stays in the
    /// scratch folder until the layer is written.
    fn take(
        &mut self,
        tree: &Tree<'_>,
        selected: Selected,
        unpack: bool,
    ) -> Result<Option<crate::store::Scratch>, StepError> {
        self.draft.next_source();
        let is_file = matches!(selected.node.entry.kind, EntryKind::File { .. });
        let archive = if self.copy.add && unpack && is_file {
            archive(self.worker, tree, &selected)?
        } else {
            None
        };
        match archive {
            Some((scratch, toc, content)) => {
                self.unpack(&toc, &content)?;
                Ok(Some(scratch))
            }
            None => self.selected(tree, selected).map(|()| None),
        }
    }

    fn make_destination(&mut self, mtime: Option<i64>) -> Result<(), StepError> {
        if self.destination.as_os_str().is_empty() {
            return Ok(());
        }
        let destination = self.destination.clone();
        self.draft.make_parents(&destination)?;
        Ok(self.draft.make_directory(&destination, mtime)?)
    }

    fn put(&mut self, path: PathBuf, mut node: Node) -> Result<(), StepError> {
        self.changes.apply(&mut node.entry);
        self.draft.make_parents(&path)?;
        Ok(self.draft.put(path, node)?)
    }

    fn selected(&mut self, tree: &Tree<'_>, selected: Selected) -> Result<(), StepError> {
        let Selected { node, name, reach } = selected;
        if !self.copy.parents && node.entry.is_directory() {
            self.make_destination(Some(node.entry.mtime))?;
            return self.below(tree, (&node, &name), self.destination.clone());
        }
        let into = self.into || self.draft.is_directory(&self.destination);
        let path = if into {
            self.destination.join(&name)
        } else {
            self.destination.clone()
        };
        let directory = node.entry.is_directory();
        if !(directory && reach == Reach::Alone && self.draft.is_directory(&path)) {
            self.put(path.clone(), node.clone())?;
        }
        if directory && reach != Reach::Alone {
            self.below(tree, (&node, &name), path)
        } else {
            Ok(())
        }
    }

    /// All below a directory; `--exclude` knows the directory by the path that comes with it.
    fn below(
        &mut self,
        tree: &Tree<'_>,
        directory: (&Node, &Path),
        to: PathBuf,
    ) -> Result<(), StepError> {
        let exclude = self.exclude;
        tree.walk(directory, exclude, &mut |below, node| {
            self.worker.go_on()?;
            self.put(to.join(below), node)
        })
    }

    fn inline(&mut self) -> Result<(), StepError> {
        let copy = self.copy;
        for source in &copy.sources {
            let CopySource::Inline { name, content } = source else {
                continue;
            };
            let bytes: Arc<[u8]> = content.as_bytes().into();
            let mut entry = Entry::new(name.as_str(), EntryKind::file(bytes.len() as u64), 0o644);
            entry.mtime = self.worker.mtime();
            let node = Node {
                entry,
                content: Some(Content::Inline(bytes)),
                identity: None,
            };
            let into = self.into || self.draft.is_directory(&self.destination);
            let path = if into {
                self.destination.join(name)
            } else {
                self.destination.clone()
            };
            self.put(path, node)?;
        }
        Ok(())
    }

    /// Archives go into the destination as a directory; their entries replace what is there, and keep their modes.
    /// Links of the image are followed, but never out of the destination.
    fn unpack(&mut self, toc: &layer::Toc, content: &Arc<ContentSource>) -> Result<(), StepError> {
        let mode = self.draft.set_directory_mode(0o755);
        self.make_destination(None)?;
        for entry in toc.entries() {
            if entry.path.as_os_str().is_empty() || entry.is_implied() {
                continue;
            }
            let mut node = Node {
                entry: entry.clone(),
                content: None,
                identity: None,
            };
            match &entry.kind {
                EntryKind::File { .. } => {
                    node.content = Some(Content::Archive(Arc::clone(content), entry.clone()));
                }
                EntryKind::HardLink { target } => {
                    let target = self.unpacked_path(target)?;
                    node.entry.kind = EntryKind::HardLink { target };
                }
                _ => {}
            }
            let path = self.unpacked_path(&entry.path)?;
            // As tar does: what is in the way of an entry goes, unless both are directories.
            if let Some((uid, gid)) = self.changes.owner {
                (node.entry.uid, node.entry.gid) = (uid, gid);
            }
            self.draft.make_parents(&path)?;
            self.draft.replace(path, node);
        }
        self.draft.set_directory_mode(mode);
        Ok(())
    }

    /// Where an entry of an archive goes.
    fn unpacked_path(&self, path: &Path) -> Result<PathBuf, StepError> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = self.draft.follow(&self.destination, parent)?;
        Ok(folder.join(path.file_name().unwrap_or_default()))
    }
}
