//! `InvalidDefinitionDescription`: a comment directly above an `ARG` or a named stage describes it, and begins with its name.

use crate::dockerfile::ast::{ArgInstruction, InstructionKind};
use crate::lint::control::options_of;
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::source::{Span, Spanned};

pub(super) const RULE: Rule = Rule {
    name: "InvalidDefinitionDescription",
    description: "A comment directly above an `ARG` or a named stage should begin with its name; an empty line or an empty comment \
                  between the two says that it is none of its description",
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/"),
    experimental: true,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    let names = |arg: &ArgInstruction| -> Vec<String> {
        let names = arg.declarations.iter();
        names
            .map(|declaration| declaration.name.text.clone())
            .collect()
    };
    for arg in &subject.dockerfile.global_args {
        described(
            subject,
            found,
            "ARG",
            &names(&arg.kind),
            &arg.comments,
            arg.span,
        );
    }
    for stage in &subject.dockerfile.stages {
        let from = &stage.from;
        let name: Vec<String> = from
            .kind
            .name
            .iter()
            .map(|name| name.lower.clone())
            .collect();
        described(subject, found, "FROM", &name, &from.comments, from.span);
        for instruction in &stage.instructions {
            if let InstructionKind::Arg(arg) = &instruction.kind {
                let (comments, span) = (&instruction.comments, instruction.span);
                described(subject, found, "ARG", &names(arg), comments, span);
            }
        }
    }
}

fn described(
    subject: &Subject<'_>,
    found: &mut Found,
    keyword: &str,
    names: &[String],
    comments: &[Spanned<String>],
    span: Span,
) {
    // What is addressed to the checks describes nothing.
    let mut comments = comments.iter().rev();
    let comment = comments.find(|comment| options_of(&comment.value).is_none());
    let (Some(comment), Some(first)) = (comment, names.first()) else {
        return;
    };
    if !is_directly_above(subject, comment.span, span) {
        return;
    }
    let begins_with = comment.value.split(' ').next().unwrap_or_default();
    if names.iter().any(|name| name == begins_with) {
        return;
    }
    let example = if names.len() > 1 { "<arg_key>" } else { first };
    let message =
        format!("Comment for {keyword} should follow the format: `# {example} <description>`");
    let finding = found
        .warning(message)
        .at(span, "")
        .at(comment.span, "the comment");
    found.add(finding.hint(format!(
        "begin the comment with `{example}`, or put an empty line below it"
    )));
}

/// Whether there is no empty line between a comment and its instruction.
fn is_directly_above(subject: &Subject<'_>, comment: Span, instruction: Span) -> bool {
    let between = Span {
        start: comment.end,
        end: instruction.start,
        ..comment
    };
    // Before the first and after the last line feed are the ends of the two lines themselves.
    let mut lines: Vec<&str> = subject.slice(between).split('\n').skip(1).collect();
    lines.pop();
    lines.iter().all(|line| !line.trim().is_empty())
}
