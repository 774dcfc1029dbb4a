//! `ReservedStageName`: names that mean something else are no names for stages.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

pub(super) const RULE: Rule = Rule {
    name: "ReservedStageName",
    description: "Stages should not have names that are reserved",
    url: Some("https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/"),
    experimental: false,
    ours: false,
    check,
};

/// `scratch` is the empty image, `context` the build context.
const RESERVED: [&str; 2] = ["scratch", "context"];

fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in &subject.dockerfile.stages {
        let Some(name) = &stage.from.kind.name else {
            continue;
        };
        if !RESERVED.contains(&name.lower.as_str()) {
            continue;
        }
        let message = format!(
            "Stage name should not use the same name as reserved stage \"{}\"",
            name.lower
        );
        let finding = found.warning(message).at(name.written.span, "");
        found.add(finding.hint("give the stage another name"));
    }
}
