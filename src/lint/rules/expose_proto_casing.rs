//! `ExposeProtoCasing`: protocols are written in lower case.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "ExposeProtoCasing",
    description: "The protocol of an `EXPOSE` should be in lower case",
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::ExposedPort { spec } = fact else {
            continue;
        };
        let Some((ports, protocol)) = spec.split_once('/') else {
            continue;
        };
        let lower = protocol.to_lowercase();
        if protocol == lower {
            continue;
        }
        let message =
            format!("Defined protocol '{spec}' in EXPOSE instruction should be lowercase");
        let mut finding = found.warning(message).at(span, "");
        finding = finding.hint(format!("write `{ports}/{lower}`"));
        // Only the protocol, so that it goes together with an edit of what is before it.
        if subject.slice(span) == spec
            && let Ok(length) = u32::try_from(protocol.len())
        {
            let mut place = span;
            place.start = span.end - length;
            finding = finding.edit(place, lower);
        }
        found.add(finding);
    }
}
