//! The `RUN` instructions that are part of the build: what was written beside what will be run.

use std::collections::BTreeSet;

use super::shell::{self, SimpleCommand};
use super::subject::Subject;
use crate::dockerfile::ast::{Command, Instruction, InstructionKind, RunCommand};
use crate::plan::{RunStep, Step, StepId, StepKind};
use crate::source::Span;

/// One of them.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) id: StepId,
    pub(super) step: &'a Step,
    pub(super) run: &'a RunStep,
    pub(super) instruction: &'a Instruction,
    pub(super) written: &'a RunCommand,
}

/// All of them, without triggers of bases: their author is somebody else. A shell on Windows speaks another language.
pub(super) fn runs<'a>(subject: &Subject<'a>) -> Vec<Run<'a>> {
    let steps = subject.plan.map_or(&[][..], |plan| &plan.steps);
    let mut runs = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, step) in steps.iter().enumerate() {
        let StepKind::Run(run) = &step.kind else {
            continue;
        };
        let Some(instruction) = subject.instruction_at(step.span) else {
            continue;
        };
        let InstructionKind::Run(written) = &instruction.kind else {
            continue;
        };
        // Of several platforms the first one stands for all.
        if step.platform.os != "windows" && seen.insert(instruction.span) {
            runs.push(Run {
                id: StepId(index),
                step,
                run,
                instruction,
                written: &written.command,
            });
        }
    }
    runs
}

impl Run<'_> {
    /// The commands that it runs, as far as the text shows them.
    pub(super) fn commands(&self) -> Vec<SimpleCommand> {
        match self.written {
            RunCommand::Plain(Command::Shell(text)) => shell::commands(text),
            RunCommand::Plain(Command::Exec(argv)) => match argv.as_slice() {
                [] => Vec::new(),
                [program, option, text, ..] if is_shell(program) && option.ends_with('c') => {
                    shell::commands(text)
                }
                words => vec![SimpleCommand {
                    words: words.to_vec(),
                    ..SimpleCommand::default()
                }],
            },
            RunCommand::Script(heredoc) => shell::commands(&heredoc.content()),
            RunCommand::Executable(heredoc) => {
                let content = heredoc.content();
                match interpreter(&content) {
                    Some(argv) if argv.iter().any(|word| is_shell(word)) => {
                        shell::commands(&content)
                    }
                    _ => Vec::new(),
                }
            }
            RunCommand::Reassembled { text, .. } => shell::commands(text),
        }
    }

    /// Where a command stands in the file; the whole instruction where that is hard to tell.
    pub(super) fn place_of(&self, subject: &Subject<'_>, command: &SimpleCommand) -> Span {
        let whole = self.instruction.span;
        let text = subject.slice(whole);
        let [program, rest @ ..] = command.argv() else {
            return whole;
        };
        let follows = |at: usize| {
            let after = &text[at + program.len()..];
            let blank = after.starts_with(char::is_whitespace) || after.is_empty();
            let next = rest.first().map_or("", String::as_str);
            blank
                && after
                    .trim_start_matches(|c: char| c.is_whitespace() || c == '\\')
                    .starts_with(next)
        };
        let found = text
            .match_indices(program.as_str())
            .map(|(at, _)| at)
            .find(|&at| {
                !text[..at].ends_with(|c: char| c.is_alphanumeric() || "-_/.".contains(c))
                    && follows(at)
            });
        let (Some(at), Ok(length)) = (found, u32::try_from(program.len())) else {
            return whole;
        };
        let start = whole.start + u32::try_from(at).unwrap_or_default();
        Span {
            start,
            end: start + length,
            ..whole
        }
    }
}

/// Whether a program is a shell that knows `set -e`.
pub(super) fn is_shell(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "ash" | "bash" | "dash" | "ksh" | "zsh")
}

/// The words after `#!`.
pub(super) fn interpreter(script: &str) -> Option<Vec<String>> {
    let line = script.strip_prefix("#!")?.lines().next()?;
    Some(line.split_whitespace().map(str::to_owned).collect())
}
