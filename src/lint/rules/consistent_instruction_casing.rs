//! `ConsistentInstructionCasing`: keywords are written in one case throughout a file.

use crate::dockerfile::ast::Instruction;
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::source::Spanned;

pub(super) const RULE: Rule = Rule {
    name: "ConsistentInstructionCasing",
    description: "Keywords of instructions should have the same casing throughout the file",
    url: Some("https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/"),
    experimental: false,
    ours: false,
    check,
};

/// The majority is that of the keywords which are all in one case; upper case wins a tie.
fn check(subject: &Subject<'_>, found: &mut Found) {
    let stages = subject.dockerfile.stages.iter();
    let keywords: Vec<&Spanned<String>> = stages
        .flat_map(|stage| {
            let others = stage.instructions.iter().map(keyword);
            std::iter::once(keyword(&stage.from)).chain(others)
        })
        .collect();
    let count = |convert: fn(&str) -> String| {
        let same = |keyword: &&&Spanned<String>| convert(&keyword.value) == keyword.value;
        keywords.iter().filter(same).count()
    };
    let (case, convert): (_, fn(&str) -> String) =
        if count(str::to_ascii_lowercase) > count(str::to_ascii_uppercase) {
            ("lowercase", str::to_ascii_lowercase)
        } else {
            ("uppercase", str::to_ascii_uppercase)
        };
    for keyword in keywords {
        let wanted = convert(&keyword.value);
        if wanted == keyword.value {
            continue;
        }
        let message = format!(
            "Command '{}' should match the case of the command majority ({case})",
            keyword.value
        );
        let finding = found.warning(message).at(keyword.span, "");
        found.add(
            finding
                .hint(format!("write `{wanted}`"))
                .edit(keyword.span, wanted),
        );
    }
}

fn keyword<K>(instruction: &Instruction<K>) -> &Spanned<String> {
    &instruction.keyword
}
