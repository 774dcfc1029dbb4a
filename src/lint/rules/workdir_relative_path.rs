//! `WorkdirRelativePath`: the first working directory does not depend on that of the base.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "WorkdirRelativePath",
    description: "The first `WORKDIR` should be absolute: a relative one depends on what the base image says",
    url: Some("https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::RelativeWorkdir { path } = fact else {
            continue;
        };
        let message = format!(
            "Relative workdir \"{path}\" can have unexpected results if the base image changes"
        );
        found.add(
            found
                .warning(message)
                .at(span, "")
                .hint("begin the path with `/`"),
        );
    }
}
