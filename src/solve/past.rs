//! What was built before where this plan builds now: which old step each step corresponds to, and what became of the
//! states below.
//!
//! Steps are paired by their instructions, as a diff pairs lines: what is inserted or removed does not move the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::driver::StepResult;
use super::miss::Below;
use super::state::{LayerHandle, State};
use crate::oci::BaseImage;
use crate::plan::{Plan, Step, StepId};
use crate::store::{PlacedBase, PlacedStage, PlacedStep, Places};

/// How alike two instructions have to be, of 1, to be taken for one that was edited.
const ALIKE: f64 = 0.5;
/// Bytes of an instruction that are compared for that.
const COMPARED: usize = 400;

/// Stages that are kept besides those of the last build.
const MOST_OTHERS: usize = 100;
/// Longer instructions are named by their digest.
const LONGEST_PLACE: usize = 200;

/// What was built before.
#[derive(Debug)]
pub(super) struct Past {
    places: Places,
    /// Found when somebody asks.
    partners: OnceLock<Partners>,
    /// What the steps are called wherever they are built.
    names: OnceLock<Vec<String>>,
}

/// Which old stages and steps those of a plan correspond to.
#[derive(Debug, Default)]
struct Partners {
    /// By step: stage and position in it.
    steps: Vec<Option<(usize, usize)>>,
    /// By stage and platform.
    stages: BTreeMap<(usize, String), usize>,
}

/// A stage of a plan for one platform.
struct Stage<'p> {
    number: usize,
    name: &'p str,
    platform: String,
    steps: Vec<StepId>,
}

impl Past {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            partners: OnceLock::new(),
            names: OnceLock::new(),
        }
    }

    /// What a step is called wherever it is built.
    pub(super) fn portable_place(&self, plan: &Plan, id: StepId) -> &str {
        &self.names.get_or_init(|| portable_places(plan))[id.0]
    }

    /// What was remembered.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.places.stages.is_empty()
    }

    /// What a step was the last time.
    pub(super) fn step(&self, plan: &Plan, id: StepId) -> Option<&PlacedStep> {
        let (stage, position) = self.partners(plan).steps[id.0]?;
        self.places.stages.get(stage)?.steps.get(position)
    }

    /// What the stage of a step was the last time.
    fn stage(&self, plan: &Plan, step: &Step) -> Option<&PlacedStage> {
        let stage = (step.stage, step.platform.to_string());
        let position = *self.partners(plan).stages.get(&stage)?;
        self.places.stages.get(position)
    }

    /// Whether an instruction was built, but only for other platforms.
    pub(super) fn is_for_others(&self, step: &Step) -> bool {
        let platform = step.platform.to_string();
        let mut stages = self.places.stages.iter();
        let has_it = |stage: &PlacedStage| stage.steps.iter().any(|old| old.text == step.text());
        stages.clone().all(|stage| stage.platform != platform) && stages.any(has_it)
    }

    /// What happened to the state below a step, which has these layers now: the first difference from the bottom.
    pub(super) fn below(
        &self,
        plan: &Plan,
        step: &Step,
        layers: &[Arc<LayerHandle>],
        bases: &[Arc<BaseImage>],
    ) -> Below {
        let Some(stage) = self.stage(plan, step) else {
            return Below::Unknown;
        };
        let (base, steps) = plan.chain(step.input);
        let base = base.and_then(|base| bases.get(base.0));
        if let Some(other) = other_base(stage.base.as_ref(), base) {
            return other;
        }
        let of_steps = layers.len().saturating_sub(steps.len());
        for (id, layer) in steps.iter().zip(&layers[of_steps..]) {
            let label = || plan.step(*id).label.clone();
            match self.step(plan, *id) {
                None => return Below::NewStep { label: label() },
                Some(old) if old.content_id != layer.identity => {
                    return Below::Step { label: label() };
                }
                Some(_) => {}
            }
        }
        self.gone(plan, step, &steps).unwrap_or(Below::Unknown)
    }

    /// A step that is no longer there in the stages below a step.
    fn gone(&self, plan: &Plan, step: &Step, below: &[StepId]) -> Option<Below> {
        let partners = self.partners(plan);
        let known: BTreeSet<(usize, usize)> = partners.steps.iter().flatten().copied().collect();
        let below = below.iter().map(|id| plan.step(*id)).chain([step]);
        let stages = below.map(|step| (step.stage, step.platform.to_string()));
        let stages: BTreeSet<usize> = stages
            .filter_map(|stage| partners.stages.get(&stage).copied())
            .collect();
        stages.into_iter().find_map(|stage| {
            let steps = self.places.stages.get(stage)?.steps.iter().enumerate();
            let mut unknown = steps.filter(|(position, _)| !known.contains(&(stage, *position)));
            unknown.next().map(|(_, old)| Below::NoStep {
                text: old.text.clone(),
            })
        })
    }

    /// What to remember after a build of this plan. What it did not come to stays as it was.
    pub(super) fn after(
        &self,
        plan: &Plan,
        bases: &[Arc<BaseImage>],
        results: &[Option<StepResult>],
    ) -> Places {
        let stages = stages_of(plan).into_iter().map(|stage| PlacedStage {
            name: stage.name.to_owned(),
            base: base_of(plan, &stage, bases),
            steps: stage
                .steps
                .iter()
                .filter_map(|id| self.placed(plan, *id, results))
                .collect(),
            platform: stage.platform,
        });
        let mut stages: Vec<PlacedStage> = stages.collect();
        if self.places.stages.starts_with(&stages) {
            return self.places.clone();
        }
        let partners = self.partners(plan);
        let again: BTreeSet<usize> = partners.stages.values().copied().collect();
        // Of other targets and platforms, and those that are gone from the file, which come to their end some day.
        let others = self.places.stages.iter().enumerate();
        let others = others.filter(|(at, _)| !again.contains(at));
        let most = stages.len() + MOST_OTHERS;
        stages.extend(others.map(|(_, stage)| stage.clone()));
        stages.truncate(most);
        Places { stages }
    }

    fn placed(
        &self,
        plan: &Plan,
        id: StepId,
        results: &[Option<StepResult>],
    ) -> Option<PlacedStep> {
        let text = plan.step(id).text().to_owned();
        let Some((result, key)) = results[id.0].as_ref().and_then(|r| Some((r, r.key?))) else {
            let old = self.step(plan, id)?.clone();
            return Some(PlacedStep { text, ..old });
        };
        Some(PlacedStep {
            text,
            key,
            diff_id: result.layer.diff_id,
            content_id: result.layer.identity,
        })
    }

    fn partners(&self, plan: &Plan) -> &Partners {
        self.partners.get_or_init(|| self.find_partners(plan))
    }

    fn find_partners(&self, plan: &Plan) -> Partners {
        let mut partners = Partners {
            steps: vec![None; plan.steps.len()],
            ..Partners::default()
        };
        let new = stages_of(plan);
        for (stage, old) in new.iter().zip(stage_pairs(plan, &new, &self.places.stages)) {
            let Some(old) = old else {
                continue;
            };
            partners
                .stages
                .insert((stage.number, stage.platform.clone()), old);
            let texts = self.places.stages[old].steps.iter();
            let before: Vec<&str> = texts.map(|step| step.text.as_str()).collect();
            let now: Vec<&str> = stage.steps.iter().map(|id| plan.step(*id).text()).collect();
            for (id, position) in stage.steps.iter().zip(pairs(&before, &now)) {
                partners.steps[id.0] = position.map(|position| (old, position));
            }
        }
        partners
    }
}

/// The stages of a plan with their steps, in the order of the file.
fn stages_of(plan: &Plan) -> Vec<Stage<'_>> {
    let mut stages: BTreeMap<(usize, String), Stage<'_>> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let platform = step.platform.to_string();
        let stage = stages
            .entry((step.stage, platform.clone()))
            .or_insert(Stage {
                number: step.stage,
                name: step.stage_name(),
                platform,
                steps: Vec::new(),
            });
        stage.steps.push(StepId(index));
    }
    stages.into_values().collect()
}

fn base_of(plan: &Plan, stage: &Stage<'_>, bases: &[Arc<BaseImage>]) -> Option<PlacedBase> {
    let first = plan.step(*stage.steps.first()?);
    let (base, _) = plan.chain(first.input);
    let image = bases.get(base?.0)?;
    Some(PlacedBase {
        name: image.name.clone(),
        digest: image.digest,
        state: State::of_base(image).identity,
    })
}

/// Says so if a base is another one.
fn other_base(old: Option<&PlacedBase>, new: Option<&Arc<BaseImage>>) -> Option<Below> {
    let state = new.map(|image| State::of_base(image).identity);
    if old.map(|old| old.state) == state {
        return None;
    }
    let name = |name: Option<&String>| name.map_or("scratch", |name| name.as_str()).to_owned();
    Some(match (old, new) {
        (Some(old), Some(new)) if old.name == new.name => Below::BaseMoved {
            name: new.name.clone(),
            old: old.digest,
            new: new.digest,
        },
        _ => Below::OtherBase {
            old: name(old.map(|old| &old.name)),
            new: name(new.map(|new| &new.name)),
        },
    })
}

/// For each stage the old one that it was: the one of its name, else the one with most instructions in common.
fn stage_pairs(plan: &Plan, new: &[Stage<'_>], old: &[PlacedStage]) -> Vec<Option<usize>> {
    let mut free: BTreeSet<usize> = (0..old.len()).collect();
    let mut found = vec![None; new.len()];
    for (stage, found) in new.iter().zip(&mut found) {
        let same = |at: &usize| old[*at].name == stage.name && old[*at].platform == stage.platform;
        if is_given(stage.name) {
            *found = free.iter().copied().find(same);
            found.map(|at| free.remove(&at));
        }
    }
    for (stage, found) in new
        .iter()
        .zip(&mut found)
        .filter(|(_, found)| found.is_none())
    {
        let texts: BTreeSet<&str> = stage.steps.iter().map(|id| plan.step(*id).text()).collect();
        let score = |at: &usize| {
            let steps = old[*at].steps.iter();
            let common = steps
                .filter(|step| texts.contains(step.text.as_str()))
                .count();
            (common, old[*at].name == stage.name)
        };
        let candidates = free.iter().copied();
        let best = candidates
            .filter(|at| old[*at].platform == stage.platform)
            .filter(|at| score(at) > (0, false))
            .max_by_key(score);
        *found = best;
        best.map(|at| free.remove(&at));
    }
    found
}

/// Whether an author gave a stage its name; others are called after their position, which changes.
fn is_given(name: &str) -> bool {
    let number = name.strip_prefix("stage-");
    !name.is_empty() && number.is_none_or(|number| number.parse::<usize>().is_err())
}

/// For each new instruction the old one that it was.
fn pairs(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let (mut old_from, mut new_from) = (0, 0);
    let all = capture_diff_slices(Algorithm::Myers, old, new);
    let equal = all.iter().filter_map(|op| match *op {
        DiffOp::Equal {
            old_index,
            new_index,
            len,
        } => Some((old_index, new_index, len)),
        _ => None,
    });
    for (old_index, new_index, len) in equal.chain([(old.len(), new.len(), 0)]) {
        edited(
            (old, old_from..old_index),
            (new, new_from..new_index),
            &mut found,
        );
        for offset in 0..len {
            found[new_index + offset] = Some(old_index + offset);
        }
        (old_from, new_from) = (old_index + len, new_index + len);
    }
    found
}

/// Pairs what stands between two instructions that stayed the same: with the one most alike, in order; where there is only
/// one of a kind on either side, it was edited.
fn edited(
    (old, old_range): (&[&str], Range<usize>),
    (new, new_range): (&[&str], Range<usize>),
    found: &mut [Option<usize>],
) {
    let word = |text: &str| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let of_word = |texts: &[&str], range: &Range<usize>, wanted: &str| {
        let texts = &texts[range.clone()];
        texts.iter().filter(|text| word(text) == wanted).count()
    };
    let mut from = old_range.start;
    for at in new_range.clone() {
        let wanted = word(new[at]);
        let only = of_word(old, &old_range, &wanted) == 1 && of_word(new, &new_range, &wanted) == 1;
        let least = if only { 0.0 } else { ALIKE };
        let candidates = (from..old_range.end).filter(|at| word(old[*at]) == wanted);
        let best = candidates
            .map(|candidate| (likeness(old[candidate], new[at]), candidate))
            .filter(|(likeness, _)| *likeness >= least)
            // The first of equals.
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((_, candidate)) = best {
            found[at] = Some(candidate);
            from = candidate + 1;
        }
    }
}

fn likeness(a: &str, b: &str) -> f64 {
    let start = |text: &str| text.chars().take(COMPARED).collect::<String>();
    strsim::sorensen_dice(&start(a), &start(b))
}

/// Names the steps of a plan wherever they are built: by stage, platform and instruction, counted where a stage has one
/// several times.
fn portable_places(plan: &Plan) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let place = |step: &Step| {
        let mut text = step.text().to_owned();
        if text.len() > LONGEST_PLACE {
            text = crate::oci::Digest::of(&text).to_string();
        }
        let name = format!("{} {} {text}", step.stage_name(), step.platform);
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        match count {
            1 => name,
            more => format!("{name} ({more})"),
        }
    };
    plan.steps.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The old text for each new one, `-` for none.
    fn paired(old: &str, new: &str) -> String {
        let old: Vec<&str> = old.split(';').filter(|text| !text.is_empty()).collect();
        let new: Vec<&str> = new.split(';').filter(|text| !text.is_empty()).collect();
        let found = pairs(&old, &new);
        let texts: Vec<&str> = found
            .iter()
            .map(|at| at.map_or("-", |at| old[at]))
            .collect();
        texts.join(";")
    }

    #[test]
    fn instructions_are_paired_as_a_person_would() {
        let cases = [
            // The same.
            ("RUN a;RUN b", "RUN a;RUN b", "RUN a;RUN b"),
            // Inserted and removed ones move nothing.
            ("RUN a;RUN b", "RUN new;RUN a;RUN b", "-;RUN a;RUN b"),
            ("RUN a;COPY b /;RUN c", "RUN a;RUN c", "RUN a;RUN c"),
            // Edited ones, also beside inserted ones.
            ("RUN a;RUN make", "RUN a;RUN make all", "RUN a;RUN make"),
            (
                "RUN apt-get install gcc;RUN make",
                "RUN apt-get install gcc make;RUN echo hello;RUN make",
                "RUN apt-get install gcc;-;RUN make",
            ),
            // The only one of its kind was edited, however much.
            ("COPY a /;RUN one", "COPY b /x;RUN two", "COPY a /;RUN one"),
            // One of several has to look alike.
            (
                "RUN apt-get update",
                "RUN go build ./...;RUN cargo build",
                "-;-",
            ),
            // Another kind is another instruction.
            ("COPY a /", "RUN a", "-"),
            ("", "RUN a", "-"),
            ("RUN a", "", ""),
        ];
        for (old, new, expected) in cases {
            assert_eq!(paired(old, new), expected, "{old} | {new}");
        }
    }

    #[test]
    fn names_that_an_author_gave() {
        for name in ["build", "stage-x", "stage-"] {
            assert!(is_given(name), "{name}");
        }
        for name in ["", "stage-0", "stage-12"] {
            assert!(!is_given(name), "{name}");
        }
    }
}
