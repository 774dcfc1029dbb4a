//! `StageNameCasing`: stage names are in lower case, which is how they are compared.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "StageNameCasing",
    description: "Names of stages should be in lower case",
    url: Some("https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in &subject.dockerfile.stages {
        let Some(name) = &stage.from.kind.name else {
            continue;
        };
        if name.written.value == name.lower {
            continue;
        }
        let message = format!("Stage name '{}' should be lowercase", name.written.value);
        let finding = found.warning(message).at(name.written.span, "");
        let finding = finding.hint(format!(
            "write `{}`: names of stages are compared without regard to case",
            name.lower
        ));
        found.add(finding.edit(name.written.span, name.lower.clone()));
    }
}
