//! What a Dockerfile offers and what a build of it takes: its targets, and the arguments, secrets and agents of one of them.
//!
//! Base images are not looked at, so this works without a registry. A value that would come from the environment of one
//! is empty.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::lower::{Lowering, Place};
use super::options::{PlanOptions, ResolvedBases};
use super::reach::Named;
use super::stage::StageState;
use super::{Failure, expand_failure, instructions};
use crate::dockerfile::Dockerfile;
use crate::dockerfile::ast::{
    ArgDeclaration, ArgInstruction, InstructionKind, RunInstruction, Word,
};
use crate::dockerfile::mount::Mount;
use crate::dockerfile::word::{self, Mode};
use crate::source::{Diagnostic, SourceMap, Span, Spanned};

/// A stage as something that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, in lower case; absent if it has none.
    pub name: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// What it starts from, as written.
    pub base: String,
    /// The value of `--platform`, as written.
    pub platform: Option<String>,
    /// Whether it is built if nobody names a target.
    pub default: bool,
    /// Its `FROM` line.
    pub span: Span,
}

/// What a build of one target takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name, in lower case; absent if it has none.
    pub name: Option<String>,
    /// What the comment above the target says.
    pub description: Option<String>,
    /// Arguments, in the order of their declarations.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets, in the order of their first use.
    pub secrets: Vec<OutlineNeed>,
    /// SSH agents, in the order of their first use.
    pub agents: Vec<OutlineNeed>,
}

/// An argument that makes a difference to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What the comment above its declaration says.
    pub description: Option<String>,
    /// The value that this build gives it, which is its default if the user gives none.
    pub value: Option<String>,
    /// The instruction that declares it.
    pub span: Span,
}

/// Something that a `RUN` asks for by an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineNeed {
    /// The id.
    pub id: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The instruction that asks.
    pub span: Span,
}

/// The stages of a file as targets, in order.
#[must_use]
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let count = dockerfile.stages.len();
    let target = |(index, stage): (usize, &crate::dockerfile::ast::Stage)| {
        let from = &stage.from.kind;
        let name = from.name.as_ref().map(|name| name.lower.clone());
        Target {
            description: name
                .as_deref()
                .and_then(|name| description(&stage.from.comments, name)),
            name,
            base: from.image.text.clone(),
            platform: from.platform.as_ref().map(|word| word.text.clone()),
            default: index + 1 == count,
            span: stage.from.span,
        }
    };
    dockerfile.stages.iter().enumerate().map(target).collect()
}

/// What the target of `options` takes. Texts of triggers are added to `sources`.
///
/// # Errors
/// Mistakes of the author that prevent knowing it.
pub fn outline(
    dockerfile: &Dockerfile,
    sources: &mut SourceMap,
    options: &PlanOptions,
) -> Result<Outline, Vec<Diagnostic>> {
    let bases = ResolvedBases::new();
    Lowering::new(dockerfile, sources, options, &bases)
        .and_then(surveyed)
        .map_err(|failure| vec![*failure])
}

fn surveyed(mut lowering: Lowering<'_>) -> Result<Outline, Failure> {
    lowering.reach()?;
    let mut survey = Survey {
        globals: globals(&lowering)?,
        found: Outline::default(),
        names: BTreeSet::new(),
    };
    survey.stages(&mut lowering)?;
    let mut found = survey.found;
    let target = &lowering.dockerfile.stages[lowering.target].from;
    found.name = target.kind.name.as_ref().map(|name| name.lower.clone());
    found.description = found
        .name
        .as_deref()
        .and_then(|name| description(&target.comments, name));
    Ok(found)
}

/// The rest of the comment line directly above whose first word is `name`.
fn description(comments: &[Spanned<String>], name: &str) -> Option<String> {
    comments.iter().find_map(|comment| {
        let rest = comment.value.strip_prefix(name)?;
        let text = rest.trim_start();
        (text.len() < rest.len()).then(|| text.to_owned())
    })
}

/// A global argument and the global arguments in its default.
struct Global {
    argument: OutlineArgument,
    uses: BTreeSet<String>,
}

/// The arguments declared before the first `FROM`; the last declaration of a name counts.
fn globals(lowering: &Lowering<'_>) -> Result<BTreeMap<String, Global>, Failure> {
    let mut globals: BTreeMap<String, Global> = BTreeMap::new();
    for instruction in &lowering.dockerfile.global_args {
        for declaration in &instruction.kind.declarations {
            let (name, _) = global_words(lowering, &declaration.name)?;
            let mut uses = match &declaration.default {
                Some(default) if lowering.globals.build_arg(&name).is_none() => {
                    global_words(lowering, default)?.1
                }
                _ => BTreeSet::new(),
            };
            // `ARG A=$A-1` builds on what the earlier one was made of.
            if uses.remove(&name)
                && let Some(earlier) = globals.get(&name)
            {
                uses.extend(earlier.uses.iter().cloned());
            }
            let argument = OutlineArgument {
                description: description(&instruction.comments, &name),
                value: lowering.globals.get(&name),
                span: instruction.span,
                name: name.clone(),
            };
            globals.insert(name, Global { argument, uses });
        }
    }
    Ok(globals)
}

/// The value of a word in the global scope, and the names in it.
fn global_words(
    lowering: &Lowering<'_>,
    word: &Word,
) -> Result<(String, BTreeSet<String>), Failure> {
    let names = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        names.borrow_mut().insert(name.to_owned());
        lowering.globals.get(name)
    };
    let escape = lowering.dockerfile.escape;
    let value = word::expand(word, escape, &lookup, Mode::Argument)
        .map_err(expand_failure)?
        .value;
    Ok((value, names.into_inner()))
}

/// What one stage adds.
#[derive(Default)]
struct StageFound {
    arguments: Vec<OutlineArgument>,
    secrets: Vec<OutlineNeed>,
    agents: Vec<OutlineNeed>,
}

/// The outline as it grows.
struct Survey {
    globals: BTreeMap<String, Global>,
    found: Outline,
    /// Arguments that are in it.
    names: BTreeSet<String>,
}

impl Survey {
    /// Stages are walked from the top, since they inherit variables, and merged from the target up: where two of them
    /// say something about one name, the one nearest to the target does.
    fn stages(&mut self, lowering: &mut Lowering<'_>) -> Result<(), Failure> {
        let mut stages = Vec::new();
        for index in lowering.needed.clone() {
            stages.push(self.stage(lowering, index)?);
        }
        for stage in stages.into_iter().rev() {
            for argument in stage.arguments {
                if self.names.insert(argument.name.clone()) {
                    self.found.arguments.push(argument);
                }
            }
            add_needs(&mut self.found.secrets, stage.secrets);
            add_needs(&mut self.found.agents, stage.agents);
        }
        self.found.arguments.sort_by_key(|argument| argument.span);
        self.found.secrets.sort_by_key(|need| need.span);
        self.found.agents.sort_by_key(|need| need.span);
        Ok(())
    }

    fn stage(&self, lowering: &mut Lowering<'_>, index: usize) -> Result<StageFound, Failure> {
        let stage = &lowering.dockerfile.stages[index];
        let mut found = StageFound::default();
        for word in std::iter::once(&stage.from.kind.image).chain(&stage.from.kind.platform) {
            for name in global_words(lowering, word)?.1 {
                found.arguments.extend(self.global(&name));
            }
        }
        let line = &lowering.lines[index];
        let finished = match line.named {
            Named::Stage(base) => lowering.finished[base].clone().map(StageState::derived),
            _ => None,
        };
        let mut state = finished.unwrap_or_else(|| StageState::scratch(line.platform.clone()));
        let triggers = std::mem::take(&mut lowering.triggers[index]);
        let all = triggers
            .iter()
            .map(|trigger| (&trigger.instruction, true))
            .chain(stage.instructions.iter().map(|own| (own, false)));
        for (instruction, trigger) in all {
            let place = Place {
                stage: index,
                span: if trigger {
                    stage.from.span
                } else {
                    instruction.span
                },
                escape: if trigger {
                    '\\'
                } else {
                    lowering.dockerfile.escape
                },
                position: (1, 1),
                trigger,
            };
            match &instruction.kind {
                InstructionKind::Arg(arg) => {
                    instructions::lower(lowering, &mut state, instruction, place)?;
                    let comments = &instruction.comments;
                    let own = self.declared(&state, lowering, arg, comments, place);
                    found.arguments.extend(own);
                }
                InstructionKind::Env(_) => {
                    instructions::lower(lowering, &mut state, instruction, place)?;
                }
                InstructionKind::Run(run) => mounts(lowering, &state, run, place, &mut found)?,
                _ => {}
            }
        }
        lowering.finished[index] = Some(state);
        Ok(found)
    }

    /// A global argument that is used, after those that it is made of. Not by recursion: their chain may be as long as the file.
    fn global(&self, name: &str) -> Vec<OutlineArgument> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            // Automatic arguments are declared nowhere and nobody has to give them.
            if let Some(global) = self.globals.get(name)
                && seen.insert(name)
            {
                found.push(global.argument.clone());
                open.extend(global.uses.iter().map(String::as_str));
            }
        }
        found.reverse();
        found
    }

    /// The names of an `ARG` inside a stage. One without a value of its own is the global one.
    fn declared(
        &self,
        state: &StageState,
        lowering: &Lowering<'_>,
        arg: &ArgInstruction,
        comments: &[Spanned<String>],
        place: Place,
    ) -> Vec<OutlineArgument> {
        let mut arguments = Vec::new();
        for declaration in &arg.declarations {
            let Some(name) = argument_name(declaration, place.escape, state) else {
                continue;
            };
            let own = declaration.default.is_some() || lowering.globals.build_arg(&name).is_some();
            if !own && lowering.globals.get(&name).is_some() {
                arguments.extend(self.global(&name));
                continue;
            }
            let of_global = || self.globals.get(&name)?.argument.description.clone();
            arguments.push(OutlineArgument {
                description: description(comments, &name).or_else(of_global),
                value: state.variable(&name).filter(|_| own),
                span: place.span,
                name,
            });
        }
        arguments
    }
}

fn argument_name(declaration: &ArgDeclaration, escape: char, state: &StageState) -> Option<String> {
    let lookup = |name: &str| state.variable(name);
    let expansion = word::expand(&declaration.name, escape, &lookup, Mode::Argument);
    expansion.ok().map(|expansion| expansion.value)
}

fn mounts(
    lowering: &mut Lowering<'_>,
    state: &StageState,
    run: &RunInstruction,
    place: Place,
    found: &mut StageFound,
) -> Result<(), Failure> {
    for spec in &run.mounts {
        let need = |id: String, required| OutlineNeed {
            id,
            required,
            span: place.span,
        };
        match instructions::resolve_mount(lowering, state, spec, place)? {
            Mount::Secret { id, required, .. } => found.secrets.push(need(id, required)),
            Mount::Ssh { id, required, .. } => {
                let id = id.unwrap_or_else(|| "default".to_owned());
                found.agents.push(need(id, required));
            }
            Mount::Bind { .. } | Mount::Cache { .. } | Mount::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

/// Adds needs by id: required once is required.
fn add_needs(needs: &mut Vec<OutlineNeed>, more: Vec<OutlineNeed>) {
    for need in more {
        match needs.iter_mut().find(|known| known.id == need.id) {
            Some(known) => {
                known.required |= need.required;
                known.span = known.span.min(need.span);
            }
            None => needs.push(need),
        }
    }
}
