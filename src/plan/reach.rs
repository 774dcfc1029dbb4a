//! What names mean: of the target, in `FROM`, in `--from`, in a mount's `from`. A stage, a named context or an image.

use std::collections::BTreeSet;

use super::options::{NamedContext, NoCache, PlanOptions, context_name};
use super::{Failure, fail};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{Instruction, InstructionKind, Stage};
use crate::oci::Platform;
use crate::source::{Diagnostic, Span};

/// What a name in `FROM`, `--from` or a mount's `from` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A stage of this file, by position.
    Stage(usize),
    /// A named context, by normalised name.
    Context(String),
    /// An image.
    Image,
}

/// The stage to build.
pub(super) fn target(dockerfile: &Dockerfile, options: &PlanOptions) -> Result<usize, Failure> {
    let last = dockerfile.stages.len() - 1;
    let Some(wanted) = &options.target else {
        return Ok(last);
    };
    let lower = wanted.to_lowercase();
    let by_name = dockerfile.last_named(&lower, dockerfile.stages.len());
    let by_index = || wanted.parse::<usize>().ok().filter(|index| *index <= last);
    by_name.or_else(by_index).ok_or_else(|| {
        let names = dockerfile.stages.iter().filter_map(name_of);
        let close = names
            .map(|name| (strsim::levenshtein(name, &lower), name))
            .min()
            .filter(|(d, _)| *d <= 3);
        let missing = format!("target stage \"{wanted}\" could not be found");
        Box::new(match close {
            Some((_, name)) => {
                Diagnostic::error("target", format!("{missing} (did you mean {name}?)"))
            }
            None => {
                Diagnostic::error("target", missing).hint("name a stage with `FROM image AS name`")
            }
        })
    })
}

/// What to say of a name that is no image, where a stage was probably meant.
#[must_use]
pub fn stage_hint(dockerfile: &Dockerfile, name: &str) -> Option<String> {
    let lower = name.to_lowercase();
    // As for an image without a tag.
    let lower = lower.strip_suffix(":latest").unwrap_or(&lower);
    // The distance is expensive where names are long.
    let near = |stage: &&String| lower.len() < 40 && stage.len().abs_diff(lower.len()) <= 2;
    let (distance, close) = (dockerfile.stages.iter().filter_map(name_of).filter(near))
        .map(|stage| (strsim::damerau_levenshtein(stage, lower), stage))
        .min()?;
    match distance {
        0 => Some(format!(
            "`{close}` is a stage too, but not above this line: only stages above can be used"
        )),
        1 | 2 if distance * 2 < lower.len() => Some(format!("did you mean the stage `{close}`?")),
        _ => None,
    }
}

/// Names among those of stages to run anew that no stage has; each with the one that was probably meant.
pub fn unknown_stages(
    dockerfile: &Dockerfile,
    no_cache: &NoCache,
) -> Vec<(String, Option<String>)> {
    let NoCache::Stages(names) = no_cache else {
        return Vec::new();
    };
    let stages = dockerfile.stages.iter().enumerate();
    let known: BTreeSet<String> = stages
        .map(|(index, stage)| filter_name(stage, index))
        .collect();
    let unknown = names.difference(&known);
    unknown
        .map(|name| (name.clone(), stage_hint(dockerfile, name)))
        .collect()
}

/// What a stage is called where stages are picked by name.
pub(super) fn filter_name(stage: &Stage, index: usize) -> String {
    name_of(stage).map_or_else(|| format!("stage-{index}"), Clone::clone)
}

pub(super) fn name_of(stage: &Stage) -> Option<&String> {
    stage.from.kind.name.as_ref().map(|name| &name.lower)
}

/// What the base name of a stage means: a named context, an earlier stage, an image.
pub(super) fn base(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    stage: usize,
    name: &str,
    platform: &Platform,
) -> Result<Named, Failure> {
    if let Some(context) = context(options, name, platform) {
        let span = dockerfile.stages[stage].from.span;
        return in_place(dockerfile, options, stage, context, span);
    }
    let lower = name.to_lowercase();
    match dockerfile.last_named(&lower, stage) {
        Some(found) => Ok(Named::Stage(found)),
        None => Ok(Named::Image),
    }
}

/// The named context of a name: the one for the platform, else the one for all.
fn context(options: &PlanOptions, name: &str, platform: &Platform) -> Option<String> {
    if options.contexts.is_empty() {
        return None;
    }
    let name = context_name(name);
    let for_platform = format!("{name}::{platform}");
    [for_platform, name.clone()]
        .into_iter()
        .find(|key| name != "scratch" && options.contexts.contains_key(key))
}

/// What a named context means in `stage`: a stage above, if it is one that stands in for the name.
fn in_place(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    stage: usize,
    context: String,
    span: Span,
) -> Result<Named, Failure> {
    let Some(NamedContext::Stage(wanted)) = options.contexts.get(&context) else {
        return Ok(Named::Context(context));
    };
    let is_wanted = |stage: &Stage| name_of(stage) == Some(wanted);
    let found = dockerfile.stages[..stage].iter().rposition(is_wanted);
    found.map(Named::Stage).ok_or_else(|| {
        let message = if is_wanted(&dockerfile.stages[stage]) {
            format!("circular dependency detected on stage: {wanted}")
        } else if dockerfile.stages.iter().any(is_wanted) {
            format!("stage \"{wanted}\" stands in for `{context}`, and needs to be defined before it is used")
        } else {
            format!("build context `{context}` is the stage \"{wanted}\", which could not be found")
        };
        fail("context-stage", span, message)
    })
}

/// What `COPY --from` and a mount's `from` mean, used in `stage`. `mount_target` is set for a mount; `at` is the stage's
/// platform and the place to report.
pub(super) fn reference(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    stage: usize,
    name: &str,
    mount_target: Option<&str>,
    at: (&Platform, Span),
) -> Result<Named, Failure> {
    let (platform, span) = at;
    if let Some(context) = context(options, name, platform) {
        return in_place(dockerfile, options, stage, context, span);
    }
    let lower = name.to_lowercase();
    let stages = &dockerfile.stages;
    let mut found = dockerfile
        .last_named(&lower, stage)
        .or_else(|| dockerfile.first_named(&lower));
    if found.is_none()
        && mount_target.is_none()
        && let Ok(index) = name.parse::<usize>()
    {
        if index >= stages.len() {
            return Err(fail(
                "stage-index",
                span,
                format!("invalid stage index {name}"),
            ));
        }
        found = Some(index);
    }
    let label = |index: usize| {
        name_of(&stages[index])
            .cloned()
            .unwrap_or_else(|| format!("stage-{index}"))
    };
    match found {
        None => Ok(Named::Image),
        Some(index) if index < stage => Ok(Named::Stage(index)),
        Some(index) if index == stage => Err(fail(
            "circular",
            span,
            format!("circular dependency detected on stage: {}", label(stage)),
        )),
        Some(_) => {
            let message = match mount_target {
                Some(target) => format!(
                    "cannot mount from stage \"{name}\" to \"{target}\", stage needs to be defined before current command"
                ),
                None => format!(
                    "cannot copy from stage \"{name}\", it needs to be defined before current stage \"{}\"",
                    label(stage)
                ),
            };
            Err(fail("stage-order", span, message))
        }
    }
}

/// A name that an instruction takes files from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mention<'a> {
    /// The name as written.
    pub(super) name: &'a str,
    /// Set for the mount of a RUN, where a number is no stage.
    pub(super) mount_target: Option<&'a str>,
}

/// The names that an instruction takes files from.
pub(super) fn mentions(instruction: &Instruction) -> Vec<Mention<'_>> {
    match &instruction.kind {
        InstructionKind::Copy(copy) => copy
            .from
            .iter()
            .map(|word| Mention {
                name: &word.text,
                mount_target: None,
            })
            .collect(),
        InstructionKind::Run(run) => run
            .mounts
            .iter()
            .flat_map(|mount| &mount.fields)
            .filter(|field| field.key.value == "from")
            .filter_map(|field| field.value.as_ref())
            // `from=` says nothing: the build context.
            .filter(|word| !word.text.is_empty())
            .map(|word| Mention {
                name: &word.text,
                mount_target: Some(""),
            })
            .collect(),
        _ => Vec::new(),
    }
}
