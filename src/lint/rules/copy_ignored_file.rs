//! `CopyIgnoredFile`: what is copied from the context is in the context.

use std::path::Path;

use crate::context::clean_source;
use crate::dockerfile::ast::{self, InstructionKind};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::{CopySource, CopyStep, Step, StepKind, TreeSource};
use crate::source::Span;

pub(super) const RULE: Rule = Rule {
    name: "CopyIgnoredFile",
    description: "Files that the ignore file leaves out of the context should not be copied",
    url: Some("https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    let steps = subject.plan.map_or(&[][..], |plan| &plan.steps);
    for step in steps {
        if let StepKind::Copy(copy) = &step.kind
            && copy.from == TreeSource::Context
        {
            check_copy(subject, step, copy, found);
        }
    }
}

fn check_copy(subject: &Subject<'_>, step: &Step, copy: &CopyStep, found: &mut Found) {
    let verb = if copy.add { "Add" } else { "Copy" };
    for (position, source) in copy.sources.iter().enumerate() {
        let CopySource::Path(path) = source else {
            continue;
        };
        let path = clean_source(Path::new(path));
        if !subject.is_ignored(&path) {
            continue;
        }
        let shown = if path.as_os_str().is_empty() {
            ".".into()
        } else {
            path.to_string_lossy()
        };
        let message =
            format!("Attempting to {verb} file \"{shown}\" that is excluded by .dockerignore");
        let mut finding = found
            .warning(message)
            .at(place(subject, step, position), "");
        if let Some(rule) = deciding_rule(subject, &path) {
            finding = finding.hint(format!("the pattern {rule} leaves it out of the context"));
        }
        found.add(finding);
    }
}

/// The source as written; the whole instruction where it is in a trigger.
fn place(subject: &Subject<'_>, step: &Step, position: usize) -> Span {
    let instruction = subject.instruction_at(step.span);
    let sources = instruction.map(|instruction| match &instruction.kind {
        InstructionKind::Copy(copy) => copy.sources.as_slice(),
        InstructionKind::Add(add) => add.sources.as_slice(),
        _ => &[],
    });
    match sources.and_then(|sources| sources.get(position)) {
        Some(ast::CopySource::Path(word)) => word.span,
        _ => step.span,
    }
}

fn deciding_rule(subject: &Subject<'_>, path: &Path) -> Option<String> {
    let ignore = subject.context?.ignore();
    let position = ignore.patterns().judge(path).rule?;
    Some(ignore.rule(position)?.to_string())
}
