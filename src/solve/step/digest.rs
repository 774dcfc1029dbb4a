//! The digest of what a step takes from a tree: the ingredient that says whether its files have changed. The files of
//! a context are hashed by `context`; here are those of a state, and which of the two it is.

use std::path::{Path, PathBuf};

use super::super::error::StepError;
use super::tree::{self, Content, Node, Selected, Tree};
use super::{Inputs, Worker};
use crate::context::{
    Listing, ListingBuilder, PatternList, Reach, Selection, Source, clean_source,
    listed_tree_digest, tree_digest,
};
use crate::layer::EntryKind;
use crate::oci::{Digest, Hasher};
use crate::plan::{CopySource, CopyStep, StateRef, TreeSource};

/// Threads that hash the files of a context.
const HASHING_THREADS: usize = 4;

/// Files of a tree.
pub(super) struct Files {
    pub(super) digest: Digest,
    /// Which files, if that was asked for and can be told.
    pub(super) listing: Option<Listing>,
}

impl Files {
    fn unlisted(digest: Digest) -> Self {
        Self {
            digest,
            listing: None,
        }
    }
}

/// The digest of all that a copy takes from its tree, with a list of it if it is to be `listed`.
pub(super) fn of_copy(
    worker: &Worker<'_>,
    source: &TreeSource,
    copy: &CopyStep,
    inputs: &Inputs,
    listed: bool,
) -> Result<Files, StepError> {
    if !copy
        .sources
        .iter()
        .any(|source| matches!(source, CopySource::Path(_)))
    {
        return Ok(Files::unlisted(Digest::of("no files")));
    }
    let tree = tree::open(worker, source, inputs)?;
    let exclude = tree::exclude_patterns(copy)?;
    let selected = tree.select(copy, &exclude)?;
    of_selected(&tree, &selected, exclude, listed)
}

/// The digest of one path of a tree with everything below it.
pub(super) fn of_path(
    worker: &Worker<'_>,
    source: &TreeSource,
    path: &str,
    inputs: &Inputs,
    listed: bool,
) -> Result<Files, StepError> {
    if let (TreeSource::State(reference), "/") = (source, path)
        // What was fetched is one small layer, whose content says more than its identity.
        && !is_fetched(worker, *reference)
    {
        return Ok(Files::unlisted(inputs.state(*reference).identity));
    }
    let tree = tree::open(worker, source, inputs)?;
    let node = tree.find(&clean_source(Path::new(path)))?;
    let selected = Selected {
        node,
        name: PathBuf::new(),
        reach: Reach::Contents,
    };
    of_selected(&tree, &[selected], PatternList::default(), listed)
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
    listed: bool,
) -> Result<Files, StepError> {
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
            let (context, index) = (&tree.context, &tree.index);
            if !listed {
                let found = tree_digest(context, &selection, index, HASHING_THREADS)?;
                return Ok(Files::unlisted(found.digest));
            }
            let (found, listing) = listed_tree_digest(context, &selection, index, HASHING_THREADS)?;
            Ok(Files {
                digest: found.digest,
                listing: Some(listing),
            })
        }
        Tree::State { .. } => of_state(tree, selected, &exclude, listed),
    }
}

fn of_state(
    tree: &Tree<'_>,
    selected: &[Selected],
    exclude: &PatternList,
    listed: bool,
) -> Result<Files, StepError> {
    let mut hasher = Hasher::new("state tree v1");
    let mut listing = listed.then(ListingBuilder::default);
    let mut add = |hasher: &mut Hasher, name: &Path, node: &Node| {
        hash_node(hasher, name, node);
        if let Some(listing) = &mut listing {
            let entry = &node.entry;
            let mut alone = Hasher::new("state entry");
            hash_node(&mut alone, Path::new(""), node);
            listing.add(&entry.path, entry.is_directory(), &alone.finish());
        }
    };
    for selected in selected {
        if selected.reach != Reach::Contents || !selected.node.entry.is_directory() {
            add(&mut hasher, &selected.name, &selected.node);
        }
        if selected.reach != Reach::Alone && selected.node.entry.is_directory() {
            let directory = (&selected.node, selected.name.as_path());
            tree.walk(directory, exclude, &mut |below, node| {
                add(&mut hasher, &selected.name.join(below), &node);
                Ok(())
            })?;
        }
        hasher.field("end of source");
    }
    Ok(Files {
        digest: hasher.finish(),
        listing: listing.map(ListingBuilder::finish),
    })
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
