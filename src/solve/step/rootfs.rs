//! What the root file system of a RUN is made of: an overlay of layer directories, or their content copied together where there
//! can be no overlay.
//!
//! Nobody asks the machine in advance: the first step that an overlay is refused for is the evidence, and costs nothing where all
//! is well. Nothing of such a step has run yet, so it starts again in a copy, as do all after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::driver::Reporter;
use super::super::error::StepError;
use super::super::event::BuildEvent;
use super::super::state::State;
use super::{Inputs, Worker};
use crate::fsio;
use crate::layer::{self, EntryKind, Found, Privileges, Stack};
use crate::sandbox::{Footing, OverlayView, RootFs, Rung};
use crate::snapshot::{self, Active, Snapshotter, Tree};
use crate::store::{Room, footprint};

/// How root file systems are made in this build.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// What the user said.
    wanted: Option<Snapshotter>,
    /// An overlay was refused.
    refused: AtomicBool,
}

impl Snapshots {
    /// Without mounts there are only copies, unless the user insists, which is an error of the step.
    pub(super) fn new(wanted: Option<Snapshotter>, footing: Footing) -> Self {
        let only = (footing.rung() == Ok(Rung::Chroot)).then_some(Snapshotter::Copy);
        Self {
            wanted: wanted.or(only),
            refused: AtomicBool::new(false),
        }
    }

    /// How the next one is made.
    pub(super) fn next(&self) -> Snapshotter {
        match self.wanted {
            Some(wanted) => wanted,
            None if self.refused.load(Ordering::Relaxed) => Snapshotter::Copy,
            None => Snapshotter::Overlay,
        }
    }

    /// Whether a step that failed is to be tried with a copy instead; said once.
    pub(super) fn falls_back(
        &self,
        tried: Snapshotter,
        error: &StepError,
        report: &Reporter,
    ) -> bool {
        let StepError::Sandbox { source, .. } = error else {
            return false;
        };
        let refused = tried == Snapshotter::Overlay && source.is_overlay_refused();
        if self.wanted.is_some() || !refused {
            return false;
        }
        if !self.refused.swap(true, Ordering::Relaxed) {
            report.event(BuildEvent::Noted {
                id: report.id,
                text: "files are copied for each RUN: no overlay can be mounted on the store"
                    .to_owned(),
            });
        }
        true
    }
}

/// The root file system of one step.
pub(super) enum Root<'a> {
    Overlay {
        lower: Vec<PathBuf>,
        active: Active,
    },
    Copy {
        tree: Tree,
        /// What the copies take.
        _room: Room<'a>,
    },
}

impl<'a> Root<'a> {
    /// Makes it in the empty directory `folder`.
    pub(super) fn prepare(
        worker: &Worker<'a>,
        way: Snapshotter,
        inputs: &Inputs,
        stack: &Stack,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let layers = worker.layers;
        match way {
            Snapshotter::Overlay => {
                let lower = layers.directories(&inputs.below)?;
                let root = stack.lookup("").map(|found| found.entry);
                let active = snapshot::prepare(folder, root)?;
                Ok(Self::Overlay { lower, active })
            }
            Snapshotter::Copy => {
                let directories = layers.directory_of_each(&inputs.below)?;
                let sizes = stack.walk("").map(|found| size_of(stack, found));
                let room = worker.environment.store.reserve(footprint(sizes))?;
                let is_stopped = || worker.environment.cancel.is_cancelled();
                let tree = Tree::lay_out(folder, stack, &directories, &is_stopped);
                let tree = tree.map_err(|error| unless_stopped(worker, error))?;
                Ok(Self::Copy { tree, _room: room })
            }
        }
    }

    pub(super) fn spec(&self) -> RootFs {
        match self {
            Self::Overlay { lower, active } => RootFs::Overlay(OverlayView {
                lower: lower.clone(),
                upper: active.upper.clone(),
                work: active.work.clone(),
            }),
            Self::Copy { tree, .. } => RootFs::Tree(tree.root().to_owned()),
        }
    }

    /// The upper directory with what the step changed.
    pub(super) fn into_changes(
        self,
        stack: &Stack,
        privileges: Privileges,
    ) -> Result<PathBuf, StepError> {
        match self {
            Self::Overlay { active, .. } => Ok(active.upper),
            Self::Copy { tree, .. } => {
                let kept = tree.keep_changes(stack, privileges);
                kept.map_err(StepError::Changes)?;
                Ok(tree.root().to_owned())
            }
        }
    }
}

/// A part of a state, copied into the new folder `folder`: where it is then.
pub(super) fn copy_part(
    worker: &Worker<'_>,
    state: &State,
    source: &str,
    folder: &Path,
) -> Result<PathBuf, StepError> {
    let layers = worker.layers;
    let stack = layers.stack(state)?;
    let directories = layers.directory_of_each(state)?;
    let source = Path::new(source);
    let missing = || fsio::Error::new("look at", source, rustix::io::Errno::NOENT);
    let resolved = stack.resolve(source, true).map_err(|_loop| missing())?;
    let found = resolved.found.ok_or_else(missing)?;
    fsio::create_dir(folder)?;
    let sizes = stack.walk(&found.entry.path);
    let sizes = sizes.chain([found]).map(|found| size_of(&stack, found));
    let _room = worker.environment.store.reserve(footprint(sizes))?;
    let is_stopped = || worker.environment.cancel.is_cancelled();
    let name = Path::new("part");
    if found.entry.path.as_os_str().is_empty() {
        let tree = Tree::lay_out(folder, &stack, &directories, &is_stopped);
        let tree = tree.map_err(|error| unless_stopped(worker, error))?;
        return Ok(tree.root().to_owned());
    }
    let place = (folder, name.as_os_str());
    let laid_out = layer::lay_out_part(&stack, &directories, found, place, &is_stopped);
    laid_out.map_err(|error| unless_stopped(worker, error))?;
    Ok(folder.join(name))
}

fn size_of(stack: &Stack, found: Found<'_>) -> u64 {
    match found.entry.kind {
        EntryKind::HardLink { .. } => stack.content_of(found).map_or(0, |file| file.entry.size()),
        _ => found.entry.size(),
    }
}

/// Whatever a wish to stop broke off, it is the wish that counts.
fn unless_stopped(worker: &Worker<'_>, error: layer::Error) -> StepError {
    match (worker.environment.cancel.is_cancelled(), error) {
        (true, _) => StepError::Cancelled,
        (false, error) => StepError::LayOut(error),
    }
}
