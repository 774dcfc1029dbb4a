//! The plan: an arena of steps, the bases they start from, and the images to make of it.

use std::collections::{BTreeMap, BTreeSet};

use super::observation::Observation;
use super::step::{BaseId, BaseRequest, StateRef, Step, StepId};
use crate::oci::{Config, HistoryEntry, Platform};

/// The instruction graph of one target, for one platform or, [merged](super::merge), for several. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Steps; inputs come before the steps that use them. Only what the target needs is here.
    pub steps: Vec<Step>,
    /// Images that steps start from or copy from.
    pub bases: Vec<BaseRequest>,
    /// The file system at the end of each stage that was planned, by its position in the file.
    pub states: BTreeMap<usize, StateRef>,
    /// The images to make: one a platform, in the order in which the platforms were asked for.
    pub images: Vec<PlannedImage>,
    /// `SOURCE_DATE_EPOCH`, seconds since 1970.
    pub epoch: Option<i64>,
    /// The stages that the target needs, by position in the file.
    pub stages: BTreeSet<usize>,
    /// What was noticed on the way, for the build checks.
    pub observations: Vec<Observation>,
}

/// The image at the end of a plan, with all that is known before anything runs.
#[derive(Clone, Debug)]
pub struct PlannedImage {
    /// Its file system.
    pub state: StateRef,
    /// Its config without layers, history and times of this build.
    pub config: Config,
    /// History of the base image.
    pub base_history: Vec<HistoryEntry>,
    /// What this build does, in order: the text, and the step that makes the layer.
    pub history: Vec<PlannedHistory>,
    /// The platform it is for.
    pub platform: Platform,
}

/// One instruction in the history of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHistory {
    /// Text of the entry.
    pub created_by: String,
    /// The step that makes its layer, if it makes one.
    pub step: Option<StepId>,
}

impl Plan {
    /// A step by its index.
    #[must_use]
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// A base by its index.
    #[must_use]
    pub fn base(&self, id: BaseId) -> &BaseRequest {
        &self.bases[id.0]
    }

    /// The steps whose layers make up a state, bottom first, and the base below them.
    #[must_use]
    pub fn chain(&self, state: StateRef) -> (Option<BaseId>, Vec<StepId>) {
        let mut steps = Vec::new();
        let mut state = state;
        loop {
            match state {
                StateRef::Scratch => break,
                StateRef::Base(base) => {
                    steps.reverse();
                    return (Some(base), steps);
                }
                StateRef::Step(id) => {
                    steps.push(id);
                    state = self.step(id).input;
                }
            }
        }
        steps.reverse();
        (None, steps)
    }
}
