//! `JSONArgsRecommended`: a command that is not wrapped in a shell gets the signals that are meant for it.

use crate::dockerfile::ast::{Command, Instruction, InstructionKind};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;
use crate::source::Span;

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
        let edit = (*alone && is_alone(subject, instruction))
            .then(|| edit(subject, instruction))
            .flatten();
        found.add(match edit {
            Some((place, json)) => finding
                .hint(format!("write `{keyword} {json}`"))
                .edit(place, json),
            None => finding.hint(format!(
                "write `{keyword} [\"PROGRAM\", \"ARGUMENT\"]`; where a shell is wanted, say so with `SHELL`"
            )),
        });
    }
}

/// With both a `CMD` and an `ENTRYPOINT` the JSON form is not the same: one becomes arguments of the other. The second may
/// be in a stage that starts from this one, so all are looked at.
fn is_alone(subject: &Subject<'_>, instruction: &Instruction) -> bool {
    let is_cmd = matches!(instruction.kind, InstructionKind::Cmd(_));
    let stages = subject.dockerfile.stages.iter();
    let mut kinds = stages
        .flat_map(|stage| &stage.instructions)
        .map(|one| &one.kind);
    !kinds.any(|kind| match kind {
        InstructionKind::Cmd(_) => !is_cmd,
        InstructionKind::Entrypoint(_) => is_cmd,
        _ => false,
    })
}

/// The arguments of the instruction, and their JSON form.
fn edit(subject: &Subject<'_>, instruction: &Instruction) -> Option<(Span, String)> {
    let (InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command)) = &instruction.kind
    else {
        return None;
    };
    let Command::Shell(text) = command else {
        return None;
    };
    let json = as_json(text)?;
    let span = instruction.span;
    let place = Span {
        start: span.end.checked_sub(u32::try_from(text.len()).ok()?)?,
        ..span
    };
    (subject.slice(place) == text).then_some((place, json))
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
