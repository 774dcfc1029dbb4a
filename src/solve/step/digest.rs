//! The digest of what a step takes from a tree: the ingredient that says whether its files have changed. The files of
//! a context are hashed by `context`; here are those of a state, and which of the two it is.

use std::path::{Path, PathBuf};

use super::super::error::StepError;
use super::tree::{self, Content, Node, Selected, Tree};
use super::{Inputs, Worker};
use crate::context::{PatternList, Reach, Selection, Source, clean_source, tree_digest};
use crate::layer::EntryKind;
use crate::oci::{Digest, Hasher};
use crate::plan::{CopySource, CopyStep, StateRef, TreeSource};

/// Threads that hash the files of a context.
const HASHING_THREADS: usize = 4;

/// The digest of all that a copy takes from its tree.
pub(super) fn of_copy(
    worker: &Worker<'_>,
    source: &TreeSource,
    copy: &CopyStep,
    inputs: &Inputs,
) -> Result<Digest, StepError> {
    if !copy
        .sources
        .iter()
        .any(|source| matches!(source, CopySource::Path(_)))
    {
        return Ok(Digest::of("no files"));
    }
    let tree = tree::open(worker, source, inputs)?;
    let exclude = tree::exclude_patterns(copy)?;
    let selected = tree.select(copy, &exclude)?;
    of_selected(&tree, &selected, exclude)
}

/// The digest of one path of a tree with everything below it.
pub(super) fn of_path(
    worker: &Worker<'_>,
    source: &TreeSource,
    path: &str,
    inputs: &Inputs,
) -> Result<Digest, StepError> {
    if let (TreeSource::State(reference), "/") = (source, path)
        // What was fetched is one small layer, whose content says more than its identity.
        && !is_fetched(worker, *reference)
    {
        return Ok(inputs.state(*reference).identity);
    }
    let tree = tree::open(worker, source, inputs)?;
    let node = tree.find(&clean_source(Path::new(path)))?;
    let selected = Selected {
        node,
        name: PathBuf::new(),
        reach: Reach::Contents,
    };
    of_selected(&tree, &[selected], PatternList::default())
}

fn is_fetched(worker: &Worker<'_>, state: StateRef) -> bool {
    match state {
        StateRef::Base(base) => worker.plan.base(base).is_tree(),
        StateRef::Scratch | StateRef::Step(_) => false,
    }
}

/// Names, kinds, owners, modes, extended attributes and contents; not the times.
fn of_selected(
    tree: &Tree<'_>,
    selected: &[Selected],
    exclude: PatternList,
) -> Result<Digest, StepError> {
    match tree {
        Tree::Context(tree) => {
            let sources = selected
                .iter()
                .filter_map(|selected| match &selected.node.content {
                    Some(Content::Context(entry)) => Some(Source {
                        entry: entry.clone(),
                        name: selected.name.clone(),
                        reach: selected.reach,
                    }),
                    _ => None,
                });
            let selection = Selection {
                sources: sources.collect(),
                exclude,
            };
            Ok(tree_digest(&tree.context, &selection, &tree.index, HASHING_THREADS)?.digest)
        }
        Tree::State { .. } => {
            let mut hasher = Hasher::new("state tree v1");
            for selected in selected {
                if selected.reach != Reach::Contents || !selected.node.entry.is_directory() {
                    hash_node(&mut hasher, &selected.name, &selected.node);
                }
                if selected.reach != Reach::Alone && selected.node.entry.is_directory() {
                    let directory = (&selected.node, selected.name.as_path());
                    tree.walk(directory, &exclude, &mut |below, node| {
                        hash_node(&mut hasher, &selected.name.join(below), &node);
                        Ok(())
                    })?;
                }
                hasher.field("end of source");
            }
            Ok(hasher.finish())
        }
    }
}

fn hash_node(hasher: &mut Hasher, name: &Path, node: &Node) {
    let entry = &node.entry;
    hasher.field(name.as_os_str().as_encoded_bytes());
    let kind = match &entry.kind {
        // Where the content is in some tar says nothing about it.
        EntryKind::File { size, digest, .. } => format!("file {size} {digest}"),
        EntryKind::Directory { .. } => "directory".to_owned(),
        other => format!("{other:?}"),
    };
    hasher.field(kind);
    for number in [entry.mode, entry.uid, entry.gid] {
        hasher.number(u64::from(number));
    }
    for (name, value) in &entry.xattrs {
        hasher.field(name);
        hasher.field(value);
    }
    hasher.field("end of entry");
}
