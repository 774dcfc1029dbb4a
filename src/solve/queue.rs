//! Which steps may run now: a ready-queue over the dependencies of a plan. Pure: no threads, no I/O.

use std::collections::BTreeSet;

use crate::plan::{StateRef, Step, StepId};

/// Steps in the order in which they may run.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// Steps that each step still waits for.
    waiting: Vec<BTreeSet<StepId>>,
    /// Steps that wait for each step.
    dependents: Vec<Vec<StepId>>,
    ready: BTreeSet<StepId>,
    unfinished: usize,
}

impl Queue {
    /// A queue of all steps.
    #[must_use]
    pub(super) fn new(steps: &[Step]) -> Self {
        let mut dependents = vec![Vec::new(); steps.len()];
        let mut waiting = Vec::with_capacity(steps.len());
        for (index, step) in steps.iter().enumerate() {
            let inputs: BTreeSet<StepId> = step
                .inputs()
                .into_iter()
                .filter_map(|state| {
                    if let StateRef::Step(id) = state {
                        Some(id)
                    } else {
                        None
                    }
                })
                .collect();
            inputs
                .iter()
                .for_each(|input| dependents[input.0].push(StepId(index)));
            waiting.push(inputs);
        }
        let ready = waiting
            .iter()
            .enumerate()
            .filter(|(_, w)| w.is_empty())
            .map(|(i, _)| StepId(i))
            .collect();
        Self {
            unfinished: waiting.len(),
            waiting,
            dependents,
            ready,
        }
    }

    /// Takes a step that may run; the earliest in the file first.
    pub(super) fn take(&mut self) -> Option<StepId> {
        self.ready.pop_first()
    }

    /// A step has run: what waited for it alone may run.
    pub(super) fn finish(&mut self, step: StepId) {
        self.unfinished -= 1;
        for dependent in std::mem::take(&mut self.dependents[step.0]) {
            let waiting = &mut self.waiting[dependent.0];
            if waiting.remove(&step) && waiting.is_empty() {
                self.ready.insert(dependent);
            }
        }
    }

    /// Whether every step has run.
    #[must_use]
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::Platform;
    use crate::plan::{CopyStep, StepKind, TreeSource};
    use crate::source::Span;

    fn step(input: Option<usize>, from: Option<usize>) -> Step {
        let state =
            |index: Option<usize>| index.map_or(StateRef::Scratch, |i| StateRef::Step(StepId(i)));
        Step {
            label: String::new(),
            span: Span::default(),
            stage: 0,
            input: state(input),
            platform: Platform::new("linux", "amd64", ""),
            no_cache: false,
            kind: StepKind::Copy(CopyStep {
                add: false,
                from: TreeSource::State(state(from)),
                sources: vec![],
                destination: "/".into(),
                chown: None,
                chmod: None,
                link: false,
                parents: false,
                exclude: vec![],
                unpack: None,
            }),
        }
    }

    proptest! {
        /// Against the naive evaluator: a step may run when, and only when, all it needs has run; each runs once.
        #[test]
        fn agrees_with_a_naive_evaluator(edges in prop::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 0..40), pick in any::<u64>()) {
            let steps: Vec<Step> = edges
                .iter()
                .enumerate()
                .map(|(i, (a, b, both))| {
                    let below = |n: u8| (i > 0).then(|| usize::from(n) % i);
                    step(below(*a), if *both { below(*b) } else { None })
                })
                .collect();
            let mut queue = Queue::new(&steps);
            let mut done = BTreeSet::new();
            let mut running: Vec<StepId> = Vec::new();
            let mut pick = pick;
            while !queue.is_finished() {
                while let Some(id) = queue.take() {
                    for input in steps[id.0].inputs() {
                        if let StateRef::Step(input) = input {
                            prop_assert!(done.contains(&input));
                        }
                    }
                    running.push(id);
                }
                prop_assert!(!running.is_empty());
                let index = usize::try_from(pick % running.len() as u64).unwrap();
                let finished = running.swap_remove(index);
                pick = pick.rotate_left(7) ^ 0x9e37;
                prop_assert!(done.insert(finished));
                queue.finish(finished);
            }
            prop_assert_eq!(done.len(), steps.len());
        }
    }
}
