//! Executes one step: key, look-up, and if the cache cannot answer, the work of its kind.

mod cache_mount;
mod copy;
mod devices;
mod digest;
mod draft;
mod look_up;
mod mounts;
mod room;
mod run;
mod tree;
mod user;
mod workdir;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use copy::CopyError;
pub use user::UserError;

use super::cache_key;
use super::driver::{Publication, Reporter, StepResult};
use super::environment::Environment;
use super::error::{SolveError, StepError};
use super::event::BuildEvent;
use super::layers::Layers;
use super::miss::MissReason;
use super::state::{LayerHandle, State};
use super::times::rfc3339;
use crate::fsio::Stoppable;
use crate::layer::{Layer, Privileges};
use crate::oci::{Digest, LayerSource};
use crate::plan::{Plan, StateRef, Step, StepId, StepKind, TreeSource};
use crate::store::{Lock, Places, StepRecord};
use look_up::{Looked, Missed, foreign_digests, look_up};

/// Time of files that a build makes itself where no epoch is given: 1980-01-01, the earliest that ZIP archives can
/// hold. The same for everybody, so that layers do not depend on when they were made.
const DEFAULT_MTIME: i64 = 315_532_800;

/// How often a lock that somebody else holds is asked for.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// What all steps of a solve share.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    plan: &'a Plan,
    environment: &'a Environment<'a>,
    layers: &'a Layers<'a>,
    /// Steps whose layer a RUN or a mount will need as a directory.
    wants_directory: Vec<bool>,
    /// The position of each step among those of its stage.
    positions: Vec<usize>,
    /// Names the Dockerfile and target.
    dockerfile: Digest,
    /// What was built where the last time.
    last: Places,
    /// What is built where this time.
    built: Mutex<BTreeMap<String, Digest>>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        environment: &'a Environment<'a>,
        layers: &'a Layers<'a>,
    ) -> Self {
        let dockerfile = Digest::of(&environment.place);
        Self {
            plan,
            environment,
            layers,
            // Without root there are no RUN steps, and nobody mounts anything.
            wants_directory: match environment.privileges {
                Privileges::Full => wants_directory(plan),
                _ => vec![false; plan.steps.len()],
            },
            positions: positions(plan),
            dockerfile,
            last: environment.store.places(dockerfile),
            built: Mutex::default(),
        }
    }

    fn built(&self, place: String, key: Digest) {
        self.built
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(place, key);
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
        loop {
            if let Some(lock) = self.environment.store.try_lock(kind, what)? {
                return Ok(lock);
            }
            self.go_on()?;
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// Keeps what was built where, so that later misses can be explained. Best effort: it serves explanations only.
    pub(super) fn remember_places(&self) {
        let mut places = self.last.clone();
        places.keys.extend(
            self.built
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        );
        if places != self.last {
            let _written = self.environment.store.put_places(self.dockerfile, &places);
        }
    }

    /// Time of files that the build makes itself.
    fn mtime(&self) -> i64 {
        self.environment.epoch.unwrap_or(DEFAULT_MTIME)
    }

    fn now(&self) -> String {
        rfc3339((self.environment.clock)())
    }
}

/// Counted once for all, since a file may have thousands of steps.
fn positions(plan: &Plan) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    let position = |step: &Step| {
        let count: &mut usize = counts.entry(step.stage).or_default();
        *count += 1;
        *count - 1
    };
    plan.steps.iter().map(position).collect()
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
    let missed = match look_up(worker, id, &inputs)? {
        Looked::Hit(hit) => return Ok(result(&inputs.below, hit.record, hit.remote, true)),
        Looked::Miss(missed) => missed,
    };
    let lock = worker.lock("step", missed.key)?;
    // Somebody else may have done it while we waited.
    if let Some(hit) = missed.again(worker, step) {
        return Ok(result(&inputs.below, hit.record, hit.remote, true));
    }
    worker.go_on()?;
    let reason = reason(worker, step, &missed);
    report.event(BuildEvent::Missed {
        id: report.id,
        reason: reason.to_string(),
    });
    let started = Instant::now();
    let made = match &step.kind {
        StepKind::Run(run) => run::execute(worker, run, &inputs, report),
        StepKind::Copy(copy) => copy::execute(worker, id, copy, &inputs),
        StepKind::Workdir(workdir) => workdir::execute(worker, id, workdir, &inputs),
    }?;
    let Missed {
        key,
        quick,
        place,
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
        ingredients: ingredients.into_map(),
    };
    worker
        .layers
        .remember(made.layer.diff_id, Arc::new(made.layer.toc));
    let publication = Publication {
        record: record.clone(),
        quick,
        lock: Some(lock),
    };
    if reads_context(step) && foreign_digests(worker, step, &inputs)? != foreign {
        // What was copied may be neither the old files nor the new ones: it must not be found under the key of either.
        let message = format!(
            "{}: files changed while they were read; the result is not kept in the cache",
            step.label
        );
        report.event(BuildEvent::Warning { message });
        return Ok(result(&inputs.below, record, None, false));
    }
    worker.built(place, key);
    // The publisher lives as long as there are workers.
    let _sent = publish.send(publication);
    Ok(result(&inputs.below, record, None, false))
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

    /// A state that the step takes files from.
    pub(super) fn state(&self, reference: StateRef) -> State {
        self.by_reference
            .get(&reference)
            .cloned()
            .unwrap_or_else(State::scratch)
    }
}

fn result(
    below: &State,
    record: StepRecord,
    remote: Option<LayerSource>,
    cached: bool,
) -> StepResult {
    let layer = Arc::new(LayerHandle {
        diff_id: record.diff_id,
        identity: record.content_id,
        bytes: record.bytes,
        remote,
    });
    StepResult {
        state: below.with(Arc::clone(&layer)),
        layer,
        created: record.created,
        cached,
    }
}

/// Whether a step takes files from a folder that anybody may write to.
fn reads_context(step: &Step) -> bool {
    let is_context = |source: &TreeSource| !matches!(source, TreeSource::State(_));
    cache_key::foreign_sources(step)
        .iter()
        .any(|(source, _)| is_context(source))
}

fn reason(worker: &Worker<'_>, step: &Step, missed: &Missed) -> MissReason {
    if step.no_cache {
        return MissReason::NoCache;
    }
    let store = worker.environment.store;
    let last = worker
        .last
        .keys
        .get(&missed.place)
        .and_then(|key| store.step_ingredients(*key));
    MissReason::between(last.as_ref(), &missed.ingredients)
}
