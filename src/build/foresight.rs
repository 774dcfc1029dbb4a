//! What a build would do, before it does anything: for `builder plan`, and for builds that must find all in the cache.

use std::collections::BTreeSet;

use super::cache;
use super::error::BuildError;
use super::request::{Request, RequireCached};
use super::source;
use super::{Sources, Tools, Vertices, devices, platforms};
use crate::dockerfile::Dockerfile;
use crate::oci::Digest;
use crate::plan::{Plan, StateRef, StepId};
use crate::solve::{self, Environment, EventSink, Fate, Forecast, ImportedSteps};

/// A graph, and what would become of each step of it.
#[derive(Clone, Debug)]
pub struct Foresight {
    /// The graph.
    pub plan: Plan,
    /// What would become of its steps.
    pub forecast: Forecast,
    /// Its bases, in its order.
    pub bases: Vec<ForeseenBase>,
    /// The stages that nothing needs: name, and number of instructions.
    pub unneeded: Vec<(String, usize)>,
}

/// A base of a graph.
#[derive(Clone, Debug)]
pub struct ForeseenBase {
    /// As it may be shown.
    pub name: String,
    /// What it stands for now.
    pub digest: Digest,
}

/// Foresees a build.
///
/// # Errors
/// As [`super::build`], up to where steps would run.
pub fn forecast(
    request: &Request,
    tools: &Tools<'_>,
    sources: &mut Sources,
    sink: &mut dyn EventSink,
) -> Result<Foresight, BuildError> {
    let mut vertices = Vertices::new(sink);
    let opened = source::open(request, &tools.reader(), sources, &mut vertices)?;
    let (dockerfile, _) = source::parse(&opened.file)?;
    let parsed = (&dockerfile, &opened);
    let planned = platforms::plan_all(request, tools.resolver, parsed, sources, &mut vertices);
    let (mut plan, bases) = planned?;
    let devices = devices::resolve(&mut plan, &request.devices, vertices.sink)?;
    let (imported, _) = cache::import(request, tools, &mut vertices);
    let mut environment = super::environment(request, tools, &plan, (bases, devices), &opened)?;
    environment.imported = imported
        .as_ref()
        .map(|imported| imported as &dyn ImportedSteps);
    let forecast = solve::forecast(&plan, &environment)?;
    let bases = environment.bases.iter().map(|base| ForeseenBase {
        name: base.name.clone(),
        digest: base.digest,
    });
    Ok(Foresight {
        forecast,
        bases: bases.collect(),
        unneeded: unneeded(&dockerfile, &plan),
        plan,
    })
}

fn unneeded(dockerfile: &Dockerfile, plan: &Plan) -> Vec<(String, usize)> {
    let stages = dockerfile.stages.iter().enumerate();
    let others = stages.filter(|(index, _)| !plan.stages.contains(index));
    others
        .map(|(index, stage)| (stage_name(dockerfile, index), stage.instructions.len()))
        .collect()
}

fn stage_name(dockerfile: &Dockerfile, index: usize) -> String {
    let name = dockerfile.stages[index].from.kind.name.as_ref();
    name.map_or_else(|| format!("stage-{index}"), |name| name.lower.clone())
}

/// Fails unless the cache has everything that has to be there.
pub(super) fn require(
    required: &RequireCached,
    dockerfile: &Dockerfile,
    plan: &Plan,
    environment: &Environment<'_>,
) -> Result<(), BuildError> {
    let wanted = match required {
        RequireCached::All => (0..plan.steps.len()).map(StepId).collect(),
        RequireCached::Stage(name) => steps_of(name, dockerfile, plan)?,
    };
    let forecast = solve::forecast(plan, environment)?;
    let missing: Vec<String> = wanted
        .into_iter()
        .filter_map(|id| Some((id, why(plan, forecast.fate(id))?)))
        .map(|(id, why)| format!("{}: {why}", plan.step(id).label))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(BuildError::NotCached(missing)),
    }
}

/// Why a step is not in the cache, if it is not.
fn why(plan: &Plan, fate: &Fate) -> Option<String> {
    match fate {
        Fate::Cached { .. } => None,
        Fate::Runs { reason } => Some(reason.to_string()),
        Fate::MayRun { after } if after.is_empty() => {
            Some("takes files of an image that is not on this machine".to_owned())
        }
        Fate::MayRun { after } => {
            let places = after.iter().map(|id| plan.step(*id).shown_place());
            let places: Vec<&str> = places.collect();
            Some(format!("depends on what {} makes", places.join(", ")))
        }
    }
}

/// The steps of a stage and all that it needs.
fn steps_of(
    name: &str,
    dockerfile: &Dockerfile,
    plan: &Plan,
) -> Result<BTreeSet<StepId>, BuildError> {
    let lower = name.to_lowercase();
    let count = dockerfile.stages.len();
    let by_number = || lower.parse().ok().filter(|index| *index < count);
    let shown = || (0..count).find(|index| stage_name(dockerfile, *index) == lower);
    let index = dockerfile
        .last_named(&lower, count)
        .or_else(by_number)
        .or_else(shown)
        .filter(|index| plan.stages.contains(index))
        .ok_or_else(|| BuildError::NoSuchStage(name.to_owned()))?;
    let of_stage = |id: &StepId| plan.step(*id).stage == index;
    let mut open: Vec<StepId> = (0..plan.steps.len()).map(StepId).filter(of_stage).collect();
    // A stage without steps is the state that it starts from.
    if let (true, Some(StateRef::Step(id))) = (open.is_empty(), plan.states.get(&index)) {
        open.push(*id);
    }
    let mut wanted = BTreeSet::new();
    while let Some(id) = open.pop() {
        if wanted.insert(id) {
            let inputs = plan.step(id).inputs().into_iter();
            open.extend(inputs.filter_map(|state| match state {
                StateRef::Step(id) => Some(id),
                StateRef::Base(_) | StateRef::Scratch => None,
            }));
        }
    }
    Ok(wanted)
}
