//! `--mount=type=cache`: folders that outlive the build, what is in them at first, and when they are emptied.

use std::path::{Path, PathBuf};

use super::super::driver::Reporter;
use super::super::error::StepError;
use super::super::event::BuildEvent;
use super::copy::CopyError;
use super::digest;
use super::draft::Draft;
use super::mounts::Mounts;
use super::tree::{self, Content};
use super::write::as_directory;
use super::{Inputs, Worker};
use crate::context::{PatternList, clean_source};
use crate::fsio;
use crate::layer::{Privileges, Stack};
use crate::oci::Digest;
use crate::plan::{RunMount, Sharing, Step, StepKind, TreeSource};
use crate::sandbox::{Mount, MountKind};
use crate::store::{Scratch, Store};

/// Empties the caches of a step that the cache must not answer: it starts as if it had never run.
pub(super) fn empty(worker: &Worker<'_>, step: &Step) -> Result<(), StepError> {
    let StepKind::Run(run) = &step.kind else {
        return Ok(());
    };
    let store = worker.environment.store;
    for mount in &run.mounts {
        if let RunMount::Cache { id, .. } = mount {
            let _lock = worker.lock("mount", Digest::of(id))?;
            fsio::remove_tree(store.cache_mount(id))?;
            fsio::remove_tree(with_content(store, id))?;
        }
    }
    Ok(())
}

/// Holds the caches of an id that start with content: each content makes a cache of its own.
fn with_content(store: &Store, id: &str) -> PathBuf {
    store.cache_mount(&format!("{id}\nwith content"))
}

/// Fills a cache that is not here, or has nothing in it, with what was saved of it elsewhere. One that was emptied for this build
/// stays empty, and one that starts with content has that.
pub(super) fn restore(
    worker: &Worker<'_>,
    mount: &RunMount,
    (scratch, name): (&Scratch, &str),
    report: &Reporter,
) -> Result<(), StepError> {
    let (Some(saved), RunMount::Cache { id, from: None, .. }) =
        (worker.environment.saved_mounts, mount)
    else {
        return Ok(());
    };
    let folder = worker.environment.store.cache_mount(id);
    let is_empty = |folder: &Path| match fsio::read_dir_sorted(folder) {
        Ok(names) => names.is_empty(),
        Err(error) => error.is_not_found(),
    };
    if was_emptied(worker, id) || !is_empty(&folder) {
        return Ok(());
    }
    // Two steps that want it wait for one restore.
    let _lock = worker.lock("new-mount", Digest::of(id))?;
    if !is_empty(&folder) {
        return Ok(());
    }
    let aside = scratch.path().join(format!("{name}-saved"));
    let restored = saved.restore(id, &aside);
    for message in restored.warnings {
        report.event(BuildEvent::Warning { message });
    }
    let Some(line) = restored.line else {
        return Ok(());
    };
    if let Some(parent) = folder.parent() {
        fsio::create_dir_all(parent)?;
    }
    // Takes the place of an empty folder, and of no other.
    fsio::rename(&aside, &folder)?;
    report.event(BuildEvent::Noted {
        id: report.id,
        text: line,
    });
    Ok(())
}

/// Whether a step of this build is to start with an empty cache.
fn was_emptied(worker: &Worker<'_>, wanted: &str) -> bool {
    let uses = |step: &Step| match &step.kind {
        StepKind::Run(run) => run
            .mounts
            .iter()
            .any(|mount| matches!(mount, RunMount::Cache { id, .. } if id == wanted)),
        _ => false,
    };
    let mut steps = worker.plan.steps.iter();
    steps.any(|step| step.no_cache && uses(step))
}

/// Turns a declared cache into a mount; makes its folder if this is its first use.
pub(super) fn prepare(
    worker: &Worker<'_>,
    inputs: &Inputs,
    (scratch, name): (&Scratch, &str),
    mount: &RunMount,
    prepared: &mut Mounts,
) -> Result<(), StepError> {
    let RunMount::Cache {
        id,
        target,
        sharing,
        from,
        source,
        read_only,
        ..
    } = mount
    else {
        return Ok(());
    };
    let store = worker.environment.store;
    let identity = Digest::of(id);
    let kept = match from {
        Some(from) => {
            let content = digest::of_path(worker, from, source, inputs, false)?.digest;
            with_content(store, id).join(content.hex())
        }
        None => store.cache_mount(id),
    };
    let folder = match sharing {
        // Locked before anything else was done.
        Sharing::Shared | Sharing::Locked => kept,
        // The same id twice in one step is one directory.
        Sharing::Private if prepared.shows(&kept) => kept,
        Sharing::Private => match store.try_lock("mount", identity)? {
            Some(lock) => {
                prepared.locks.push(lock);
                kept
            }
            None => scratch.path().join(name),
        },
    };
    {
        let _lock = worker.lock("new-mount", identity)?;
        if fsio::symlink_metadata(&folder).is_err() {
            make(
                worker,
                inputs,
                scratch.path().join(format!("{name}-new")),
                mount,
                &folder,
            )?;
        }
    }
    let kind = MountKind::Bind {
        source: folder,
        // Of a cache that starts with content, only that part is kept.
        sub_path: if from.is_some() {
            String::new()
        } else {
            source.clone()
        },
        read_only: *read_only,
    };
    prepared.mounts.push(Mount {
        target: target.clone(),
        kind,
    });
    Ok(())
}

/// Makes the folder of a cache: aside, then under its name, so that nobody sees a part of it.
fn make(
    worker: &Worker<'_>,
    inputs: &Inputs,
    aside: PathBuf,
    mount: &RunMount,
    folder: &Path,
) -> Result<(), StepError> {
    let RunMount::Cache {
        from,
        source,
        mode,
        uid,
        gid,
        ..
    } = mount
    else {
        return Ok(());
    };
    let new = match from {
        Some(from) => copy_of(worker, inputs, &aside, (from, source))?,
        None => {
            fsio::create_dir_all(&aside)?;
            fsio::set_mode(&aside, *mode)?;
            if worker.environment.privileges != Privileges::OneId {
                fsio::set_owner(&aside, *uid, *gid)?;
            }
            aside
        }
    };
    if let Some(parent) = folder.parent() {
        fsio::create_dir_all(parent)?;
    }
    Ok(fsio::rename(&new, folder)?)
}

/// A copy of a directory of a tree, in `aside`.
fn copy_of(
    worker: &Worker<'_>,
    inputs: &Inputs,
    aside: &Path,
    (from, source): (&TreeSource, &str),
) -> Result<PathBuf, StepError> {
    let tree = tree::open(worker, from, inputs)?;
    let node = tree.find(&clean_source(Path::new(source)))?;
    if !node.entry.is_directory() {
        let path = node.entry.path;
        return Err(CopyError::NotADirectory { path }.into());
    }
    let nothing = Stack::default();
    let mut draft = Draft::new(&nothing, worker.mtime(), (0, 0), 0o755);
    let root = PathBuf::from("content");
    draft.put(root.clone(), node.clone())?;
    let everything = PatternList::default();
    tree.walk((&node, Path::new("")), &everything, &mut |below, node| {
        Ok(draft.put(root.join(below), node)?)
    })?;
    let open = |content: &Content| tree.open_content(worker, content);
    as_directory(worker, aside, &draft.into_entries(), &open)?;
    Ok(aside.join(root))
}

impl Mounts {
    /// Whether a folder is a mount of this step already.
    fn shows(&self, folder: &Path) -> bool {
        self.mounts
            .iter()
            .any(|mount| matches!(&mount.kind, MountKind::Bind { source, .. } if source == folder))
    }
}
