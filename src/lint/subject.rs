//! What rules look at.

use std::path::Path;

use crate::context::LocalContext;
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{Instruction, Stage};
use crate::plan::{Fact, Observation, Plan};
use crate::source::{Diagnostic, SourceMap, Span, Spanned};

/// A Dockerfile and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The tree.
    pub dockerfile: &'a Dockerfile,
    /// The texts that places are in.
    pub sources: &'a SourceMap,
    /// What the parser had to say of a file that it accepted.
    pub remarks: &'a [Diagnostic],
    /// What planning noticed: [`Plan::observations`], or what [`observe`](crate::plan::observe) tells of a file that cannot be
    /// planned.
    pub observations: &'a [Observation],
    /// The plan, if the file could be planned.
    pub plan: Option<&'a Plan>,
    /// The main context, if it is a folder that is at hand.
    pub context: Option<&'a LocalContext>,
}

impl<'a> Subject<'a> {
    /// The text of a place.
    pub(super) fn slice(&self, span: Span) -> &'a str {
        let file = self.sources.get(span.file);
        file.map_or("", |file| file.slice(span))
    }

    /// Whether an instruction stands in the file as its text says: on one line, or at least without comments between.
    pub(super) fn is_verbatim<K>(&self, instruction: &Instruction<K>) -> bool {
        self.slice(instruction.span) == instruction.text
    }

    /// The stages that are part of the build; all of them where there is no plan to tell.
    pub(super) fn built_stages(&self) -> impl Iterator<Item = &'a Stage> {
        let plan = self.plan;
        let stages = self.dockerfile.stages.iter().enumerate();
        stages
            .filter(move |(index, _)| plan.is_none_or(|plan| plan.stages.contains(index)))
            .map(|(_, stage)| stage)
    }

    /// The instructions of the stages that are part of the build.
    pub(super) fn built_instructions(&self) -> impl Iterator<Item = &'a Instruction> {
        self.built_stages().flat_map(|stage| &stage.instructions)
    }

    /// The instruction in a stage that covers a place.
    pub(super) fn instruction_at(&self, place: Span) -> Option<&'a Instruction> {
        let instructions = &self.stage_around(place)?.instructions;
        at(instructions, |instruction| instruction.span, place)
    }

    /// The stage that a place is in or behind.
    fn stage_around(&self, place: Span) -> Option<&'a Stage> {
        last_before(&self.dockerfile.stages, |stage| stage.from.span, place)
    }

    /// What planning noticed.
    pub(super) fn facts(&self) -> impl Iterator<Item = (&'a Fact, Span)> {
        let observations = self.observations.iter();
        observations.map(|seen| (&seen.fact, seen.span))
    }

    /// The comments above the instruction that covers a place.
    pub(super) fn comments_at(&self, place: Span) -> &'a [Spanned<String>] {
        let Some(stage) = self.stage_around(place) else {
            let global = at(&self.dockerfile.global_args, |arg| arg.span, place);
            return global.map_or(&[], |arg| &arg.comments);
        };
        if covers(stage.from.span, place) {
            return &stage.from.comments;
        }
        let instruction = at(&stage.instructions, |instruction| instruction.span, place);
        instruction.map_or(&[], |instruction| &instruction.comments)
    }

    /// Whether the main context leaves a path out; never where its rules take something back in.
    pub(super) fn is_ignored(&self, path: &Path) -> bool {
        let Some(ignore) = self.context.map(LocalContext::ignore) else {
            return false;
        };
        let mut patterns = (0..).map_while(|position| ignore.patterns().pattern(position));
        if patterns.clone().any(|pattern| pattern.starts_with('!')) {
            return false;
        }
        if path.as_os_str().is_empty() {
            return patterns.any(|pattern| matches!(pattern, "*" | "**" | "**/*"));
        }
        ignore.excludes(path)
    }
}

/// The one of some things, sorted by their places, that covers a place.
fn at<T>(sorted: &[T], span: impl Fn(&T) -> Span, place: Span) -> Option<&T> {
    last_before(sorted, &span, place).filter(|found| covers(span(found), place))
}

/// The last of some things, sorted by their places, that begins at a place or before it.
fn last_before<T>(sorted: &[T], span: impl Fn(&T) -> Span, place: Span) -> Option<&T> {
    let begins = |thing: &T| (span(thing).file, span(thing).start) <= (place.file, place.start);
    let count = sorted.partition_point(begins);
    sorted.get(count.checked_sub(1)?)
}

fn covers(instruction: Span, place: Span) -> bool {
    instruction.file == place.file
        && instruction.start <= place.start
        && place.start <= instruction.end
}
