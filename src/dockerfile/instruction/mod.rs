//! From the pieces of one instruction to its typed form, and what can be wrong with it.
//!
//! An instruction is checked by itself here; what depends on other instructions is checked where the tree is put
//! together or planned.

mod assignments;
mod command;
mod copy;
mod flags;
mod from;
mod healthcheck;
mod run;
mod simple;

use self::flags::Flags;
use super::ast::{
    FromInstruction, Heredoc, Instruction, InstructionKind, OnbuildInstruction, Word,
};
use super::glued::GluedText;
use super::keyword::{Keyword, did_you_mean};
use super::pieces::{HeredocMarker, LineParts, heredoc_markers, line_parts};
use super::{heredoc, json};
use crate::source::{Diagnostic, SourceFile, Spanned};

/// What an instruction turned out to be.
#[derive(Debug)]
pub(super) enum Lowered {
    From(FromInstruction),
    Other(InstructionKind),
}

/// The result of lowering an instruction.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) lowered: Result<Lowered, Diagnostic>,
    /// The keyword as written.
    pub(super) keyword: Spanned<String>,
    /// Where the last line of the instruction ends, heredocs included.
    pub(super) end: usize,
    /// Where the next statement begins.
    pub(super) next: usize,
}

/// The pieces of an instruction whose flags are not yet checked.
#[derive(Debug)]
struct Parts<'f> {
    keyword: Keyword,
    flags: Vec<GluedText<'f>>,
    arguments: GluedText<'f>,
    /// The elements, if the arguments are a JSON array.
    json: Option<Vec<Word>>,
    markers: Vec<HeredocMarker>,
    heredocs: Vec<Heredoc>,
    escape: char,
}

/// Where the lines of an instruction end and the next statement begins; heredocs move both.
#[derive(Clone, Copy, Debug)]
struct Ending {
    end: usize,
    next: usize,
}

/// Lowers the instruction on a logical line, of which the parts are given and that ends at `end`. Heredocs are read from
/// `next` on.
pub(super) fn lower<'f>(
    file: &SourceFile,
    line: &GluedText<'f>,
    parts: LineParts<'f>,
    escape: char,
    (end, next): (usize, usize),
) -> Outcome {
    let LineParts {
        keyword,
        flags,
        arguments,
    } = parts;
    let written = keyword.into_word();
    let mut ending = Ending { end, next };
    let lowered = match Keyword::find(&written.text) {
        None => Err(unknown(&written)),
        Some(Keyword::Onbuild) => onbuild(file, &flags, &arguments, escape, &mut ending),
        Some(keyword) => {
            let mut parts = Parts {
                keyword,
                flags,
                arguments,
                json: None,
                markers: Vec::new(),
                heredocs: Vec::new(),
                escape,
            };
            parts
                .read_arguments(file, &mut ending)
                .and_then(|()| parts.lower())
        }
    };
    Outcome {
        lowered: lowered.map_err(|diagnostic| {
            // Without a place of its own it is about the whole instruction.
            if diagnostic.labels.is_empty() {
                diagnostic.at(line.whole(), "")
            } else {
                diagnostic
            }
        }),
        keyword: Spanned::new(written.text, written.span),
        end: ending.end,
        next: ending.next,
    }
}

fn unknown(written: &Word) -> Diagnostic {
    let suggestion = did_you_mean(&written.text, Keyword::ALL.map(|(name, _)| name));
    let message = format!("unknown instruction: {}{suggestion}", written.text);
    Diagnostic::error("unknown-instruction", message).at(written.span, "")
}

impl<'f> Parts<'f> {
    /// Finds out which form the arguments have, and reads the heredocs that they announce.
    fn read_arguments(&mut self, file: &SourceFile, ending: &mut Ending) -> Result<(), Diagnostic> {
        use Keyword::{Add, Cmd, Copy, Entrypoint, Run, Shell, Volume};
        if matches!(
            self.keyword,
            Add | Cmd | Copy | Entrypoint | Run | Shell | Volume
        ) {
            self.json = json::array(&self.arguments)?;
        }
        if self.json.is_some() || !self.keyword.takes_heredocs() {
            return Ok(());
        }
        self.markers = heredoc_markers(self.arguments.text());
        if self.markers.is_empty() {
            return Ok(());
        }
        let bodies = heredoc::read(file, &self.arguments, &self.markers, ending.next);
        let bodies = bodies.inspect_err(|_| {
            // Whatever follows is the body of the heredoc.
            ending.next = file.text().len();
        })?;
        (ending.end, ending.next) = (bodies.end, bodies.next);
        self.heredocs = bodies.heredocs;
        Ok(())
    }

    fn lower(mut self) -> Result<Lowered, Diagnostic> {
        let mut flags = self.check_flags()?;
        Ok(Lowered::Other(match self.keyword {
            Keyword::Add => InstructionKind::Add(copy::add(self, flags)?),
            Keyword::Arg => InstructionKind::Arg(assignments::arg(&self)?),
            Keyword::Cmd => InstructionKind::Cmd(command::command(&mut self)),
            Keyword::Copy => InstructionKind::Copy(copy::copy(self, flags)?),
            Keyword::Entrypoint => InstructionKind::Entrypoint(command::command(&mut self)),
            Keyword::Env => InstructionKind::Env(assignments::assignments(&self)?),
            Keyword::Expose => InstructionKind::Expose(simple::words(&self)?),
            Keyword::From => return Ok(Lowered::From(from::from(&self, &mut flags)?)),
            Keyword::Healthcheck => InstructionKind::Healthcheck(healthcheck::healthcheck(&self)?),
            Keyword::Label => InstructionKind::Label(assignments::assignments(&self)?),
            Keyword::Maintainer => InstructionKind::Maintainer(simple::one(self)?.text),
            // Handled before the arguments were read.
            Keyword::Onbuild => return Err(chained()),
            Keyword::Run => InstructionKind::Run(run::run(self, flags)?),
            Keyword::Shell => InstructionKind::Shell(command::shell(self)?),
            Keyword::Stopsignal => InstructionKind::Stopsignal(simple::one(self)?),
            Keyword::User => InstructionKind::User(simple::one(self)?),
            Keyword::Volume => InstructionKind::Volume(simple::volume(self)?),
            Keyword::Workdir => InstructionKind::Workdir(simple::one(self)?),
        }))
    }

    /// The flags, checked. `ARG` and `STOPSIGNAL` ignore theirs, and `HEALTHCHECK` looks at them only after its arguments.
    fn check_flags(&self) -> Result<Flags<'f>, Diagnostic> {
        match self.keyword {
            Keyword::Arg | Keyword::Stopsignal | Keyword::Healthcheck => Ok(Flags::default()),
            keyword => Flags::check(keyword, &self.flags),
        }
    }

    fn name(&self) -> &'static str {
        self.keyword.name()
    }
}

/// `ONBUILD`: the instruction in it is lowered like any other, and its text is kept.
fn onbuild(
    file: &SourceFile,
    flags: &[GluedText<'_>],
    arguments: &GluedText<'_>,
    escape: char,
    ending: &mut Ending,
) -> Result<Lowered, Diagnostic> {
    let parts = line_parts(arguments, escape);
    check_trigger(flags, arguments, &parts)?;
    let inner = lower(file, arguments, parts, escape, (ending.end, ending.next));
    (ending.end, ending.next) = (inner.end, inner.next);
    let kind = match inner.lowered? {
        Lowered::Other(kind) => kind,
        Lowered::From(_) => return Err(not_a_trigger("FROM").at(arguments.whole(), "")),
    };
    let mut text = arguments.text().to_owned();
    for heredoc in kind.heredocs() {
        text.push('\n');
        text.push_str(&heredoc.body);
        text.push_str(&heredoc.name);
    }
    let instruction = Instruction {
        span: arguments.whole().to(file.span(inner.end..inner.end)),
        keyword: inner.keyword,
        text: arguments.text().to_owned(),
        comments: Vec::new(),
        kind,
    };
    Ok(Lowered::Other(InstructionKind::Onbuild(
        OnbuildInstruction {
            text,
            inner: Box::new(instruction),
        },
    )))
}

/// Whether an instruction can be a trigger, as far as its keyword says.
fn check_trigger(
    flags: &[GluedText<'_>],
    arguments: &GluedText<'_>,
    parts: &LineParts<'_>,
) -> Result<(), Diagnostic> {
    Flags::check(Keyword::Onbuild, flags)?;
    if arguments.text().is_empty() {
        return Err(at_least_one("ONBUILD"));
    }
    match Keyword::find(parts.keyword.text()) {
        Some(keyword) => {
            allowed_as_trigger(keyword).map_err(|diagnostic| diagnostic.at(arguments.whole(), ""))
        }
        None => Ok(()),
    }
}

/// # Errors
/// The instruction cannot be a trigger. The diagnostic has no place yet.
pub(super) fn allowed_as_trigger(keyword: Keyword) -> Result<(), Diagnostic> {
    match keyword {
        Keyword::Onbuild => Err(chained()),
        Keyword::From | Keyword::Maintainer => Err(not_a_trigger(keyword.name())),
        _ => Ok(()),
    }
}

fn chained() -> Diagnostic {
    Diagnostic::error(
        "bad-trigger",
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    )
}

fn not_a_trigger(name: &str) -> Diagnostic {
    Diagnostic::error(
        "bad-trigger",
        format!("{name} isn't allowed as an ONBUILD trigger"),
    )
}

fn at_least_one(name: &str) -> Diagnostic {
    Diagnostic::error("arity", format!("{name} requires at least one argument"))
}
