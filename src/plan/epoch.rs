//! `SOURCE_DATE_EPOCH`: from the command line, else from the default that the Dockerfile gives it before its first
//! stage. A number, or the name of something that has a time: the context, a named context, a stage that fetches one thing.

use super::lower::Lowering;
use super::options::{MainContext, NamedContext, context_name};
use super::step::{BaseRequest, BaseSource, CopySource, StateRef, StepKind, TreeSource};
use super::{Failure, fail, reach};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{self, InstructionKind, Stage};
use crate::source::{Diagnostic, Span};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Finds the epoch and lets stages that declare the argument see it as a number. What has to be fetched for it is asked for.
pub(super) fn settle(lowering: &mut Lowering<'_>) -> Result<(), Failure> {
    let value = lowering
        .globals
        .build_arg(NAME)
        .cloned()
        .or_else(|| lowering.globals.get(NAME));
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(());
    };
    lowering.epoch = match value.parse::<i64>() {
        Ok(seconds) => Some(seconds),
        Err(_) => of_name(lowering, &value)?,
    };
    let number = lowering.epoch.map(|seconds| seconds.to_string());
    lowering.globals.replace(NAME, number);
    Ok(())
}

/// The time of what a name stands for; none where it has none.
fn of_name(lowering: &mut Lowering<'_>, value: &str) -> Result<Option<i64>, Failure> {
    let span = declaration(lowering.dockerfile);
    let source = if value == "context" {
        match &lowering.options.context {
            MainContext::Base(source) => Some(source.clone()),
            // A folder has no time of its own.
            MainContext::Directory | MainContext::Empty => return Ok(None),
        }
    } else {
        match lowering.options.contexts.get(&context_name(value)) {
            Some(NamedContext::Image(source)) => Some(source.clone()),
            Some(_) => return Ok(None),
            None => None,
        }
    };
    if let Some(source) = source {
        let build = &lowering.options.build_platform;
        let request = BaseRequest::new(source, build, build);
        return Ok(time_of(lowering, &request, span.unwrap_or_default()));
    }
    let lower = value.to_lowercase();
    let mut stages = lowering.dockerfile.stages.iter();
    let stage = stages.position(|stage| reach::name_of(stage) == Some(&lower));
    if let Some(stage) = stage {
        return of_stage(lowering, stage);
    }
    let failure = Diagnostic::error("epoch", format!("invalid {NAME}: {value}"));
    Err(Box::new(match span {
        Some(span) => failure.at(span, ""),
        None => failure,
    }))
}

/// Only trees have a time: an image's is that of its build.
fn time_of(lowering: &mut Lowering<'_>, request: &BaseRequest, span: Span) -> Option<i64> {
    match &request.source {
        BaseSource::Tree(_) => lowering.ask_for(request, span)?.time,
        BaseSource::Reference(_) | BaseSource::Layout { .. } => None,
    }
}

fn declaration(dockerfile: &Dockerfile) -> Option<Span> {
    let instructions = dockerfile.global_args.iter();
    let mut declarations = instructions.flat_map(|instruction| &instruction.kind.declarations);
    let found = declarations.find(|declaration| declaration.name.text == NAME);
    found.map(|declaration| declaration.name.span)
}

/// The time of the one thing that a stage fetches. The stage is planned for it and forgotten again.
fn of_stage(lowering: &mut Lowering<'_>, index: usize) -> Result<Option<i64>, Failure> {
    let dockerfile = lowering.dockerfile;
    let stage = &dockerfile.stages[index];
    check_stage(stage)?;
    let observed = lowering.observations.len();
    lowering.stage(index)?;
    lowering.observations.truncate(observed);
    let steps = std::mem::take(&mut lowering.steps);
    let sources = steps.iter().filter_map(|step| match &step.kind {
        StepKind::Copy(copy) => Some(&copy.sources),
        _ => None,
    });
    let mut remote = sources.flatten().filter_map(|source| match source {
        CopySource::Remote {
            from: TreeSource::State(StateRef::Base(base)),
            ..
        } => Some(*base),
        _ => None,
    });
    let (Some(base), None) = (remote.next(), remote.next()) else {
        return Err(wrong(
            stage.from.span,
            "must contain exactly one remote ADD",
        ));
    };
    let request = lowering.bases[base.0].clone();
    lowering.bases.clear();
    Ok(time_of(lowering, &request, stage.from.span))
}

fn wrong(span: Span, why: &str) -> Failure {
    fail("epoch", span, format!("{NAME} stage {why}"))
}

/// A stage whose time is taken does nothing but fetch.
fn check_stage(stage: &Stage) -> Result<(), Failure> {
    let from = stage.from.span;
    if stage.from.kind.image.text != "scratch" {
        return Err(wrong(from, "must use FROM scratch"));
    }
    let mut sources = 0;
    for instruction in &stage.instructions {
        match &instruction.kind {
            InstructionKind::Arg(_) => {}
            InstructionKind::Add(add) => {
                let path = |source: &&ast::CopySource| matches!(source, ast::CopySource::Path(_));
                sources += add.sources.iter().filter(path).count();
            }
            _ => {
                let keyword = instruction.keyword.value.to_uppercase();
                let why = format!(
                    "does not meet source-only requirements: unsupported {keyword} instruction"
                );
                return Err(wrong(instruction.span, &why));
            }
        }
    }
    if sources == 1 {
        Ok(())
    } else {
        Err(wrong(from, "must contain exactly one remote ADD"))
    }
}
