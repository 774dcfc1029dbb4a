//! Whole solves of random graphs against a naive evaluator, one step after the other. The steps copy, so that nobody needs
//! privileges and nothing is run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::layer::{EntryKind, Privileges};
use crate::oci::{Digest, LayerSource, Platform};
use crate::plan::{CopySource, CopyStep, Plan, StateRef, Step, StepId, StepKind, TreeSource};
use crate::sandbox::{
    Cancel, Footing, Limits, Networks, RunOutcome, Rung, SandboxError, SandboxSpec, StepRunner,
};
use crate::source::Span;
use crate::store::{StepRecord, Store};

/// Runs nothing.
#[derive(Debug)]
struct NoRunner;

impl StepRunner for NoRunner {
    fn run(
        &self,
        _: &SandboxSpec,
        _: &mut dyn FnMut(&[u8]),
        _: &Cancel,
    ) -> Result<RunOutcome, SandboxError> {
        panic!("a step that copies was run")
    }

    fn try_limits(&self, _: &Limits) -> Result<(), SandboxError> {
        panic!("a step that copies was limited")
    }
}

#[derive(Debug, Default)]
struct Events(Vec<BuildEvent>);

impl EventSink for Events {
    fn emit(&mut self, event: BuildEvent) {
        self.0.push(event);
    }
}

impl Events {
    fn count(&self, is_it: impl Fn(&BuildEvent) -> bool) -> usize {
        self.0.iter().filter(|event| is_it(event)).count()
    }
}

/// What a step of a random graph does.
#[derive(Clone, Debug)]
enum Work {
    /// Writes a file of this content.
    Write(u8),
    /// Takes all that another state has into a folder.
    Take(Index, u8),
    /// Takes what is not there.
    Fail(Index),
}

/// A random graph: what each step stands on, and what it does.
type Graph = Vec<(Index, Work)>;

fn work(fails: bool) -> impl Strategy<Value = Work> {
    let write = (0..4_u8).prop_map(Work::Write);
    let take = (any::<Index>(), 0..3_u8).prop_map(|(from, to)| Work::Take(from, to));
    let fail = any::<Index>().prop_map(Work::Fail);
    let weight = if fails { 1 } else { 0 };
    prop_oneof![6 => write, 6 => take, weight => fail]
}

fn graph(fails: bool) -> impl Strategy<Value = Graph> {
    prop::collection::vec((any::<Index>(), work(fails)), 1..12)
}

/// Nothing, or the state that an earlier step leaves.
fn state(index: Index, before: usize) -> StateRef {
    match index.index(before + 1) {
        0 => StateRef::Scratch,
        step => StateRef::Step(StepId(step - 1)),
    }
}

fn plan(graph: &Graph) -> Plan {
    let step = |(at, (on, work)): (usize, &(Index, Work))| {
        let (from, source, destination) = match work {
            Work::Write(content) => {
                let name = format!("file{}", content / 2);
                let content = format!("content {content}");
                let inline = CopySource::Inline { name, content };
                (StateRef::Scratch, inline, "/".to_owned())
            }
            Work::Take(from, to) => {
                let all = CopySource::Path("/".into());
                (state(*from, at), all, format!("/folder{to}/"))
            }
            Work::Fail(from) => {
                let missing = CopySource::Path("/missing".into());
                (state(*from, at), missing, "/".to_owned())
            }
        };
        Step {
            label: format!("[{}/99] COPY {source:?} {destination}", at + 1),
            span: Span::default(),
            stage: 0,
            input: state(*on, at),
            platform: Platform::new("linux", "amd64", ""),
            no_cache: false,
            kind: StepKind::Copy(CopyStep {
                add: false,
                from: TreeSource::State(from),
                sources: vec![source],
                destination,
                chown: None,
                chmod: None,
                link: false,
                parents: false,
                exclude: Vec::new(),
                unpack: None,
            }),
        }
    };
    Plan {
        steps: graph.iter().enumerate().map(step).collect(),
        ..Plan::default()
    }
}

/// The files of a state by path.
type Files = BTreeMap<String, Digest>;

/// What each step leaves, one after the other; nothing after a failure, and nothing that stands on one.
fn naive(graph: &Graph) -> Vec<Option<Files>> {
    let mut states: Vec<Option<Files>> = Vec::new();
    for (at, (on, work)) in graph.iter().enumerate() {
        let of = |index: &Index| match state(*index, at) {
            StateRef::Step(step) => states[step.0].clone(),
            _ => Some(Files::new()),
        };
        let left = of(on).and_then(|mut files| {
            match work {
                Work::Write(content) => {
                    let text = format!("content {content}");
                    files.insert(format!("file{}", content / 2), Digest::of(text));
                }
                Work::Take(from, to) => {
                    for (path, content) in of(from)? {
                        files.insert(format!("folder{to}/{path}"), content);
                    }
                }
                Work::Fail(_) => return None,
            }
            Some(files)
        });
        states.push(left);
    }
    states
}

static NETWORKS: Networks = Networks::new(Vec::new(), false);

fn environment<'a>(store: &'a Store, jobs: usize) -> Environment<'a> {
    Environment {
        store,
        imported: None,
        saved_mounts: None,
        networks: &NETWORKS,
        runner: &NoRunner,
        context: None,
        named_contexts: BTreeMap::new(),
        bases: Vec::new(),
        run: RunSettings::default(),
        devices: crate::cdi::Registry::default(),
        clock: || SystemTime::UNIX_EPOCH,
        epoch: Some(0),
        footing: Footing::on(Rung::OneId),
        privileges: Privileges::OneId,
        jobs,
        subject: Subject::default(),
        cancel: Cancel::new(),
    }
}

fn files(store: &Store, state: &State) -> Files {
    let layers = Layers::new(store, Privileges::OneId, Cancel::new());
    let stack = layers.stack(state).unwrap();
    let file = |found: crate::layer::Found<'_>| match &found.entry.kind {
        EntryKind::File { digest, .. } => Some((found.entry.path.display().to_string(), *digest)),
        _ => None,
    };
    stack.walk("/").filter_map(file).collect()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn is_done(event: &BuildEvent) -> bool {
    matches!(
        event,
        BuildEvent::Finished {
            outcome: Outcome::Done,
            ..
        }
    )
}

/// What others built, by place; nobody has the layers.
#[derive(Debug)]
struct Others(BTreeMap<String, StepRecord>);

impl ImportedSteps for Others {
    fn step(&self, _: Digest) -> Option<(StepRecord, LayerSource)> {
        None
    }

    fn alias(&self, _: Digest) -> Option<Digest> {
        None
    }

    fn at_place(&self, place: &str) -> Option<StepRecord> {
        self.0.get(place).cloned()
    }
}

#[test]
fn where_nothing_was_built_reasons_compare_with_what_others_built() {
    let mut runner = TestRunner::deterministic();
    let index = any::<Index>().new_tree(&mut runner).unwrap().current();
    let write = |content| (index, Work::Write(content));
    let (_folder, theirs) = store();
    let before = plan(&vec![write(0), write(2)]);
    let solution = solve(&before, &environment(&theirs, 1), &mut Events::default(), 1).unwrap();
    let records = (0..2).filter_map(|at| theirs.step(solution.step(StepId(at)).key?));
    let records: BTreeMap<String, StepRecord> = records
        .map(|record| (record.place.clone(), record))
        .collect();
    assert_eq!(records.len(), 2, "{records:?}");
    let others = Others(records);
    let (_folder, ours) = store();
    let mut now = before.clone();
    if let StepKind::Copy(copy) = &mut now.steps[0].kind {
        copy.chmod = Some("600".into());
    }
    now.steps[1].label = "[2/99] COPY something new".into();
    let mut events = Events::default();
    let environment = Environment {
        imported: Some(&others),
        ..environment(&ours, 1)
    };
    solve(&now, &environment, &mut events, 1).unwrap();
    let reasons = events.0.iter().filter_map(|event| match event {
        BuildEvent::Missed { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    let reasons: Vec<&str> = reasons.collect();
    assert_eq!(reasons, ["COPY file0: chmod (none) → 600", "first build"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_number_of_jobs_makes_what_one_after_the_other_makes(graph in graph(false), jobs in 1..9_usize) {
        let (_folder, store) = store();
        let plan = plan(&graph);
        let mut events = Events::default();
        let solution = solve(&plan, &environment(&store, jobs), &mut events, 1).unwrap();
        for (at, expected) in naive(&graph).into_iter().enumerate() {
            let state = solution.state(StateRef::Step(StepId(at)));
            prop_assert_eq!(files(&store, &state), expected.unwrap(), "step {}", at);
        }
        // Each step once, and equal ones run once.
        let count = plan.steps.len();
        let started = events.count(|event| matches!(event, BuildEvent::Started { .. }));
        prop_assert_eq!(started, count);
        let keys: BTreeSet<Option<Digest>> =
            (0..count).map(|at| solution.step(StepId(at)).key).collect();
        prop_assert_eq!(events.count(is_done), keys.len());
        // And never again.
        let mut again = Events::default();
        let second = solve(&plan, &environment(&store, jobs), &mut again, 1).unwrap();
        prop_assert_eq!(again.count(is_done), 0);
        let foreseen = forecast(&plan, &environment(&store, jobs)).unwrap();
        prop_assert_eq!(foreseen.counts(), (count, 0, 0));
        for at in 0..count {
            let state = StateRef::Step(StepId(at));
            prop_assert_eq!(second.state(state).identity, solution.state(state).identity);
        }
    }

    #[test]
    fn the_first_failure_is_the_one_reported(graph in graph(true), jobs in 1..9_usize) {
        let (_folder, store) = store();
        let plan = plan(&graph);
        let mut events = Events::default();
        let result = solve(&plan, &environment(&store, jobs), &mut events, 1);
        let states = naive(&graph);
        // Those that fail themselves, and not because of what they stand on.
        let is_there = |state: StateRef| match state {
            StateRef::Step(step) => states[step.0].is_some(),
            _ => true,
        };
        let failing: Vec<usize> = (0..graph.len())
            .filter(|at| states[*at].is_none())
            .filter(|at| plan.steps[*at].inputs().into_iter().all(is_there))
            .collect();
        let failed = events.0.iter().find_map(|event| match event {
            BuildEvent::Failed { id, .. } => Some(*id),
            _ => None,
        });
        match result {
            Ok(_) => prop_assert!(failing.is_empty() && failed.is_none()),
            Err(error) => {
                let at = plan.steps.iter().position(|step| step.label == error.label).unwrap();
                prop_assert!(failing.contains(&at), "{} is none of {:?}", at, failing);
                if jobs == 1 {
                    prop_assert_eq!(at, failing[0]);
                }
                let name = events.0.iter().find_map(|event| match event {
                    BuildEvent::Started { id, name } if Some(*id) == failed => Some(name.clone()),
                    _ => None,
                });
                prop_assert_eq!(name, Some(error.label));
            }
        }
    }

    #[test]
    fn a_forecast_is_never_wrong(before in graph(false), edit in (any::<Index>(), work(false)), jobs in 1..9_usize) {
        let (_folder, store) = store();
        solve(&plan(&before), &environment(&store, jobs), &mut Events::default(), 1).unwrap();
        let mut graph = before;
        let at = edit.0.index(graph.len());
        graph[at].1 = edit.1;
        let plan = plan(&graph);
        let foreseen = forecast(&plan, &environment(&store, jobs)).unwrap();
        let solution = solve(&plan, &environment(&store, jobs), &mut Events::default(), 1).unwrap();
        let ran: BTreeSet<Option<Digest>> = (0..graph.len())
            .map(|at| solution.step(StepId(at)))
            .filter(|result| !result.cached)
            .map(|result| result.key)
            .collect();
        for at in 0..graph.len() {
            let result = solution.step(StepId(at));
            match foreseen.fate(StepId(at)) {
                Fate::Cached { .. } => prop_assert!(result.cached, "step {}", at),
                // An equal step may have run first.
                Fate::Runs { .. } => prop_assert!(ran.contains(&result.key), "step {}", at),
                Fate::MayRun { after } => prop_assert!(!after.is_empty()),
            }
        }
    }
}
