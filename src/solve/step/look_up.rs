//! What the cache says of a step: its result, or what it would take to look for it again. Nothing is run or locked here.

use super::super::cache_key::{self, Foreign, Ingredients};
use super::super::error::StepError;
use super::{Inputs, Worker, digest};
use crate::oci::{Digest, Hasher, LayerSource};
use crate::plan::{Step, StepId, TreeSource};
use crate::store::StepRecord;

/// The answer of the cache.
pub(super) enum Looked {
    /// It has the result.
    Hit(Box<Hit>),
    /// It does not.
    Miss(Missed),
}

/// A result that somebody made before.
pub(super) struct Hit {
    pub(super) record: StepRecord,
    /// Who has the layer, if the store may not.
    pub(super) remote: Option<LayerSource>,
    /// A cheaper key that leads to the same record.
    pub(super) quick: Option<Digest>,
}

/// A step whose result is not known.
pub(super) struct Missed {
    pub(super) key: Digest,
    pub(super) quick: Option<Digest>,
    pub(super) ingredients: Ingredients,
    /// Digests of what it takes from other trees.
    pub(super) foreign: Vec<Digest>,
}

/// Looks for the result of a step: first by what it stands on, then by what is in the files it takes.
pub(super) fn look_up(
    worker: &Worker<'_>,
    id: StepId,
    inputs: &Inputs,
) -> Result<Looked, StepError> {
    let step = worker.plan.step(id);
    let store = worker.environment.store;
    let quick = quick_key(step, inputs, worker.environment.epoch);
    if !step.no_cache
        && let Some(hit) = quick.and_then(|quick| by_quick_key(worker, quick))
    {
        return Ok(Looked::Hit(Box::new(Hit { quick, ..hit })));
    }
    let foreign = foreign_digests(worker, step, inputs)?;
    let ingredients = cache_key::ingredients(
        step,
        inputs.below.identity,
        &foreign,
        worker.environment.epoch,
    );
    let missed = Missed {
        key: ingredients.key(),
        quick,
        ingredients,
        foreign,
    };
    let Some(hit) = missed.again(worker, step) else {
        return Ok(Looked::Miss(missed));
    };
    if let Some(quick) = quick {
        // Best effort: it only saves time.
        let _written = store.put_alias(quick, missed.key);
    }
    Ok(Looked::Hit(Box::new(hit)))
}

impl Missed {
    /// Looks once more, by the key that is known now.
    pub(super) fn again(&self, worker: &Worker<'_>, step: &Step) -> Option<Hit> {
        if step.no_cache {
            return None;
        }
        let quick = self.quick;
        by_key(worker, self.key).map(|hit| Hit { quick, ..hit })
    }
}

/// Looks for the result of a step by what it stands on alone.
pub(super) fn by_inputs(worker: &Worker<'_>, step: &Step, inputs: &Inputs) -> Option<Hit> {
    let quick = quick_key(step, inputs, worker.environment.epoch);
    quick
        .filter(|_| !step.no_cache)
        .and_then(|quick| by_quick_key(worker, quick))
}

fn by_quick_key(worker: &Worker<'_>, quick: Digest) -> Option<Hit> {
    let imported = || worker.environment.imported?.alias(quick);
    let key = worker.environment.store.alias(quick).or_else(imported)?;
    by_key(worker, key)
}

/// What was built here comes before what others built.
fn by_key(worker: &Worker<'_>, key: Digest) -> Option<Hit> {
    if let Some(record) = worker.environment.store.step(key) {
        return Some(Hit {
            record,
            remote: None,
            quick: None,
        });
    }
    let (record, remote) = worker.environment.imported?.step(key)?;
    Some(Hit {
        record,
        remote: Some(remote),
        quick: None,
    })
}

/// For a step that takes files from other states only: a key over the identities of those states, which are known
/// without looking at any file. Where it leads nowhere, the content decides.
fn quick_key(step: &Step, inputs: &Inputs, epoch: Option<i64>) -> Option<Digest> {
    let sources = cache_key::foreign_sources(step);
    if sources.is_empty() {
        return None;
    }
    let identities: Option<Vec<Digest>> = sources
        .iter()
        .map(|(source, _)| match source {
            TreeSource::State(reference) => Some(inputs.state(*reference).identity),
            TreeSource::Context | TreeSource::NamedContext(_) => None,
        })
        .collect();
    let ingredients = cache_key::ingredients(step, inputs.below.identity, &identities?, epoch);
    let mut hasher = Hasher::new("quick key");
    hasher.field(ingredients.key().as_bytes());
    Some(hasher.finish())
}

/// Digests of all that a step takes from other trees than its input.
fn foreign_digests(
    worker: &Worker<'_>,
    step: &Step,
    inputs: &Inputs,
) -> Result<Vec<Digest>, StepError> {
    let mut digests = Vec::new();
    for (source, foreign) in cache_key::foreign_sources(step) {
        digests.push(match foreign {
            Foreign::Copy(copy) => digest::of_copy(worker, &source, copy, inputs, false)?.digest,
            Foreign::Path(path) => digest::of_path(worker, &source, path, inputs, false)?.digest,
        });
    }
    Ok(digests)
}
