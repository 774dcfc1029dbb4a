//! What each instruction does to its stage: a step, a change of the config, or both; and always its history entry.

mod copy;
mod metadata;
mod mounts;
mod run;

use super::lower::{Lowering, Place};
use super::observation::Fact;
use super::stage::StageState;
use super::step::{StepKind, TreeSource, WorkdirStep};
use super::{Failure, expanded, fail, paths, reach};
use crate::dockerfile::ast::{ArgInstruction, Instruction, InstructionKind, Word};
use crate::source::Span;

pub(super) use mounts::resolve_mount;

/// Applies one instruction.
pub(super) fn lower(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    instruction: &Instruction,
    place: Place,
) -> Result<(), Failure> {
    match &instruction.kind {
        InstructionKind::Add(add) => copy::add(lowering, state, instruction, add, place),
        InstructionKind::Copy(copy) => copy::copy(lowering, state, instruction, copy, place),
        InstructionKind::Run(run) => run::run(lowering, state, instruction, run, place),
        InstructionKind::Workdir(word) => workdir(lowering, state, word, place),
        InstructionKind::Arg(arg) => argument(lowering, state, arg, place),
        other => metadata::lower(lowering, state, other, place),
    }
}

/// Expands a word with the variables of the stage.
fn expand(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    word: &Word,
    place: Place,
) -> Result<String, Failure> {
    let expansion = expanded(word, place.escape, &|name| state.variable(name))?;
    lowering.notice_undefined(state, expansion.unset, word.span);
    Ok(expansion.value)
}

fn workdir(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    word: &Word,
    place: Place,
) -> Result<(), Failure> {
    let written = expand(lowering, state, word, place)?;
    if !state.workdir_set && !state.is_absolute(&written) {
        let path = written.clone();
        lowering.notice(word.span, Fact::RelativeWorkdir { path });
    }
    state.workdir_set = true;
    let path = paths::absolute(&state.cwd(), &written);
    // The image says an absolute path as the author wrote it, a relative one joined and cleaned.
    let shown = if written.starts_with('/') {
        &written
    } else {
        &path
    };
    state
        .config_mut()
        .set("WorkingDir", Some(serde_json::json!(shown)));
    let text = format!("WORKDIR {shown}");
    // The root is always there.
    let step = (path != "/").then(|| {
        let step = WorkdirStep {
            path,
            user: state.config.user(),
        };
        lowering.step(state, place, &text, StepKind::Workdir(step))
    });
    state.record(text, step);
    Ok(())
}

/// A value, first that applies: the command line, the default on this line, the global scope.
fn argument(
    lowering: &mut Lowering<'_>,
    state: &mut StageState,
    arg: &ArgInstruction,
    place: Place,
) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for declaration in &arg.declarations {
        let name = expand(lowering, state, &declaration.name, place)?;
        let value = match (lowering.globals.build_arg(&name), &declaration.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(expand(lowering, state, default, place)?),
            (None, None) => lowering.globals.get(&name),
        };
        texts.push(match &value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        });
        state.set_arg(&name, value.as_deref());
    }
    state.record(format!("ARG {}", texts.join(" ")), None);
    Ok(())
}

/// The tree that `--from` or a mount's `from` names.
fn tree(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    name: &str,
    mount_target: Option<&str>,
    place: Place,
    span: Span,
) -> Result<TreeSource, Failure> {
    let named = reach::reference(
        lowering.dockerfile,
        lowering.options,
        place.stage,
        name,
        mount_target,
        (&state.platform, span),
    )?;
    match &named {
        reach::Named::Stage(stage) => {
            let failed = || fail("base-stage", span, format!("the stage `{name}` has errors"));
            Ok(TreeSource::State(
                lowering.finished_state(*stage).ok_or_else(failed)?,
            ))
        }
        other => match (
            lowering.image_request(&named, name, &state.platform, span)?,
            other,
        ) {
            (Some(request), _) => {
                lowering.notice_platform(&request, name, &state.platform, span);
                Ok(TreeSource::State(lowering.base_image_state(&request, span)))
            }
            (None, reach::Named::Context(context))
                if lowering.options.contexts[context]
                    == super::options::NamedContext::Directory =>
            {
                Ok(TreeSource::NamedContext(context.clone()))
            }
            (None, _) => Ok(TreeSource::State(super::step::StateRef::Scratch)),
        },
    }
}
