//! `LegacyKeyValueFormat`: `ENV` and `LABEL` are written with `=`.

use crate::dockerfile::ast::{Assignments, Instruction, InstructionKind, Word};
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "LegacyKeyValueFormat",
    description: "`ENV` and `LABEL` should have `=` between name and value, not white space",
    url: Some("https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for instruction in subject.built_instructions() {
        let (InstructionKind::Env(assignments) | InstructionKind::Label(assignments)) =
            &instruction.kind
        else {
            continue;
        };
        if !assignments.legacy {
            continue;
        }
        let keyword = &instruction.keyword.value;
        let message = format!(
            "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
        );
        let mut finding = found.warning(message).at(instruction.span, "");
        match fixed(subject, instruction, assignments) {
            Some((place, text)) => {
                finding = finding
                    .hint(format!("write `{keyword} {text}`"))
                    .edit(place, text);
            }
            None => {
                finding =
                    finding.hint("put `=` between name and value, and quotes around the value");
            }
        }
        found.add(finding);
    }
}

fn fixed(
    subject: &Subject<'_>,
    instruction: &Instruction,
    assignments: &Assignments,
) -> Option<(crate::source::Span, String)> {
    let (name, value) = assignments.pairs.first()?;
    let same_text = |word: &Word| subject.slice(word.span) == word.text;
    if !subject.is_verbatim(instruction) || !same_text(name) || !same_text(value) {
        return None;
    }
    let value = as_one_word(&value.text, subject.dockerfile.escape)?;
    let place = assignments
        .pairs
        .first()
        .map(|(name, value)| name.span.to(value.span))?;
    Some((place, format!("{}={value}", name.text)))
}

/// A text that expands to what it expands to, as one word. Nothing where quotes and blanks are mixed.
fn as_one_word(value: &str, escape: char) -> Option<String> {
    let special = |c: char| c == '"' || c == '\'' || c == escape;
    if !value.contains(special) {
        let needs_quotes =
            value.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_./:$".contains(c));
        return Some(if needs_quotes {
            format!("\"{value}\"")
        } else {
            value.to_owned()
        });
    }
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c == escape => _ = characters.next()?,
            '\'' => _ = characters.find(|&c| c == '\'')?,
            '"' => loop {
                match characters.next()? {
                    '"' => break,
                    c if c == escape => _ = characters.next()?,
                    _ => {}
                }
            },
            c if c.is_whitespace() => return None,
            _ => {}
        }
    }
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::ast::InstructionKind::Env;
    use crate::dockerfile::parse;
    use crate::dockerfile::word::{Mode, expand};
    use crate::source::{FileId, SourceFile};

    fn value_of(line: &str) -> String {
        let file = SourceFile::new(FileId(0), "f", format!("FROM a\n{line}\n")).unwrap();
        let dockerfile = parse(&file).dockerfile.unwrap();
        let Env(env) = &dockerfile.stages[0].instructions[0].kind else {
            panic!("{line}");
        };
        let lookup = |name: &str| (name == "V").then(|| "a value".to_owned());
        assert_eq!(env.pairs.len(), 1, "{line}");
        expand(&env.pairs[0].1, '\\', &lookup, Mode::Argument)
            .unwrap()
            .value
    }

    #[test]
    fn the_value_stays_what_it_was() {
        let values = [
            "one",
            "two words",
            "a  b",
            "$V",
            "${V} x",
            "${V:-a b}",
            "${N:-a b}",
            "cost $",
            "x=y z",
            "a=\"b c\"",
            "'a b'",
            "\"a $V\"",
            "a\\ b",
            "\"a\\\"b\"",
            "# x",
            "`a b`",
            "a;b",
            "${V}",
        ];
        for value in values {
            let word = as_one_word(value, '\\').unwrap_or_else(|| panic!("{value}"));
            let new = value_of(&format!("ENV k={word}"));
            assert_eq!(
                new,
                value_of(&format!("ENV k {value}")),
                "{value} as {word}"
            );
        }
        for value in ["a \"b\"", "a\\ b c", "\"a", "'a", "a\\"] {
            assert_eq!(as_one_word(value, '\\'), None, "{value}");
        }
    }
}
