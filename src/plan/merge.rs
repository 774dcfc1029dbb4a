//! Plans of several platforms as one graph. A step that two of them have in common, usually one that runs on the build
//! platform, is one step.

use std::collections::BTreeMap;

use super::graph::{Plan, PlannedImage};
use super::observation::Observation;
use super::step::{BaseId, BaseRequest, StateRef, Step, StepId};
use crate::oci::Platform;
use crate::source::Span;

/// Puts plans of the same Dockerfile together. The images keep the order of the plans; of a single plan nothing
/// changes.
///
/// Steps are the same if they do the same on the same input for the same platform: labels and places do not count.
#[must_use]
pub fn merge(plans: Vec<Plan>) -> Plan {
    let several = plans.len() > 1;
    let mut merged = Merged::default();
    for plan in plans {
        merged.add(plan);
    }
    if several {
        merged.name_platforms();
    }
    merged.plan
}

/// The graph so far.
#[derive(Debug, Default)]
struct Merged {
    plan: Plan,
    /// For which images each step works, by their platforms.
    targets: Vec<Vec<Platform>>,
    /// The steps on each state, to find equal ones.
    on: BTreeMap<StateRef, Vec<StepId>>,
}

impl Merged {
    fn add(&mut self, plan: Plan) {
        let bases: Vec<BaseId> = plan.bases.into_iter().map(|base| self.base(base)).collect();
        let targets: Vec<Platform> = plan.images.iter().map(|i| i.platform.clone()).collect();
        // Equal steps of one plan stay apart: its author wrote both.
        let before = self.plan.steps.len();
        let mut steps: Vec<StepId> = Vec::with_capacity(plan.steps.len());
        for mut step in plan.steps {
            step.map_states(&mut |state| renamed(state, &bases, &steps));
            steps.push(self.step(step, before, &targets));
        }
        for image in plan.images {
            self.plan.images.push(PlannedImage {
                state: renamed(image.state, &bases, &steps),
                history: image
                    .history
                    .into_iter()
                    .map(|mut entry| {
                        entry.step = entry.step.map(|step| steps[step.0]);
                        entry
                    })
                    .collect(),
                ..image
            });
        }
        self.plan.epoch = self.plan.epoch.or(plan.epoch);
        self.plan.stages.extend(plan.stages);
        for (stage, state) in plan.states {
            // Of the platforms of a stage the first one stands for all.
            let state = renamed(state, &bases, &steps);
            self.plan.states.entry(stage).or_insert(state);
        }
        self.observe(plan.observations);
    }

    /// What is noticed of several platforms is noticed once.
    fn observe(&mut self, observations: Vec<Observation>) {
        let mut known: BTreeMap<Span, Vec<usize>> = BTreeMap::new();
        let all = &mut self.plan.observations;
        for (position, observation) in all.iter().enumerate() {
            known.entry(observation.span).or_default().push(position);
        }
        for observation in observations {
            let here = known.get(&observation.span).map_or(&[][..], Vec::as_slice);
            if !here.iter().any(|&position| all[position] == observation) {
                all.push(observation);
            }
        }
    }

    fn base(&mut self, base: BaseRequest) -> BaseId {
        let bases = &mut self.plan.bases;
        let position = bases.iter().position(|known| *known == base);
        BaseId(position.unwrap_or_else(|| {
            bases.push(base);
            bases.len() - 1
        }))
    }

    /// The step among those of earlier plans that is this one, else a new one.
    fn step(&mut self, step: Step, before: usize, targets: &[Platform]) -> StepId {
        let on = self.on.entry(step.input).or_default();
        let same = |id: &StepId| id.0 < before && self.plan.steps[id.0].does_the_same(&step);
        let id = on.iter().copied().find(same).unwrap_or_else(|| {
            let id = StepId(self.plan.steps.len());
            on.push(id);
            self.plan.steps.push(step);
            self.targets.push(Vec::new());
            id
        });
        for target in targets {
            if !self.targets[id.0].contains(target) {
                self.targets[id.0].push(target.clone());
            }
        }
        id
    }

    /// `[linux/arm64 stage 2/5] …`; for a step that runs on one platform for another `[linux/amd64->arm64 stage 2/5] …`.
    fn name_platforms(&mut self) {
        for (step, targets) in self.plan.steps.iter_mut().zip(&self.targets) {
            let mut prefix = step.platform.to_string();
            if let [target] = targets.as_slice()
                && *target != step.platform
            {
                let target = target.to_string();
                let same_os = format!("{}/", step.platform.os);
                prefix.push_str("->");
                prefix.push_str(target.strip_prefix(&same_os).unwrap_or(&target));
            }
            let label = step.label.strip_prefix('[').unwrap_or(&step.label);
            step.label = format!("[{prefix} {label}");
        }
    }
}

fn renamed(state: StateRef, bases: &[BaseId], steps: &[StepId]) -> StateRef {
    match state {
        StateRef::Scratch => StateRef::Scratch,
        StateRef::Base(base) => StateRef::Base(bases[base.0]),
        StateRef::Step(step) => StateRef::Step(steps[step.0]),
    }
}
