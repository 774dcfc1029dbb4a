//! `InvalidBaseImagePlatform`: a base is for the platform that the stage is for.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "InvalidBaseImagePlatform",
    description: "A base should be for the platform that is built for",
    url: None,
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::BasePlatform {
            image,
            found: actual,
            expected,
        } = fact
        else {
            continue;
        };
        let message = format!(
            "Base image {image} was pulled with platform \"{actual}\", expected \"{expected}\" for current build"
        );
        let finding = found.warning(message).at(span, "");
        found.add(finding.hint(format!(
            "name an image that there is for {expected}, or say which one is meant with `--platform={actual}`"
        )));
    }
}
