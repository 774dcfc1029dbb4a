//! `RedundantTargetPlatform`: a stage is for the target platform unless it says otherwise.

use crate::lint::rule::{Found, Rule};
use crate::lint::subject::Subject;

use super::from_platform_flag_const_disallowed::variables;

pub(super) const RULE: Rule = Rule {
    name: "RedundantTargetPlatform",
    description: "`FROM` should not set the platform to `$TARGETPLATFORM`, which is what it is anyway",
    url: Some("https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/"),
    experimental: false,
    ours: false,
    check,
};

fn check(subject: &Subject<'_>, found: &mut Found) {
    for stage in &subject.dockerfile.stages {
        let Some(platform) = &stage.from.kind.platform else {
            continue;
        };
        // The value of that variable and nothing else.
        let (value, names) = variables(platform, subject.dockerfile.escape);
        if names != ["TARGETPLATFORM"] || value != "<TARGETPLATFORM>" {
            continue;
        }
        let message = format!(
            "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
            platform.text
        );
        let mut finding = found.warning(message).at(platform.span, "");
        finding = finding.hint("leave `--platform` out");
        let mut before_image = stage.from.span;
        before_image.start = stage.from.keyword.span.end;
        before_image.end = stage.from.kind.image.span.start;
        let flag = format!("--platform={}", platform.text);
        if subject.slice(before_image).trim() == flag {
            finding = finding.edit(before_image, " ");
        }
        found.add(finding);
    }
}
