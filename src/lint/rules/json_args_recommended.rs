//! `JSONArgsRecommended`: a command that is not wrapped in a shell gets the signals that are meant for it.

use crate::dockerfile::ast::{Command, Instruction, InstructionKind};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;
use crate::source::{Diagnostic, Span};

pub(super) const RULE: Rule = Rule {
    name: "JSONArgsRecommended",
    description: "`CMD` and `ENTRYPOINT` should be JSON arrays: with a shell around it a command does not get signals",
    url: Some("https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::ShellForm { alone } = fact else {
            continue;
        };
        // The trigger of a base has no line of its own here.
        let Some(instruction) = subject.instruction_at(span) else {
            continue;
        };
        let keyword = &instruction.keyword.value;
        let message = format!(
            "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
        );
        let finding = found.warning(message).at(span, "");
        let finding = finding.hint(format!(
            "write `{keyword} [\"PROGRAM\", \"ARGUMENT\"]`; where a shell is wanted, say so with `SHELL`"
        ));
        let fixed = if *alone && is_alone(subject, instruction) {
            with_edit(subject, instruction, finding)
        } else {
            finding
        };
        found.add(fixed);
    }
}

/// With both a `CMD` and an `ENTRYPOINT` the JSON form is not the same: one becomes arguments of the other.
fn is_alone(subject: &Subject<'_>, instruction: &Instruction) -> bool {
    let mut stages = subject.built_stages();
    let stage = stages.find(|stage| {
        stage
            .instructions
            .iter()
            .any(|one| std::ptr::eq(one, instruction))
    });
    let is_cmd = matches!(instruction.kind, InstructionKind::Cmd(_));
    stage.is_some_and(|stage| {
        let mut kinds = stage.instructions.iter().map(|one| &one.kind);
        !kinds.any(|kind| match kind {
            InstructionKind::Cmd(_) => !is_cmd,
            InstructionKind::Entrypoint(_) => is_cmd,
            _ => false,
        })
    })
}

fn with_edit(subject: &Subject<'_>, instruction: &Instruction, finding: Diagnostic) -> Diagnostic {
    let (InstructionKind::Cmd(Command::Shell(text))
    | InstructionKind::Entrypoint(Command::Shell(text))) = &instruction.kind
    else {
        return finding;
    };
    let (Some(json), Ok(length)) = (as_json(text), u32::try_from(text.len())) else {
        return finding;
    };
    let span = instruction.span;
    let place = Span {
        start: span.end.saturating_sub(length),
        ..span
    };
    if subject.slice(place) == text {
        finding.edit(place, json)
    } else {
        finding
    }
}

/// The JSON form of a text that a shell would only split at blanks.
fn as_json(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    let words: Vec<&str> = text
        .split([' ', '\t'])
        .filter(|word| !word.is_empty())
        .collect();
    let first = words.first()?;
    let only_in_shells = first.contains('=') || BUILTINS.contains(first);
    if only_in_shells || !words.iter().all(|word| word.chars().all(plain)) {
        return None;
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    Some(format!("[{}]", quoted.join(", ")))
}

/// Words that are no program, or a different one, without a shell.
const BUILTINS: [&str; 28] = [
    ".", ":", "alias", "break", "case", "cd", "command", "continue", "eval", "exec", "exit",
    "export", "for", "if", "read", "return", "set", "shift", "source", "time", "trap", "type",
    "ulimit", "umask", "unset", "until", "wait", "while",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_words_have_a_json_form() {
        let cases = [
            (
                "nginx  -g\t/etc/x.conf",
                Some("[\"nginx\", \"-g\", \"/etc/x.conf\"]"),
            ),
            (
                "python -m http.server --port=80",
                Some("[\"python\", \"-m\", \"http.server\", \"--port=80\"]"),
            ),
            ("", None),
            ("exec nginx", None),
            ("A=1 nginx", None),
            ("nginx $OPTIONS", None),
            ("nginx -g 'daemon off;'", None),
            ("a && b", None),
            ("a | b", None),
            ("a *.txt", None),
            ("a ~/x", None),
            ("a {b,c}", None),
            ("a > b", None),
            ("a # b", None),
            ("a \\ b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(as_json(text).as_deref(), expected, "of {text}");
        }
    }
}
