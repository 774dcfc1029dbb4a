//! A whole file: its statements one after the other, put together to stages. Goes on after a mistake.

use super::ast::{Dockerfile, Instruction, InstructionKind, Stage, StageNames};
use super::directive::{self, Directives};
use super::instruction::{self, Lowered, Outcome};
use super::keyword::Keyword;
use super::pieces::{self, Lines, Statement};
use crate::source::{Diagnostic, SourceFile, Span, Spanned};

/// The longest line there may be, in bytes without its line feed. The reference implementation has this limit, so what
/// is longer would be no Dockerfile elsewhere.
const LONGEST_LINE: usize = 65535;

/// So many mistakes mean that the file is no Dockerfile; the rest of it is not looked at.
const MOST_MISTAKES: usize = 100;

/// Nobody reads more warnings of one kind than this.
const MOST_REMARKS: usize = 1000;

/// What became of a file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree; absent if there is any error among the diagnostics.
    pub dockerfile: Option<Dockerfile>,
    /// Mistakes and warnings in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    fn failed(diagnostic: Diagnostic) -> Self {
        Self {
            dockerfile: None,
            diagnostics: vec![diagnostic],
        }
    }
}

/// Parses a Dockerfile. Finds as many mistakes in one run as it can.
#[must_use]
pub fn parse(file: &SourceFile) -> Parsed {
    if let Some(diagnostic) = unreadable(file) {
        return Parsed::failed(diagnostic);
    }
    let start = if file.text().starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let scan = directive::scan(file, start);
    let escape = scan.directives.escape.map_or('\\', |escape| escape.value);
    let mut assembly = Assembly {
        diagnostics: scan.diagnostics,
        ..Assembly::default()
    };
    let mut statements = Statements::new(file, escape, scan.end);
    while assembly.diagnostics.len() < MOST_MISTAKES
        && let Some(instruction) = statements.next()
    {
        assembly.add(instruction, file);
    }
    assembly.diagnostics.append(&mut statements.remarks);
    assembly.finish(file, scan.directives, escape)
}

/// Parses the text of an `ONBUILD` trigger that an image carries: one instruction, with the default escape character.
///
/// # Errors
/// The text is not one instruction, or is one that a trigger cannot be. The diagnostics name places in `file`.
pub fn parse_trigger(file: &SourceFile) -> Result<Instruction, Vec<Diagnostic>> {
    let single = || {
        let message = "onbuild trigger should be a single expression";
        vec![Diagnostic::error("bad-trigger", message).at(file.span(0..file.text().len()), "")]
    };
    let mut statements = Statements::new(file, '\\', 0);
    let first = statements.next().ok_or_else(single)?;
    if let Some(keyword) = Keyword::find(&first.keyword.value)
        && let Err(diagnostic) = instruction::allowed_as_trigger(keyword)
    {
        return Err(vec![diagnostic.at(first.span, "")]);
    }
    let (instruction, lowered) = first.with_kind(());
    match lowered {
        Ok(Lowered::Other(kind)) if statements.next().is_none() => {
            Ok(instruction.with_kind(kind).0)
        }
        Ok(_) => Err(single()),
        Err(diagnostic) => Err(vec![diagnostic]),
    }
}

/// Why a text cannot be parsed at all.
fn unreadable(file: &SourceFile) -> Option<Diagnostic> {
    if file.text().is_empty() {
        return Some(Diagnostic::error("empty", "the Dockerfile cannot be empty"));
    }
    let long =
        (1..=file.line_count()).find(|&line| file.physical_line(line).len() > LONGEST_LINE)?;
    let message = format!("dockerfile line greater than max allowed size of {LONGEST_LINE}");
    Some(Diagnostic::error("line-too-long", message).at(file.span(file.line_range(long)), ""))
}

/// The instructions of a text, in order.
struct Statements<'f> {
    file: &'f SourceFile,
    escape: char,
    at: usize,
    comments: Vec<Spanned<String>>,
    /// What there is to say besides the instructions.
    remarks: Vec<Diagnostic>,
}

impl<'f> Statements<'f> {
    fn new(file: &'f SourceFile, escape: char, at: usize) -> Self {
        Self {
            file,
            escape,
            at,
            comments: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The next instruction, which may be wrong.
    fn next(&mut self) -> Option<Instruction<Result<Lowered, Diagnostic>>> {
        loop {
            if self.at >= self.file.text().len() {
                return None;
            }
            let (statement, next) = pieces::statement(self.file, self.at, self.escape);
            self.at = next;
            match statement {
                Statement::Blank => {}
                Statement::Comment(range) if range.is_empty() => self.comments.clear(),
                Statement::Comment(range) => {
                    let text = self.file.text()[range.clone()].to_owned();
                    self.comments
                        .push(Spanned::new(text, self.file.span(range)));
                }
                Statement::Instruction(lines) => {
                    if let Some(place) = lines.empty_line {
                        self.warn_of_empty_line(place);
                    }
                    if !lines.logical.text().is_empty() {
                        return Some(self.instruction(lines));
                    }
                }
            }
        }
    }

    fn instruction(&mut self, lines: Lines<'f>) -> Instruction<Result<Lowered, Diagnostic>> {
        let line = &lines.logical;
        let parts = pieces::line_parts(line, self.escape);
        let ending = (line.whole().range().end, self.at);
        let Outcome {
            lowered,
            keyword,
            end,
            next,
        } = instruction::lower(self.file, line, parts, self.escape, ending);
        self.at = next;
        Instruction {
            span: line.whole().to(self.file.span(end..end)),
            keyword,
            text: line.text().to_owned(),
            comments: std::mem::take(&mut self.comments),
            kind: lowered.map_err(|diagnostic| self.with_line(diagnostic, line.whole())),
        }
    }

    /// Every mistake in an instruction names its line, for those who see only the message.
    fn with_line(&self, mut diagnostic: Diagnostic, instruction: Span) -> Diagnostic {
        let line = self.file.line(instruction.start);
        diagnostic.message = format!(
            "dockerfile parse error on line {line}: {}",
            diagnostic.message
        );
        diagnostic
    }

    fn warn_of_empty_line(&mut self, place: Span) {
        if self.remarks.len() < MOST_REMARKS {
            let warning = Diagnostic::warning("NoEmptyContinuation", "Empty continuation line")
                .at(
                    place,
                    "this line is empty, and the instruction goes on after it",
                )
                .hint("remove the line, or let the line before it end the instruction");
            self.remarks.push(warning);
        }
    }
}

/// The tree as it grows.
#[derive(Default)]
struct Assembly {
    diagnostics: Vec<Diagnostic>,
    global_args: Vec<Instruction<super::ast::ArgInstruction>>,
    stages: Vec<Stage>,
    /// A stage was begun, though perhaps not well.
    begun: bool,
    any: bool,
}

impl Assembly {
    fn add(&mut self, instruction: Instruction<Result<Lowered, Diagnostic>>, file: &SourceFile) {
        self.any = true;
        let (instruction, lowered) = instruction.with_kind(());
        let keyword = Keyword::find(&instruction.keyword.value);
        match lowered {
            Ok(Lowered::From(from)) => {
                self.begun = true;
                self.stages.push(Stage {
                    from: instruction.with_kind(from).0,
                    instructions: Vec::new(),
                });
            }
            Ok(Lowered::Other(InstructionKind::Arg(arg))) if !self.begun => {
                self.global_args.push(instruction.with_kind(arg).0);
            }
            Ok(Lowered::Other(kind)) => {
                if !self.begun {
                    self.diagnostics.push(no_stage(instruction.span, file));
                    self.begun = true;
                }
                if let Some(stage) = self.stages.last_mut() {
                    stage.instructions.push(instruction.with_kind(kind).0);
                }
            }
            Err(diagnostic) => {
                // What could not be understood may well have been meant to begin a stage.
                self.begun |= matches!(keyword, None | Some(Keyword::From));
                self.diagnostics.push(diagnostic);
            }
        }
    }

    fn finish(mut self, file: &SourceFile, directives: Directives, escape: char) -> Parsed {
        let mut failed = self.diagnostics.iter().any(Diagnostic::is_error);
        if !failed && self.stages.is_empty() {
            let diagnostic = if self.any {
                Diagnostic::error("no-stages", "dockerfile contains no stages to build")
                    .hint("begin a stage with `FROM IMAGE`")
            } else {
                Diagnostic::error("no-instructions", "file with no instructions")
            };
            self.diagnostics.push(diagnostic);
            failed = true;
        }
        self.diagnostics
            .sort_by_key(|diagnostic| diagnostic.span().map(|span| span.start));
        let dockerfile = (!failed).then(|| Dockerfile {
            file: file.id(),
            directives,
            escape,
            global_args: self.global_args,
            names: StageNames::of(&self.stages),
            stages: self.stages,
        });
        Parsed {
            dockerfile,
            diagnostics: self.diagnostics,
        }
    }
}

fn no_stage(place: Span, file: &SourceFile) -> Diagnostic {
    let line = file.line(place.start);
    let first_line = place.range().start..file.line_range(line).end.min(place.range().end);
    Diagnostic::error("no-stage", "no build stage in current context")
        .at(
            file.span(first_line),
            "only `ARG` may stand before the first `FROM`",
        )
        .hint("begin the stage with `FROM IMAGE` above this line")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn trigger(text: &str) -> Result<Instruction, String> {
        let file = SourceFile::new(FileId(0), "trigger", text).unwrap();
        parse_trigger(&file).map_err(|diagnostics| diagnostics[0].message.clone())
    }

    #[test]
    fn triggers_are_single_instructions() {
        let kind = |text| trigger(text).unwrap().kind;
        assert!(matches!(kind("RUN a \\\n  b"), InstructionKind::Run(_)));
        assert!(
            matches!(kind("copy <<EOF /x\n$a\nEOF"), InstructionKind::Copy(copy) if copy.sources.len() == 1)
        );
        assert!(
            matches!(kind("# escape=`\nENV a=b\\ c"), InstructionKind::Env(env) if env.pairs[0].1.text == "b\\ c")
        );
        for text in ["", "# a", "RUN a\nRUN b"] {
            assert_eq!(
                trigger(text).unwrap_err(),
                "onbuild trigger should be a single expression",
                "of {text:?}"
            );
        }
        assert_eq!(
            trigger("FROM a").unwrap_err(),
            "FROM isn't allowed as an ONBUILD trigger"
        );
        assert_eq!(
            trigger("maintainer a").unwrap_err(),
            "MAINTAINER isn't allowed as an ONBUILD trigger"
        );
        let chained = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
        assert_eq!(trigger("ONBUILD RUN a").unwrap_err(), chained);
        assert_eq!(
            trigger("FOO").unwrap_err(),
            "dockerfile parse error on line 1: unknown instruction: FOO"
        );
    }

    #[test]
    fn a_trigger_that_was_stored_reads_back_as_itself() {
        let text = "FROM a\nONBUILD COPY --from=x <<-A <<'B' c \\\n  /x/\n\t$a\n\tA\n \\b\nB\n";
        let file = SourceFile::new(FileId(0), "Dockerfile", text).unwrap();
        let dockerfile = parse(&file).dockerfile.unwrap();
        let InstructionKind::Onbuild(onbuild) = &dockerfile.stages[0].instructions[0].kind else {
            panic!("{dockerfile:?}");
        };
        let again = trigger(&onbuild.text).unwrap();
        let content = |kind: &InstructionKind| -> Vec<_> {
            kind.heredocs()
                .iter()
                .map(|heredoc| (heredoc.name.clone(), heredoc.content(), heredoc.expand))
                .collect()
        };
        assert_eq!(content(&again.kind), content(&onbuild.inner.kind));
        assert_eq!(again.text, onbuild.inner.text);
    }
}
