//! Why a step is about to run, and the lists of files that will tell later which of them changed.

use std::collections::BTreeMap;

use super::super::cache_key::{self, Foreign};
use super::super::error::StepError;
use super::super::miss::MissReason;
use super::look_up::Missed;
use super::{Inputs, Worker, digest};
use crate::context::Listing;
use crate::oci::{Digest, Hasher};
use crate::plan::{CopySource, StepId};
use crate::store::Store;

/// Paths that are kept of each kind of change.
const KEPT_PATHS: usize = 200;

/// A list of what a step takes from a tree, and the name that the store keeps it under.
pub(super) struct Listed {
    /// Which of the step's trees.
    position: usize,
    name: Digest,
    listing: Listing,
}

/// The lists of all that a step takes from other trees, as far as there are such.
pub(super) fn listings(
    worker: &Worker<'_>,
    id: StepId,
    inputs: &Inputs,
) -> Result<Vec<Listed>, StepError> {
    let mut all = Vec::new();
    let step = worker.plan.step(id);
    for (position, (source, foreign)) in cache_key::foreign_sources(step).into_iter().enumerate() {
        let files = match foreign {
            Foreign::Copy(copy) => digest::of_copy(worker, &source, copy, inputs, true)?,
            Foreign::Path(path) => digest::of_path(worker, &source, path, inputs, true)?,
        };
        if let Some(listing) = files.listing {
            let name = listing_name(&files.digest.to_string(), &sources(&foreign));
            all.push(Listed {
                position,
                name,
                listing,
            });
        }
    }
    Ok(all)
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
    listings: &[Listed],
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
        None => match elsewhere(worker, before.portable_place(plan, id)) {
            Some(ingredients) => ingredients,
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
        before.below(plan, step, &layers, &worker.environment.bases)
    };
    let mut reason = MissReason::between(&old, &missed.ingredients, step, below);
    name_files(worker, id, &mut reason, listings);
    reason
}

/// What others built at the same place, where nothing was built here.
fn elsewhere(worker: &Worker<'_>, place: &str) -> Option<BTreeMap<String, String>> {
    let record = worker.environment.imported?.at_place(place)?;
    Some(record.ingredients)
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

/// Says which files changed, where that is known.
fn name_files(worker: &Worker<'_>, id: StepId, reason: &mut MissReason, listings: &[Listed]) {
    let foreign = cache_key::foreign_sources(worker.plan.step(id));
    for (position, change) in reason.files_mut() {
        let listed = listings.iter().find(|listed| listed.position == position);
        let (Some(listed), Some(old), Some((_, foreign))) =
            (listed, &change.old, foreign.get(position))
        else {
            continue;
        };
        let before = worker
            .environment
            .store
            .listing(listing_name(old, &sources(foreign)));
        let before = before.and_then(|bytes| Listing::decode(&bytes));
        let changes = before.and_then(|before| before.changes_to(&listed.listing, KEPT_PATHS));
        // The same list for another digest: what differs is not in lists.
        change.files = changes.filter(|changes| changes.files() + changes.directories > 0);
    }
}
