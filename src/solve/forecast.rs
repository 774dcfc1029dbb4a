//! What a solve of a plan would do: which steps the cache has, which would run and why. Nothing is run or locked.
//!
//! What a step finds below it is known only if the cache has everything below. So a forecast of a step that stands on one
//! that runs is open: it may turn out that nothing changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::cache_key;
use super::environment::Environment;
use super::error::{SolveError, StepError};
use super::layers::Layers;
use super::miss::MissReason;
use super::state::State;
use super::step::{self, Foreseen, Worker};
use crate::plan::{Plan, StateRef, StepId};

/// What would become of each step of a plan.
#[derive(Clone, Debug)]
pub struct Forecast {
    fates: Vec<Fate>,
}

/// What would become of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The cache has it.
    Cached {
        /// How long it took when it ran.
        took: Duration,
        /// Whether only an imported cache has it.
        imported: bool,
    },
    /// It would run.
    Runs {
        /// Why.
        reason: MissReason,
    },
    /// It stands on what is not known yet: it runs unless that turns out as it was.
    MayRun {
        /// The steps that have to run first to know; none where files of an image are not on this machine yet.
        after: Vec<StepId>,
    },
}

impl Forecast {
    /// With the fate of each step.
    #[must_use]
    pub fn new(fates: Vec<Fate>) -> Self {
        Self { fates }
    }

    /// What would become of a step.
    #[must_use]
    pub fn fate(&self, step: StepId) -> &Fate {
        &self.fates[step.0]
    }

    /// Numbers of steps that the cache has, that would run, and that may run.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |is_it: fn(&Fate) -> bool| self.fates.iter().filter(|fate| is_it(fate)).count();
        (
            count(|fate| matches!(fate, Fate::Cached { .. })),
            count(|fate| matches!(fate, Fate::Runs { .. })),
            count(|fate| matches!(fate, Fate::MayRun { .. })),
        )
    }
}

/// Foresees what a solve would do. Contexts are looked at as by a solve, and what is learned of their files is kept.
///
/// # Errors
/// A step that would fail before it runs, because of what it takes.
pub fn forecast(plan: &Plan, environment: &Environment<'_>) -> Result<Forecast, SolveError> {
    let layers = Layers::new(
        environment.store,
        environment.privileges,
        environment.cancel.clone(),
    );
    let worker = Worker::new(plan, environment, &layers);
    let bases = environment.bases.iter().map(|base| State::of_base(base));
    let mut known = Known {
        bases: bases.collect(),
        steps: Vec::with_capacity(plan.steps.len()),
    };
    let mut fates = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        let foreseen = one(&worker, StepId(index), &known);
        let (fate, left) = foreseen.map_err(|source| SolveError {
            label: step.label.clone(),
            span: step.span,
            source,
        })?;
        fates.push(fate);
        known.steps.push(left);
    }
    for tree in environment
        .context
        .iter()
        .chain(environment.named_contexts.values())
    {
        // It only saves time.
        let _written = tree.index.save(&tree.index_path);
    }
    Ok(Forecast::new(fates))
}

/// What a step leaves, or which steps have to run to know it.
type Left = Result<State, Vec<StepId>>;

/// The states that are known.
struct Known {
    bases: Vec<State>,
    steps: Vec<Left>,
}

impl Known {
    fn state(&self, state: StateRef) -> Left {
        match state {
            StateRef::Scratch => Ok(State::scratch()),
            StateRef::Base(base) => self.bases.get(base.0).cloned().ok_or_else(Vec::new),
            StateRef::Step(step) => self.steps[step.0].clone(),
        }
    }
}

/// The fate of a step, and what it leaves.
fn one(worker: &Worker<'_>, id: StepId, known: &Known) -> Result<(Fate, Left), StepError> {
    let step = worker.step(id);
    let inputs: Vec<Left> = step.inputs().into_iter().map(|s| known.state(s)).collect();
    let below = inputs[0].clone();
    let runs = |reason| {
        let mut unknown = below.clone().err().unwrap_or_default();
        unknown.push(id);
        (Fate::Runs { reason }, Err(unknown))
    };
    if step.no_cache {
        return Ok(runs(MissReason::NoCache));
    }
    // What is below a step that stands on nothing says nothing about its key.
    let needed = &inputs[usize::from(!cache_key::depends_on_input(step))..];
    let unknown = needed.iter().filter_map(|left| left.as_ref().err());
    let after: BTreeSet<StepId> = unknown.flatten().copied().collect();
    if !after.is_empty() {
        let after: Vec<StepId> = after.into_iter().collect();
        let left = Err(after.clone());
        return Ok((Fate::MayRun { after }, left));
    }
    let states = inputs.into_iter();
    let states = states.map(|left| left.unwrap_or_else(|_| State::scratch()));
    Ok(match step::foresee(worker, id, states.collect())? {
        Foreseen::Cached(result) => {
            let fate = Fate::Cached {
                took: result.took,
                imported: result.imported,
            };
            (fate, below.map(|_| result.state))
        }
        Foreseen::Runs(reason) => runs(reason),
        Foreseen::Elsewhere => (Fate::MayRun { after: Vec::new() }, Err(vec![id])),
    })
}
