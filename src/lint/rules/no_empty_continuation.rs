//! `NoEmptyContinuation`: no empty lines inside an instruction.

use crate::dockerfile::ast::{Instruction, InstructionKind};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::source::{SourceFile, Span};

pub(super) const RULE: Rule = Rule {
    name: "NoEmptyContinuation",
    description: "Empty continuation lines will become errors in a future release",
    url: Some("https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"),
    experimental: false,
    ours: false,
    check,
};

/// The parser sees the lines, of each instruction the first.
fn check(subject: &Subject<'_>, found: &mut Found) {
    for remark in subject
        .remarks
        .iter()
        .filter(|remark| remark.code == RULE.name)
    {
        let Some(first) = remark.span() else {
            continue;
        };
        let mut finding = found.warning("Empty continuation line").at(
            first,
            "this line is empty, and the instruction goes on after it",
        );
        finding = finding.hint("remove the line, or let the line before it end the instruction");
        if let Some(file) = subject.sources.get(first.file) {
            let last = subject.instruction_at(first).map_or(first, continued_lines);
            for line in empty_lines(file, first, last) {
                finding = finding.edit(line, "");
            }
        }
        found.add(finding);
    }
}

/// The lines of an instruction without the heredocs that follow them.
fn continued_lines(instruction: &Instruction<InstructionKind>) -> Span {
    let mut span = instruction.span;
    if let Some(heredoc) = instruction.kind.heredocs().first() {
        span.end = heredoc.body_span.start;
    }
    span
}

/// The empty lines from the first one to the last line of an instruction, each with its line end.
fn empty_lines(file: &SourceFile, first: Span, last: Span) -> Vec<Span> {
    let lines = file.line(first.start)..=file.lines(last).1.max(file.line(first.start));
    lines
        .map(|line| file.physical_line(line))
        .filter(|range| file.text()[range.clone()].trim().is_empty())
        .map(|range| file.span(range.start..(range.end + 1).min(file.text().len())))
        .collect()
}
