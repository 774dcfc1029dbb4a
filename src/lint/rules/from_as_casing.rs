//! `FromAsCasing`: `AS` is written in the case of its `FROM`.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "FromAsCasing",
    description: "The words `FROM` and `AS` of one line should have the same casing",
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-as-casing/"),
    experimental: false,
    ours: false,
    check,
};

/// A `FROM` in mixed case is no example to follow; `ConsistentInstructionCasing` speaks of it.
fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in &subject.dockerfile.stages {
        let Some(name) = &stage.from.kind.name else {
            continue;
        };
        let from = &stage.from.keyword.value;
        let wanted = match from.as_str() {
            "from" => "as",
            "FROM" => "AS",
            _ => continue,
        };
        let written = &name.as_keyword;
        if written.value == wanted {
            continue;
        }
        let message = format!(
            "'{}' and '{from}' keywords' casing do not match",
            written.value
        );
        let finding = found.warning(message).at(written.span, "");
        found.add(
            finding
                .hint(format!("write `{wanted}`"))
                .edit(written.span, wanted),
        );
    }
}
