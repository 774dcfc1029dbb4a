//! Why a step is about to run, and the lists of files that will tell later which of them changed.

use std::sync::Arc;

use super::super::cache_key::{self, Foreign};
use super::super::error::StepError;
use super::super::miss::{Below, MissReason};
use super::super::state::LayerHandle;
use super::look_up::Missed;
use super::{Inputs, Worker, digest};
use crate::context::Listing;
use crate::oci::{Digest, Hasher};
use crate::plan::{CopySource, Step, StepId, TreeSource};
use crate::store::{StepRecord, Store};

/// Paths that are kept of each kind of change.
const KEPT_PATHS: usize = 200;

/// A list of what a step takes from a tree, and the name that the store keeps it under.
pub(super) struct Listed {
    name: Digest,
    listing: Listing,
}

/// Digests of all that a step takes from other trees, and the lists of it, as far as there are such.
pub(super) fn listed(
    worker: &Worker<'_>,
    step: &Step,
    inputs: &Inputs,
) -> Result<(Vec<Digest>, Vec<Listed>), StepError> {
    let (mut digests, mut lists) = (Vec::new(), Vec::new());
    for (source, foreign) in cache_key::foreign_sources(step) {
        let files = files(worker, &source, &foreign, inputs)?;
        digests.push(files.digest);
        if let Some(listing) = files.listing {
            let name = listing_name(&files.digest.to_string(), &sources(&foreign));
            lists.push(Listed { name, listing });
        }
    }
    Ok((digests, lists))
}

/// What a step takes from a tree, with the list of it.
fn files(
    worker: &Worker<'_>,
    source: &TreeSource,
    foreign: &Foreign<'_>,
    inputs: &Inputs,
) -> Result<digest::Files, StepError> {
    match foreign {
        Foreign::Copy(copy) => digest::of_copy(worker, source, copy, inputs, true),
        Foreign::Path(path) => digest::of_path(worker, source, path, inputs, true),
    }
}

/// Keeps lists. Best effort: they serve explanations only.
pub(super) fn keep(store: &Store, listings: &[Listed]) {
    for listed in listings {
        let _written = store.put_listing(listed.name, &listed.listing.encode());
    }
}

/// Paths in a list are those of the tree, and the same files may be found in several places of trees.
fn listing_name(files: &str, sources: &str) -> Digest {
    let mut hasher = Hasher::new("listing");
    hasher.field(files);
    hasher.field(sources);
    hasher.finish()
}

/// What is taken, as written.
fn sources(foreign: &Foreign<'_>) -> String {
    match foreign {
        Foreign::Copy(copy) => {
            let paths = copy.sources.iter().filter_map(|source| match source {
                CopySource::Path(path) => Some(path.clone()),
                CopySource::Remote { .. } | CopySource::Inline { .. } => None,
            });
            paths.collect::<Vec<_>>().join("\n")
        }
        Foreign::Path(path) => (*path).to_owned(),
    }
}

/// Why the cache could not answer a step.
pub(super) fn reason(
    worker: &Worker<'_>,
    id: StepId,
    inputs: &Inputs,
    missed: &Missed,
) -> MissReason {
    let step = worker.plan.step(id);
    if step.no_cache {
        return MissReason::NoCache;
    }
    let store = worker.environment.store;
    if let Some(record) = store.step_once(missed.key) {
        return gone(worker, record.diff_id);
    }
    let (before, plan) = (&worker.past, worker.plan);
    let old = match before.step(plan, id) {
        Some(old) if old.key == missed.key => return gone(worker, old.diff_id),
        Some(old) => match store.step_once(old.key) {
            Some(record) => record.ingredients,
            None => return MissReason::Forgotten,
        },
        None => match elsewhere(worker, id) {
            Some(record) => record.ingredients,
            None if before.is_empty() => return MissReason::FirstBuild,
            None if before.is_for_others(step) => {
                let platform = step.platform.to_string();
                return MissReason::OtherPlatform { platform };
            }
            None => return MissReason::NewInstruction,
        },
    };
    let below = || {
        let layers = inputs.below.layers();
        match before.step(plan, id) {
            Some(_) => before.below(plan, step, &layers, &worker.environment.bases),
            None => below_elsewhere(worker, step, &layers),
        }
    };
    let mut reason = MissReason::between(&old, &missed.ingredients, step, below);
    name_files(worker, step, inputs, &mut reason);
    reason
}

/// What others built at the same place, where nothing was built here.
fn elsewhere(worker: &Worker<'_>, id: StepId) -> Option<StepRecord> {
    let place = worker.past.portable_place(worker.plan, id);
    worker.environment.imported?.at_place(place)
}

/// What is different below a step from what others built there: the first difference from the bottom.
fn below_elsewhere(worker: &Worker<'_>, step: &Step, layers: &[Arc<LayerHandle>]) -> Below {
    let (_, steps) = worker.plan.chain(step.input);
    let of_steps = layers.len().saturating_sub(steps.len());
    let label = |id: StepId| worker.plan.step(id).label.clone();
    for (id, layer) in steps.into_iter().zip(&layers[of_steps..]) {
        match elsewhere(worker, id) {
            None => return Below::NewStep { label: label(id) },
            Some(theirs) if theirs.content_id != layer.identity => {
                return Below::Step { label: label(id) };
            }
            Some(_) => {}
        }
    }
    Below::Unknown
}

/// The same step was built, and its layer is not there.
fn gone(worker: &Worker<'_>, diff_id: Digest) -> MissReason {
    let now = (worker.environment.clock)();
    match worker.environment.store.evicted(diff_id) {
        Some(when) => MissReason::Evicted {
            seconds: now.duration_since(when).unwrap_or_default().as_secs(),
        },
        None => MissReason::Lost,
    }
}

/// Says which files changed, where it is known which there were. Only then is it looked which there are.
fn name_files(worker: &Worker<'_>, step: &Step, inputs: &Inputs, reason: &mut MissReason) {
    let foreign = cache_key::foreign_sources(step);
    for (position, change) in reason.files_mut() {
        let (Some(old), Some((source, foreign))) = (&change.old, foreign.get(position)) else {
            continue;
        };
        let name = listing_name(old, &sources(foreign));
        let before = worker.environment.store.listing(name);
        let Some(before) = before.and_then(|bytes| Listing::decode(&bytes)) else {
            continue;
        };
        // If they cannot be looked at now, the step itself will say so.
        let now = files(worker, source, foreign, inputs).ok();
        let now = now.and_then(|files| files.listing);
        let changes = now.and_then(|now| before.changes_to(&now, KEPT_PATHS));
        // The same list for another digest: what differs is not in lists.
        change.files = changes.filter(|changes| changes.files() + changes.directories > 0);
    }
}
