//! What became of each step while a plan is solved: kept for the memory of what was built where and for `builder why`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::account::Account;
use super::driver::StepResult;
use super::environment::Environment;
use super::event::VertexId;
use super::miss::MissReason;
use super::past::Past;
use super::record::{BuildRecord, BuiltStep, StepOutcome, kept_message};
use super::times::rfc3339;
use crate::plan::{Plan, StepId};

/// What became of each step so far.
#[derive(Debug)]
pub(super) struct Journal {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    number: Option<VertexId>,
    missed: Option<(MissReason, BTreeMap<String, String>)>,
    /// Why it failed, unless it was stopped.
    failed: Option<String>,
    took: Duration,
}

impl Journal {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            entries: vec![Entry::default(); plan.steps.len()],
        }
    }

    pub(super) fn began(&mut self, step: StepId, number: VertexId) {
        self.entries[step.0].number = Some(number);
    }

    pub(super) fn missed(
        &mut self,
        step: StepId,
        reason: MissReason,
        ingredients: BTreeMap<String, String>,
    ) {
        self.entries[step.0].missed = Some((reason, ingredients));
    }

    pub(super) fn failed(&mut self, step: StepId, message: Option<&str>, took: Duration) {
        let entry = &mut self.entries[step.0];
        entry.failed = message.map(kept_message);
        entry.took = took;
    }

    /// A step that ended well has a record of its own.
    pub(super) fn done(&mut self, step: StepId) {
        if let Some((_, ingredients)) = &mut self.entries[step.0].missed {
            ingredients.clear();
        }
    }

    /// Keeps all of it. Best effort: it serves explanations only.
    pub(super) fn keep(
        self,
        plan: &Plan,
        environment: &Environment<'_>,
        past: &Past,
        results: &[Option<StepResult>],
    ) {
        let subject = &environment.subject;
        let places = past.after(plan, &environment.bases, results);
        if places != *past.places() {
            let _written = environment
                .store
                .put_places(subject.of_dockerfile(), &places);
        }
        let steps = plan.steps.iter().zip(self.entries).zip(results);
        let record = BuildRecord {
            subject: subject.clone(),
            ended: rfc3339((environment.clock)()),
            complete: results.iter().all(Option::is_some),
            steps: steps
                .map(|((step, entry), result)| BuiltStep {
                    label: step.label.clone(),
                    stage: step.stage_name().to_owned(),
                    ..entry.built(result.as_ref())
                })
                .collect(),
        };
        let _written = environment.store.put_build(subject.of_target(), &record);
    }
}

impl Entry {
    fn built(self, result: Option<&StepResult>) -> BuiltStep {
        let outcome = match result {
            Some(result) if result.imported => StepOutcome::Imported,
            Some(result) if result.cached => StepOutcome::Cached,
            Some(_) => StepOutcome::Ran,
            None if self.failed.is_some() => StepOutcome::Failed,
            None if self.number.is_some() => StepOutcome::Stopped,
            None => StepOutcome::NotReached,
        };
        let (reason, ingredients) = self.missed.unzip();
        let took = result.map_or(self.took, |result| result.took);
        BuiltStep {
            number: self.number.map(|number| number.0),
            label: String::new(),
            stage: String::new(),
            outcome,
            key: result.and_then(|result| result.key),
            millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            reason,
            message: self.failed,
            ingredients: ingredients.filter(|ingredients| !ingredients.is_empty()),
        }
    }
}

/// What the cache saved by the steps that it had.
pub(super) fn saved(results: &[Option<StepResult>]) -> Account {
    let cached = results.iter().flatten().filter(|result| result.cached);
    Account::saving(cached.map(|result| result.took).sum())
}
