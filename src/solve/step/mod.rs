//! Executes one step: key, look-up, and if the cache cannot answer, the work of its kind.

mod cache_mount;
mod copy;
mod devices;
mod digest;
mod draft;
mod explain;
mod look_up;
mod mounts;
mod room;
mod rootfs;
mod run;
mod tree;
mod user;
mod workdir;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use copy::CopyError;
pub use user::UserError;

use super::cache_key;
use super::driver::{Reporter, StepResult};
use super::environment::Environment;
use super::error::{SolveError, StepError};
use super::event::BuildEvent;
use super::layers::Layers;
use super::miss::MissReason;
use super::past::Past;
use super::publisher::Publication;
use super::state::{LayerHandle, State};
use super::times::rfc3339;
use crate::fsio::Stoppable;
use crate::layer::Layer;
use crate::oci::Digest;
use crate::plan::{Plan, StateRef, Step, StepId, StepKind, TreeSource};
use crate::store::{Lock, StepRecord, StepResources, StoreError};
use look_up::{Hit, Looked, Missed, look_up};
use rootfs::Snapshots;

/// Time of files that a build makes itself where no epoch is given: 1980-01-01, the earliest that ZIP archives can
/// hold. The same for everybody, so that layers do not depend on when they were made.
const DEFAULT_MTIME: i64 = 315_532_800;

/// What all steps of a solve share.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    plan: &'a Plan,
    environment: &'a Environment<'a>,
    layers: &'a Layers<'a>,
    /// Steps whose layer a RUN or a mount will need as a directory.
    wants_directory: Vec<bool>,
    has_told_footing: AtomicBool,
    /// How root file systems are made.
    snapshots: Snapshots,
    /// What was built the last time.
    past: Past,
    /// Microseconds that went into keys and look-ups.
    cost: AtomicU64,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        environment: &'a Environment<'a>,
        layers: &'a Layers<'a>,
    ) -> Self {
        let places = environment
            .store
            .places(environment.subject.of_dockerfile());
        Self {
            plan,
            environment,
            layers,
            // Where no RUN can run, nobody mounts anything.
            wants_directory: match environment.footing.rung() {
                Ok(_) => wants_directory(plan),
                Err(_) => vec![false; plan.steps.len()],
            },
            has_told_footing: AtomicBool::new(false),
            snapshots: Snapshots::new(environment.run.snapshotter, environment.footing),
            past: Past::new(places),
            cost: AtomicU64::default(),
        }
    }

    pub(super) fn step(&self, id: StepId) -> &'a Step {
        self.plan.step(id)
    }

    /// Whether no step asked before: the first that runs tells how.
    fn is_first_to_run(&self) -> bool {
        !self.has_told_footing.swap(true, Ordering::Relaxed)
    }

    /// What was built the last time.
    pub(super) fn past(&self) -> &Past {
        &self.past
    }

    /// Does work that there would not be without a cache.
    fn at_cost<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.cost.fetch_add(micros, Ordering::Relaxed);
        result
    }

    /// What keys and look-ups took so far.
    pub(super) fn cost(&self) -> Duration {
        Duration::from_micros(self.cost.load(Ordering::Relaxed))
    }

    /// Fails once the build is stopped.
    fn go_on(&self) -> Result<(), StepError> {
        match self.environment.cancel.is_cancelled() {
            true => Err(StepError::Cancelled),
            false => Ok(()),
        }
    }

    /// A reader or writer that ends once the build is stopped.
    fn stoppable<T>(&self, inner: T) -> Stoppable<T, impl Fn() -> bool + use<'a, T>> {
        let environment = self.environment;
        Stoppable::new(inner, move || environment.cancel.is_cancelled())
    }

    /// Waits for a lock of the store, unless the build is stopped.
    fn lock(&self, kind: &str, what: Digest) -> Result<Lock, StepError> {
        let environment = self.environment;
        let is_stopped = || environment.cancel.is_cancelled();
        let lock = environment.store.lock_unless(kind, what, is_stopped);
        lock.map_err(|error| match error {
            StoreError::Stopped => StepError::Cancelled,
            error => error.into(),
        })
    }

    /// Time of files that the build makes itself.
    fn mtime(&self) -> i64 {
        self.environment.epoch.unwrap_or(DEFAULT_MTIME)
    }

    fn now(&self) -> String {
        rfc3339((self.environment.clock)())
    }
}

/// The graph says in advance who needs what: layers below a RUN have to be directories, others need not.
fn wants_directory(plan: &Plan) -> Vec<bool> {
    let mut wanted = vec![false; plan.steps.len()];
    // Inputs come first, so going backwards marks whole chains.
    for (index, step) in plan.steps.iter().enumerate().rev() {
        let needed = match &step.kind {
            StepKind::Run(_) => step.inputs(),
            _ if wanted[index] => vec![step.input],
            _ => Vec::new(),
        };
        for state in needed {
            if let StateRef::Step(id) = state {
                wanted[id.0] = true;
            }
        }
    }
    wanted
}

/// Empties the cache mounts of all steps that the cache must not answer, before the first of them runs.
pub(super) fn empty_cache_mounts(worker: &Worker<'_>) -> Result<(), SolveError> {
    for step in worker.plan.steps.iter().filter(|step| step.no_cache) {
        cache_mount::empty(worker, step).map_err(|source| SolveError {
            label: step.label.clone(),
            span: step.span,
            source,
        })?;
    }
    Ok(())
}

/// What the work of a step made.
struct Made {
    layer: Layer,
    /// What the command used, of a step with one.
    resources: Option<StepResources>,
}

/// Runs a step or finds its result. `states` are its inputs, in the order of [`Step::inputs`].
pub(super) fn execute(
    worker: &Worker<'_>,
    id: StepId,
    states: Vec<State>,
    report: &Reporter,
    publish: &std::sync::mpsc::Sender<Publication>,
) -> Result<StepResult, StepError> {
    let result = attempt(worker, id, states, report, publish);
    // Whatever broke off, it is the wish to stop that counts.
    result.or_else(|error| worker.go_on().and(Err(error)))
}

fn attempt(
    worker: &Worker<'_>,
    id: StepId,
    states: Vec<State>,
    report: &Reporter,
    publish: &std::sync::mpsc::Sender<Publication>,
) -> Result<StepResult, StepError> {
    let step = worker.plan.step(id);
    let inputs = Inputs::new(step, states);
    let missed = match worker.at_cost(|| look_up(worker, id, &inputs))? {
        Looked::Hit(hit) => return Ok(filed(worker, &inputs.below, *hit, publish)),
        Looked::Miss(missed) => missed,
    };
    let lock = worker.lock("step", missed.key)?;
    // Somebody else may have done it while we waited.
    if let Some(hit) = missed.again(worker, step) {
        return Ok(filed(worker, &inputs.below, hit, publish));
    }
    worker.go_on()?;
    let reason = worker.at_cost(|| explain::reason(worker, id, &inputs, &missed));
    report.missed(id, reason, missed.ingredients.as_map());
    let started = Instant::now();
    let made = match &step.kind {
        StepKind::Run(run) => run::execute(worker, (run, &step.platform), &inputs, report),
        StepKind::Copy(copy) => copy::execute(worker, id, copy, &inputs),
        StepKind::Workdir(workdir) => workdir::execute(worker, id, workdir, &inputs),
    }?;
    let Missed {
        key,
        quick,
        ingredients,
        foreign,
    } = missed;
    let record = StepRecord {
        key,
        diff_id: made.layer.diff_id,
        content_id: made.layer.toc.content_id(),
        bytes: made.layer.toc.content_size(),
        created: worker.now(),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        place: worker.past.portable_place(worker.plan, id).to_owned(),
        resources: made.resources,
        ingredients: ingredients.into_map(),
    };
    worker
        .layers
        .remember(made.layer.diff_id, Arc::new(made.layer.toc));
    let result = made_now(&inputs.below, &record, quick);
    let (taken, lists) = worker.at_cost(|| explain::listed(worker, step, &inputs))?;
    if reads_context(step) && taken != foreign {
        // What was copied may be neither the old files nor the new ones: it must not be found under the key of either.
        let message = format!(
            "{}: files changed while they were read; the result is not kept in the cache",
            step.label
        );
        report.event(BuildEvent::Warning { message });
        return Ok(StepResult {
            key: None,
            ..result
        });
    }
    worker.at_cost(|| explain::keep(worker.environment.store, &lists));
    let publication = Publication {
        record,
        quick,
        lock: Some(lock),
    };
    // The publisher lives as long as there are workers.
    let _sent = publish.send(publication);
    Ok(result)
}

/// A result that was there. What others built is filed here too, so that it is found without them once its layer is here.
fn filed(
    worker: &Worker<'_>,
    below: &State,
    hit: Hit,
    publish: &std::sync::mpsc::Sender<Publication>,
) -> StepResult {
    let store = worker.environment.store;
    let is_new = || store.step_once(hit.record.key).as_ref() != Some(&hit.record);
    if hit.remote.is_some() && is_new() {
        let _sent = publish.send(Publication {
            record: hit.record.clone(),
            quick: hit.quick,
            lock: None,
        });
    }
    found(below, hit)
}

/// What the cache says of a step.
pub(super) enum Foreseen {
    /// It has the result.
    Cached(StepResult),
    /// It has not.
    Runs(MissReason),
    /// It takes files of layers that are not here yet, and that would have to be fetched to know.
    Elsewhere,
}

/// Looks for the result of a step, and runs nothing. `states` are its inputs, in the order of [`Step::inputs`].
pub(super) fn foresee(
    worker: &Worker<'_>,
    id: StepId,
    states: Vec<State>,
) -> Result<Foreseen, StepError> {
    let step = worker.plan.step(id);
    let inputs = Inputs::new(step, states);
    if let Some(hit) = look_up::by_inputs(worker, step, &inputs) {
        return Ok(Foreseen::Cached(found(&inputs.below, hit)));
    }
    if !inputs.are_here(worker, step) {
        return Ok(Foreseen::Elsewhere);
    }
    Ok(match look_up(worker, id, &inputs)? {
        Looked::Hit(hit) => Foreseen::Cached(found(&inputs.below, *hit)),
        Looked::Miss(missed) => Foreseen::Runs(explain::reason(worker, id, &inputs, &missed)),
    })
}

/// The states a step reads.
pub(super) struct Inputs {
    /// What it stands on.
    pub(super) below: State,
    by_reference: BTreeMap<StateRef, State>,
}

impl Inputs {
    fn new(step: &Step, states: Vec<State>) -> Self {
        let by_reference: BTreeMap<StateRef, State> =
            step.inputs().into_iter().zip(states).collect();
        let below = by_reference
            .get(&step.input)
            .cloned()
            .unwrap_or_else(State::scratch);
        Self {
            below,
            by_reference,
        }
    }

    /// Whether all that the step takes files from is in the store.
    fn are_here(&self, worker: &Worker<'_>, step: &Step) -> bool {
        let store = worker.environment.store;
        let is_here = |state: State| state.layers().iter().all(|l| store.has_layer(l.diff_id));
        cache_key::foreign_sources(step)
            .iter()
            .all(|(source, _)| match source {
                TreeSource::State(reference) => is_here(self.state(*reference)),
                TreeSource::Context | TreeSource::NamedContext(_) => true,
            })
    }

    /// A state that the step takes files from.
    pub(super) fn state(&self, reference: StateRef) -> State {
        self.by_reference
            .get(&reference)
            .cloned()
            .unwrap_or_else(State::scratch)
    }
}

/// A result that the cache had.
fn found(below: &State, hit: Hit) -> StepResult {
    let layer = LayerHandle {
        remote: hit.remote,
        ..layer(&hit.record)
    };
    StepResult {
        cached: true,
        imported: layer.remote.is_some(),
        ..result(below, &hit.record, hit.quick, layer)
    }
}

fn made_now(below: &State, record: &StepRecord, quick: Option<Digest>) -> StepResult {
    result(below, record, quick, layer(record))
}

fn layer(record: &StepRecord) -> LayerHandle {
    LayerHandle {
        diff_id: record.diff_id,
        identity: record.content_id,
        bytes: record.bytes,
        remote: None,
    }
}

fn result(
    below: &State,
    record: &StepRecord,
    quick: Option<Digest>,
    layer: LayerHandle,
) -> StepResult {
    let layer = Arc::new(layer);
    StepResult {
        state: below.with(Arc::clone(&layer)),
        layer,
        created: record.created.clone(),
        cached: false,
        imported: false,
        key: Some(record.key),
        quick,
        took: Duration::from_millis(record.millis),
    }
}

/// Whether a step takes files from a folder that anybody may write to.
fn reads_context(step: &Step) -> bool {
    let is_context = |source: &TreeSource| !matches!(source, TreeSource::State(_));
    cache_key::foreign_sources(step)
        .iter()
        .any(|(source, _)| is_context(source))
}
