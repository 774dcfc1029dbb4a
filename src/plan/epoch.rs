//! `SOURCE_DATE_EPOCH`: from the command line, else from the default that the Dockerfile gives it before its first
//! stage.

use super::globals::Globals;
use super::options::{PlanOptions, context_name};
use super::{Failure, fail, not_yet, reach};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{CopySource, InstructionKind, Stage};
use crate::source::{Diagnostic, Span};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Seconds since 1970, if anybody says any. An empty value says none.
pub(super) fn epoch(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    globals: &Globals,
) -> Result<Option<i64>, Failure> {
    let value = globals
        .build_arg(NAME)
        .cloned()
        .or_else(|| globals.get(NAME));
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if let Ok(seconds) = value.parse::<i64>() {
        return Ok(Some(seconds));
    }
    // A folder has no time of its own.
    if value == "context" || options.contexts.contains_key(&context_name(&value)) {
        return Ok(None);
    }
    let lower = value.to_lowercase();
    let stage = dockerfile
        .stages
        .iter()
        .find(|stage| reach::name_of(stage) == Some(&lower));
    if let Some(stage) = stage {
        return Err(of_stage(stage));
    }
    let failure = Diagnostic::error("epoch", format!("invalid {NAME}: {value}"));
    Err(Box::new(match declaration(dockerfile) {
        Some(span) => failure.at(span, ""),
        None => failure,
    }))
}

fn declaration(dockerfile: &Dockerfile) -> Option<Span> {
    let instructions = dockerfile.global_args.iter();
    let mut declarations = instructions.flat_map(|instruction| &instruction.kind.declarations);
    let found = declarations.find(|declaration| declaration.name.text == NAME);
    found.map(|declaration| declaration.name.span)
}

/// What is wrong with taking the time from a stage: at the least that it is not done yet.
fn of_stage(stage: &Stage) -> Failure {
    let from = stage.from.span;
    let wrong = |span, why: &str| fail("epoch", span, format!("{NAME} stage {why}"));
    if stage.from.kind.image.text != "scratch" {
        return wrong(from, "must use FROM scratch");
    }
    let mut remote = 0;
    for instruction in &stage.instructions {
        match &instruction.kind {
            InstructionKind::Arg(_) => {}
            InstructionKind::Add(add) => {
                let is_remote = |source: &CopySource| match source {
                    CopySource::Path(word) => word.text.contains("://"),
                    CopySource::Heredoc(_) => false,
                };
                remote += add
                    .sources
                    .iter()
                    .filter(|source| is_remote(source))
                    .count();
            }
            _ => {
                let keyword = instruction.keyword.value.to_uppercase();
                let why = format!(
                    "does not meet source-only requirements: unsupported {keyword} instruction"
                );
                return wrong(instruction.span, &why);
            }
        }
    }
    if remote != 1 {
        return wrong(from, "must contain exactly one remote ADD");
    }
    not_yet(from, &format!("a {NAME} taken from a stage"))
}
