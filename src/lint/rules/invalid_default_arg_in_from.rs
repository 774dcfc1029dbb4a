//! `InvalidDefaultArgInFrom`: a file can be built without build arguments.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "InvalidDefaultArgInFrom",
    description: "Without build arguments the name of a base should be neither empty nor invalid",
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::DefaultBaseName { written } = fact else {
            continue;
        };
        let message =
            format!("Default value for ARG {written} results in empty or invalid base image name");
        let finding = found.warning(message).at(span, "");
        found.add(finding.hint("give the `ARG` a default that makes a name of an image"));
    }
}
