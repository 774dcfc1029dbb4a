//! `MaintainerDeprecated`: the author of an image is a label.

use crate::dockerfile::ast::InstructionKind;
use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "MaintainerDeprecated",
    description: "The author of an image should be named by a label, not by `MAINTAINER`",
    url: Some("https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    let stages = subject.dockerfile.stages.iter();
    for instruction in stages.flat_map(|stage| &stage.instructions) {
        let InstructionKind::Maintainer(name) = &instruction.kind else {
            continue;
        };
        let message = "Maintainer instruction is deprecated in favor of using label";
        let mut finding = found.warning(message).at(instruction.span, "");
        let label = label(name, subject.dockerfile.escape);
        finding = finding.hint(format!("write `{label}`"));
        if subject.is_verbatim(instruction) {
            finding = finding.edit(instruction.span, label);
        }
        found.add(finding);
    }
}

/// The label that says the same. A label is expanded and its quotes go, while `MAINTAINER` keeps everything; quotes around
/// the whole name were meant to go.
fn label(name: &str, escape: char) -> String {
    let quoted = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let name = quoted.unwrap_or(name);
    let mut label = String::from("LABEL org.opencontainers.image.authors=\"");
    for character in name.chars() {
        if matches!(character, '"' | '$') || character == escape {
            label.push(escape);
        }
        label.push(character);
    }
    label.push('"');
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::ast::Word;
    use crate::dockerfile::word::{Mode, expand};
    use crate::source::Span;

    #[test]
    fn the_label_has_the_name_as_it_was() {
        for escape in ['\\', '`'] {
            for name in ["Jo <jo@example.com>", "a \"b\" $c", "\\d` `\\", "it's"] {
                let label = label(name, escape);
                let (_, value) = label.split_once('=').unwrap();
                let word = Word {
                    text: value.to_owned(),
                    span: Span::default(),
                };
                let value = expand(&word, escape, &|_| None, Mode::Argument).unwrap();
                assert_eq!(value.value, name);
            }
        }
        assert!(label("\"Jo\"", '\\').ends_with("authors=\"Jo\""));
    }
}
