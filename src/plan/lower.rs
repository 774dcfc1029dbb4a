//! Planning: the state of it, and its second pass: every needed stage in the order of the file, instruction by
//! instruction (`instructions/`). The first pass, which says what is needed, is in `needs.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::from::FromLine;
use super::globals::Globals;
use super::graph::{Plan, PlannedHistory, PlannedImage};
use super::observation::Observation;
use super::options::{NoCache, PlanOptions, ResolvedBases};
use super::reach::{self, Named};
use super::stage::StageState;
use super::step::{BaseRequest, StateRef, Step, StepId, StepKind};
use super::{Failure, epoch, frontend, instructions};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{Instruction, InstructionKind};
use crate::source::{Diagnostic, SourceMap, Span};

/// The result of planning with what is known so far.
#[derive(Clone, Debug)]
pub enum Lowered {
    /// The whole graph.
    Plan(Box<Plan>),
    /// Images that have to be resolved before the graph is known.
    Needs(Vec<(BaseRequest, Span)>),
}

/// Plans a target. Triggers of base images are added to `sources` as texts of their own.
///
/// # Errors
/// Mistakes of the author, in the order of their places.
pub fn lower(
    dockerfile: &Dockerfile,
    sources: &mut SourceMap,
    options: &PlanOptions,
    resolved: &ResolvedBases,
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut lowering = Lowering::begin(dockerfile, sources, options, resolved)
        .map_err(|failure| vec![*failure])?;
    Ok(match lowering.run()? {
        Progress::Missing(missing) => Lowered::Needs(missing),
        Progress::Done(state) => Lowered::Plan(Box::new(lowering.plan(*state))),
    })
}

/// What is noticed of a file that cannot be planned, up to where it fails. What is wrong with it, [`lower`] says.
#[must_use]
pub fn observe(
    dockerfile: &Dockerfile,
    sources: &mut SourceMap,
    options: &PlanOptions,
    resolved: &ResolvedBases,
) -> Vec<Observation> {
    let Ok(mut lowering) = Lowering::begin(dockerfile, sources, options, resolved) else {
        return Vec::new();
    };
    let _told_before = lowering.run();
    lowering.observations
}

/// How far planning came.
enum Progress {
    /// These images have to be resolved first.
    Missing(Vec<(BaseRequest, Span)>),
    /// To the end; this is the target.
    Done(Box<StageState>),
}

/// A trigger that runs at the start of a stage.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) instruction: Instruction,
}

/// Where an instruction stands, for everything that is said about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) stage: usize,
    /// The FROM line for a trigger, whose own text is in no file of the author.
    pub(super) span: Span,
    pub(super) escape: char,
    /// Position among the counted instructions of the stage, and how many there are.
    pub(super) position: (usize, usize),
    pub(super) trigger: bool,
}

/// The state of planning.
#[derive(Debug)]
pub(super) struct Lowering<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) options: &'a PlanOptions,
    pub(super) globals: Globals,
    pub(super) observations: Vec<Observation>,
    pub(super) epoch: Option<i64>,
    pub(super) sources: &'a mut SourceMap,
    pub(super) resolved: &'a ResolvedBases,
    pub(super) target: usize,
    pub(super) lines: Vec<FromLine>,
    pub(super) triggers: Vec<Vec<Trigger>>,
    pub(super) needed: BTreeSet<usize>,
    /// With the place that asks first.
    pub(super) requests: BTreeMap<BaseRequest, Span>,
    /// What only turned out to be needed when instructions were lowered.
    pub(super) missing: BTreeMap<BaseRequest, Span>,
    pub(super) bases: Vec<BaseRequest>,
    pub(super) steps: Vec<Step>,
    /// What stages that are made start from. Kept until the last of them has begun.
    pub(super) finished: Vec<Option<StageState>>,
    /// How many stages are still to begin from each stage.
    pub(super) derivations: Vec<usize>,
    /// What each finished stage does by itself.
    histories: Vec<Vec<PlannedHistory>>,
    /// The file system at the end of each finished stage.
    states: BTreeMap<usize, StateRef>,
}

impl<'a> Lowering<'a> {
    /// With the `FROM` lines read.
    pub(super) fn new(
        dockerfile: &'a Dockerfile,
        sources: &'a mut SourceMap,
        options: &'a PlanOptions,
        resolved: &'a ResolvedBases,
    ) -> Result<Self, Failure> {
        let mut lowering = Self::begin(dockerfile, sources, options, resolved)?;
        lowering.read_from_lines()?;
        Ok(lowering)
    }

    fn begin(
        dockerfile: &'a Dockerfile,
        sources: &'a mut SourceMap,
        options: &'a PlanOptions,
        resolved: &'a ResolvedBases,
    ) -> Result<Self, Failure> {
        frontend::check(dockerfile, options)?;
        let target = reach::target(dockerfile, options)?;
        let target_name = reach::name_of(&dockerfile.stages[target]).cloned();
        let globals = Globals::new(
            dockerfile,
            options,
            target_name.as_deref().unwrap_or("default"),
        )?;
        let count = dockerfile.stages.len();
        let whole = options.all_stages && options.target.is_none();
        let needed = if whole {
            (0..count).collect()
        } else {
            BTreeSet::from([target])
        };
        Ok(Self {
            dockerfile,
            options,
            globals,
            observations: Vec::new(),
            epoch: None,
            sources,
            resolved,
            target,
            lines: Vec::with_capacity(count),
            triggers: vec![Vec::new(); count],
            needed,
            requests: BTreeMap::new(),
            missing: BTreeMap::new(),
            bases: Vec::new(),
            steps: Vec::new(),
            finished: vec![None; count],
            derivations: vec![0; count],
            histories: vec![Vec::new(); count],
            states: BTreeMap::new(),
        })
    }

    fn run(&mut self) -> Result<Progress, Vec<Diagnostic>> {
        self.read_from_lines().map_err(|failure| vec![*failure])?;
        self.reach().map_err(|failure| vec![*failure])?;
        let resolved = self.resolved;
        let requests = self.requests.iter();
        let missing: Vec<(BaseRequest, Span)> = requests
            .filter(|(request, _)| !resolved.contains_key(request))
            .map(|(request, span)| (request.clone(), *span))
            .collect();
        if missing.is_empty() {
            self.stages()
        } else {
            Ok(Progress::Missing(missing))
        }
    }

    /// Second pass: every needed stage in the order of the file.
    fn stages(&mut self) -> Result<Progress, Vec<Diagnostic>> {
        let mut failures = Vec::new();
        epoch::settle(self).map_err(|failure| vec![*failure])?;
        for &index in &self.needed {
            if let Named::Stage(base) = self.lines[index].named {
                self.derivations[base] += 1;
            }
        }
        for index in self.needed.clone() {
            match self.stage(index) {
                Ok(mut state) => {
                    self.states.insert(index, state.state);
                    self.histories[index] = std::mem::take(&mut state.history);
                    if self.derivations[index] > 0 || index == self.target {
                        self.finished[index] = Some(state);
                    }
                }
                Err(failure) => failures.push(*failure),
            }
            if !failures.is_empty() && index == self.target {
                break;
            }
        }
        let target = self.finished[self.target].take();
        match target {
            Some(_) if failures.is_empty() && !self.missing.is_empty() => {
                let missing = std::mem::take(&mut self.missing);
                Ok(Progress::Missing(missing.into_iter().collect()))
            }
            Some(state) if failures.is_empty() => Ok(Progress::Done(Box::new(state))),
            _ => Err(failures),
        }
    }

    fn plan(mut self, state: StageState) -> Plan {
        let mut config = state.whole_config();
        for (key, value) in &self.options.labels {
            config.insert_into("Labels", key, serde_json::json!(value));
        }
        let triggers = (!state.triggers.is_empty()).then(|| serde_json::json!(state.triggers));
        config.set("OnBuild", triggers);
        if let Some(platform) = &self.options.platform {
            config.set_platform(platform);
        }
        Plan {
            images: vec![PlannedImage {
                state: state.state,
                config,
                base_history: Arc::unwrap_or_clone(state.base_history),
                history: self.history_of(self.target),
                platform: self.options.platform.clone().unwrap_or(state.platform),
            }],
            steps: self.steps,
            bases: self.bases,
            states: self.states,
            epoch: self.epoch,
            stages: self.needed,
            observations: self.observations,
        }
    }

    /// What a stage and those it starts from do, in order.
    fn history_of(&mut self, stage: usize) -> Vec<PlannedHistory> {
        let mut stages = vec![stage];
        let mut last = stage;
        while let Named::Stage(base) = self.lines[last].named {
            stages.push(base);
            last = base;
        }
        let histories = stages.into_iter().rev();
        histories
            .flat_map(|stage| std::mem::take(&mut self.histories[stage]))
            .collect()
    }

    pub(super) fn stage(&mut self, index: usize) -> Result<StageState, Failure> {
        let dockerfile = self.dockerfile;
        let triggers = std::mem::take(&mut self.triggers[index]);
        let own = &dockerfile.stages[index].instructions;
        let counted = |instruction: &&Instruction| {
            let kind = &instruction.kind;
            use InstructionKind::{Add, Copy, Run, Workdir};
            matches!(kind, Run(_) | Copy(_) | Add(_) | Workdir(_))
        };
        let own_count = own.iter().filter(counted).count();
        let count = 1
            + own_count
            + triggers
                .iter()
                .map(|t| &t.instruction)
                .filter(counted)
                .count();
        let mut state = self.base_state(index, count)?;
        let mut position = 1;
        let from = dockerfile.stages[index].from.span;
        let with_place = triggers
            .iter()
            .map(|t| (&t.instruction, true))
            .chain(own.iter().map(|i| (i, false)));
        for (instruction, trigger) in with_place {
            position += usize::from(counted(&instruction));
            let span = if trigger { from } else { instruction.span };
            let escape = if trigger { '\\' } else { dockerfile.escape };
            let place = Place {
                stage: index,
                span,
                escape,
                position: (position, count),
                trigger,
            };
            instructions::lower(self, &mut state, instruction, place).map_err(|mut failure| {
                if trigger {
                    failure.labels = vec![crate::source::Label {
                        span: from,
                        text: String::new(),
                    }];
                    failure
                        .hints
                        .push(format!("in the base's trigger `{}`", instruction.text));
                }
                failure
            })?;
        }
        Ok(state)
    }

    /// The state of a stage above.
    pub(super) fn finished_state(&self, stage: usize) -> Option<StateRef> {
        self.states.get(&stage).copied()
    }

    /// Adds a step on top of a stage's state.
    pub(super) fn step(
        &mut self,
        state: &StageState,
        place: Place,
        text: &str,
        kind: StepKind,
    ) -> StepId {
        let stage = &self.dockerfile.stages[place.stage];
        let no_cache = match &self.options.no_cache {
            NoCache::Never => false,
            NoCache::Always => true,
            NoCache::Stages(names) => names.contains(&reach::filter_name(stage, place.stage)),
        };
        self.steps.push(Step {
            label: self.label(place, text),
            span: place.span,
            stage: place.stage,
            input: state.state,
            platform: state.platform.clone(),
            no_cache,
            kind,
        });
        StepId(self.steps.len() - 1)
    }

    fn label(&self, place: Place, text: &str) -> String {
        let stages = &self.dockerfile.stages;
        let stage = match reach::name_of(&stages[place.stage]) {
            _ if stages.len() == 1 => String::new(),
            Some(name) => format!("{name} "),
            None => format!("stage-{} ", place.stage),
        };
        let (position, count) = place.position;
        let width = count.to_string().len();
        let trigger = if place.trigger { "ONBUILD " } else { "" };
        format!("[{stage}{position:>width$}/{count}] {trigger}{text}")
    }
}
