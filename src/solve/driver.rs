//! Runs a plan: worker threads execute steps, one coordinator decides what is next and emits every event.
//!
//! Threads send a closed set of [`Message`]s; only the coordinator touches the queue and the sink, so nothing here needs
//! a lock. A step is started when its inputs have run and fewer than `jobs` steps are running. The first failure
//! cancels the rest and is the one reported. Records are filed by a thread of their own, and a step that
//! depends on another one does not wait for the disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::account::Account;
use super::environment::Environment;
use super::error::{SolveError, StepError};
use super::event::{BuildEvent, EventSink, Outcome, VertexId};
use super::journal::{self, Journal};
use super::layers::Layers;
use super::miss::MissReason;
use super::publisher::{Publication, publish_all};
use super::queue::Queue;
use super::state::{LayerHandle, State};
use super::step::{self, Worker};
use crate::oci::Digest;
use crate::plan::{Plan, StateRef, Step, StepId, StepKind};
use crate::sandbox::{Cancel, SandboxError};

/// What came of a step.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// The state it leaves.
    pub state: State,
    /// The layer it made.
    pub layer: Arc<LayerHandle>,
    /// When the layer was made, RFC 3339.
    pub created: String,
    /// Whether the cache had it.
    pub cached: bool,
    /// Whether an imported cache had it and the store had not.
    pub imported: bool,
    /// Its key; none if it is not kept under one.
    pub key: Option<Digest>,
    /// A cheaper key that leads to the same record.
    pub quick: Option<Digest>,
    /// How long it took when it ran.
    pub took: Duration,
}

/// What came of a plan.
#[derive(Clone, Debug)]
pub struct Solution {
    bases: Vec<State>,
    steps: Vec<StepResult>,
    account: Account,
}

impl Solution {
    /// What the cache saved and cost.
    #[must_use]
    pub fn account(&self) -> Account {
        self.account
    }

    fn with_cost(mut self, cost: Duration) -> Self {
        self.account += Account::costing(cost);
        self
    }

    /// The layers of a state.
    #[must_use]
    pub fn state(&self, state: StateRef) -> State {
        match state {
            StateRef::Scratch => State::scratch(),
            StateRef::Base(base) => self.bases[base.0].clone(),
            StateRef::Step(step) => self.steps[step.0].state.clone(),
        }
    }

    /// What came of a step.
    #[must_use]
    pub fn step(&self, step: StepId) -> &StepResult {
        &self.steps[step.0]
    }
}

/// What a worker tells the coordinator.
#[derive(Debug)]
pub(super) enum Message {
    /// Something to show.
    Event(BuildEvent),
    /// A step runs because the cache could not answer it.
    Missed {
        step: StepId,
        id: VertexId,
        reason: Box<MissReason>,
        ingredients: BTreeMap<String, String>,
    },
    /// A step ended.
    Ended {
        step: StepId,
        id: VertexId,
        millis: u64,
        result: Box<Result<StepResult, StepError>>,
    },
}

/// Runs every step of a plan.
///
/// # Errors
/// The first step that failed.
pub fn solve(
    plan: &Plan,
    environment: &Environment<'_>,
    sink: &mut dyn EventSink,
    first_vertex: u32,
) -> Result<Solution, SolveError> {
    let cancel = environment.cancel.clone();
    let layers = Layers::new(environment.store, environment.privileges, cancel);
    let bases: Vec<State> = environment
        .bases
        .iter()
        .map(|base| State::of_base(base))
        .collect();
    let worker = Worker::new(plan, environment, &layers);
    try_limits(plan, environment)?;
    step::empty_cache_mounts(&worker)?;
    let mut coordinator = Coordinator::new(plan, environment, bases, sink, first_vertex);
    let mut result = std::thread::scope(|scope| {
        let (publish, records) = channel();
        let publisher = scope.spawn(move || publish_all(environment.store, &records));
        let result = coordinator.run(scope, &worker, &publish);
        drop(publish);
        // What could not be written is only missing from the cache; the build itself has its layers.
        let (filed, cost) = publisher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let interrupted =
            matches!(&result, Err(error) if matches!(error.source, StepError::Cancelled));
        let settled = filed.and_then(|()| match interrupted {
            // Whoever builds next waits for the disk instead, if there is still something to wait for.
            true => Ok(()),
            false => environment.store.settle(&coordinator.layers()),
        });
        if let Err(error) = settled {
            coordinator.warn(format!("the cache could not be written: {error}"));
        }
        result.map(|solution| solution.with_cost(cost))
    });
    let Coordinator {
        journal, results, ..
    } = coordinator;
    let keeping = Instant::now();
    journal.keep(plan, environment, worker.past(), &results);
    save_indexes(environment, sink);
    if let Ok(solution) = &mut result {
        solution.account += journal::saved(&results);
        solution.account += Account::costing(worker.cost() + keeping.elapsed());
    }
    result
}

/// Fails if there are steps to be limited and this machine cannot.
fn try_limits(plan: &Plan, environment: &Environment<'_>) -> Result<(), SolveError> {
    let limits = &environment.run.limits;
    let runs = |step: &&Step| matches!(step.kind, StepKind::Run(_));
    match plan.steps.iter().find(runs) {
        Some(step) if !limits.is_empty() => {
            let tried = environment.runner.try_limits(limits);
            tried.map_err(|source| SolveError {
                label: step.label.clone(),
                span: step.span,
                source: StepError::Limits(source),
            })
        }
        _ => Ok(()),
    }
}

fn save_indexes(environment: &Environment<'_>, sink: &mut dyn EventSink) {
    for tree in environment
        .context
        .iter()
        .chain(environment.named_contexts.values())
    {
        if let Err(error) = tree.index.save(&tree.index_path) {
            sink.emit(BuildEvent::Warning {
                message: format!("the index of the context could not be written: {error}"),
            });
        }
    }
}

struct Coordinator<'p, 's> {
    plan: &'p Plan,
    jobs: usize,
    cancel: Cancel,
    queue: Queue,
    bases: Vec<State>,
    results: Vec<Option<StepResult>>,
    sink: &'s mut dyn EventSink,
    next_vertex: u32,
    running: usize,
    failure: Option<SolveError>,
    journal: Journal,
}

impl<'p, 's> Coordinator<'p, 's> {
    fn new(
        plan: &'p Plan,
        environment: &Environment<'_>,
        bases: Vec<State>,
        sink: &'s mut dyn EventSink,
        first_vertex: u32,
    ) -> Self {
        Self {
            plan,
            jobs: environment.jobs.max(1),
            cancel: environment.cancel.clone(),
            queue: Queue::new(&plan.steps),
            bases,
            results: vec![None; plan.steps.len()],
            sink,
            next_vertex: first_vertex,
            running: 0,
            failure: None,
            journal: Journal::new(plan),
        }
    }

    fn run<'scope, 'env: 'scope>(
        &mut self,
        scope: &'scope std::thread::Scope<'scope, 'env>,
        worker: &'env Worker<'env>,
        publish: &Sender<Publication>,
    ) -> Result<Solution, SolveError> {
        let (send, receive) = channel();
        while !self.queue.is_finished() {
            self.start_ready(scope, worker, &send, publish);
            if self.running == 0 {
                break;
            }
            self.take_message(&receive);
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None if self.queue.is_finished() => Ok(Solution {
                bases: self.bases.clone(),
                steps: self.results.iter().flatten().cloned().collect(),
                account: Account::default(),
            }),
            // Only an interrupt before the first step gets here.
            None => Err(SolveError {
                label: String::new(),
                span: crate::source::Span::default(),
                source: StepError::Cancelled,
            }),
        }
    }

    fn start_ready<'scope, 'env: 'scope>(
        &mut self,
        scope: &'scope std::thread::Scope<'scope, 'env>,
        worker: &'env Worker<'env>,
        send: &Sender<Message>,
        publish: &Sender<Publication>,
    ) {
        while self.running < self.jobs && self.failure.is_none() && !self.cancel.is_cancelled() {
            let Some(step) = self.queue.take() else {
                return;
            };
            let id = VertexId(self.next_vertex);
            self.next_vertex += 1;
            self.journal.began(step, id);
            self.sink.emit(BuildEvent::Started {
                id,
                name: self.plan.step(step).label.clone(),
            });
            self.running += 1;
            let states = self
                .plan
                .step(step)
                .inputs()
                .into_iter()
                .map(|state| self.state(state))
                .collect();
            let report = Reporter {
                send: send.clone(),
                id,
            };
            let publish = publish.clone();
            scope.spawn(move || {
                let started = Instant::now();
                let result = step::execute(worker, step, states, &report, &publish);
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                report.tell(Message::Ended {
                    step,
                    id,
                    millis,
                    result: Box::new(result),
                });
            });
        }
    }

    fn state(&self, state: StateRef) -> State {
        match state {
            StateRef::Scratch => State::scratch(),
            StateRef::Base(base) => self.bases[base.0].clone(),
            // The queue gives a step out only after its inputs.
            StateRef::Step(step) => match &self.results[step.0] {
                Some(result) => result.state.clone(),
                None => State::scratch(),
            },
        }
    }

    fn take_message(&mut self, receive: &Receiver<Message>) {
        match receive.recv() {
            Ok(Message::Event(event)) => self.sink.emit(event),
            Ok(Message::Missed {
                step,
                id,
                reason,
                ingredients,
            }) => {
                let line = reason.to_string();
                self.sink.emit(BuildEvent::Missed { id, reason: line });
                self.journal.missed(step, *reason, ingredients);
            }
            Ok(Message::Ended {
                step,
                id,
                millis,
                result,
            }) => {
                self.running -= 1;
                match *result {
                    Ok(result) => {
                        let outcome = if result.cached {
                            Outcome::Cached
                        } else {
                            Outcome::Done
                        };
                        self.sink.emit(BuildEvent::Finished {
                            id,
                            outcome,
                            millis,
                        });
                        self.results[step.0] = Some(result);
                        self.journal.done(step);
                        self.queue.finish(step);
                    }
                    Err(error) => self.fail(step, id, millis, error),
                }
            }
            // Every worker holds a sender, and one is running.
            Err(_) => self.running = 0,
        }
    }

    fn fail(&mut self, step: StepId, id: VertexId, millis: u64, error: StepError) {
        let stopped = matches!(
            error,
            StepError::Cancelled
                | StepError::Sandbox {
                    source: SandboxError::Cancelled,
                    ..
                }
        );
        let message = (!stopped).then(|| crate::fsio::with_causes(&error));
        let took = Duration::from_millis(millis);
        self.journal.failed(step, message.as_deref(), took);
        self.sink.emit(match message {
            None => BuildEvent::Cancelled { id },
            Some(message) => BuildEvent::Failed {
                id,
                message,
                millis,
            },
        });
        self.cancel.cancel();
        let replaces = self
            .failure
            .as_ref()
            .is_none_or(|f| matches!(f.source, StepError::Cancelled) && !stopped);
        if replaces {
            let planned = self.plan.step(step);
            let source = if stopped { StepError::Cancelled } else { error };
            self.failure = Some(SolveError {
                label: planned.label.clone(),
                span: planned.span,
                source,
            });
        }
    }

    /// Every layer that is there now.
    fn layers(&self) -> Vec<Digest> {
        let bases = self.bases.iter().flat_map(State::layers);
        let bases = bases.map(|layer| layer.diff_id);
        bases
            .chain(
                self.results
                    .iter()
                    .flatten()
                    .map(|result| result.layer.diff_id),
            )
            .collect()
    }

    fn warn(&mut self, message: String) {
        self.sink.emit(BuildEvent::Warning { message });
    }
}

/// How a worker reports on its step.
#[derive(Debug)]
pub(super) struct Reporter {
    send: Sender<Message>,
    pub(super) id: VertexId,
}

impl Reporter {
    fn tell(&self, message: Message) {
        // The coordinator outlives its workers.
        let _delivered = self.send.send(message);
    }

    pub(super) fn event(&self, event: BuildEvent) {
        self.tell(Message::Event(event));
    }

    /// Says that a step runs, and why.
    pub(super) fn missed(
        &self,
        step: StepId,
        reason: MissReason,
        ingredients: &BTreeMap<String, String>,
    ) {
        self.tell(Message::Missed {
            step,
            id: self.id,
            reason: Box::new(reason),
            ingredients: ingredients.clone(),
        });
    }
}
