//! `ExposeInvalidFormat`: `EXPOSE` is about the container; where its ports appear on a host is said when it is run.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;
use crate::plan::Fact;

pub(super) const RULE: Rule = Rule {
    name: "ExposeInvalidFormat",
    description: "`EXPOSE` should name ports of the container only; addresses and ports of the host will be errors one day",
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for (fact, span) in subject.facts() {
        let Fact::ExposedPort { spec } = fact else {
            continue;
        };
        let ports = spec.split('/').next().unwrap_or_default();
        let Some((host, _)) = ports.rsplit_once(':') else {
            continue;
        };
        // `::80` has host parts that are empty.
        if host.trim_matches(':').is_empty() {
            continue;
        }
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{spec}'"
        );
        let mut finding = found.warning(message).at(span, "");
        let port = &spec[host.len() + 1..];
        finding = finding.hint(format!(
            "write `{port}`; who runs the container publishes it with `-p`"
        ));
        // Only what goes, so that it goes together with an edit of what is after it.
        if subject.slice(span) == spec
            && let Ok(length) = u32::try_from(host.len() + 1)
        {
            let mut place = span;
            place.end = span.start + length;
            finding = finding.edit(place, "");
        }
        found.add(finding);
    }
}
