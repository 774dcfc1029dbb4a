//! `DuplicateStageName`: a name stands for one stage.

use std::collections::BTreeMap;

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::source::Span;

pub(super) const RULE: Rule = Rule {
    name: "DuplicateStageName",
    description: "No two stages should have the same name",
    url: Some("https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for stage in &subject.dockerfile.stages {
        let Some(name) = &stage.from.kind.name else {
            continue;
        };
        let Some(&taken) = first.get(name.lower.as_str()) else {
            first.insert(&name.lower, name.written.span);
            continue;
        };
        let message = format!(
            "Duplicate stage name \"{}\", stage names should be unique",
            name.lower
        );
        let finding = found.warning(message).at(name.written.span, "");
        let finding = finding.at(taken, "the name is taken here");
        found.add(
            finding.hint("give one of them another name: a reference means the nearest above it"),
        );
    }
}
