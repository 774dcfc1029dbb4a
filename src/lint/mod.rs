//! Build checks: doubts about a Dockerfile that builds. `plan` notices, this judges.
//!
//! A rule has a name, a file in `rules/`, a page in `docs/rules/`, and applies unless the author says otherwise with
//! `# check=`. What is found is a [`Diagnostic`] whose `code` is the rule's name. Nothing here prints or stops a build.

mod control;
mod quantity;
mod rule;
mod rules;
mod runs;
mod shell;
mod subject;

pub use control::control;
pub use rule::Rule;
pub use rules::{RULES, rule};
pub use subject::Subject;

use crate::dockerfile::directive::CheckOptions;
use crate::source::Diagnostic;

/// What the checks found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The findings in the order of their places.
    pub warnings: Vec<Diagnostic>,
    /// Names of the rules that fail the build, sorted: those violated under `error=true`.
    pub violated: Vec<&'static str>,
}

/// Applies every rule that `control` admits, and that the comments above instructions admit.
#[must_use]
pub fn check(subject: &Subject<'_>, control: &CheckOptions) -> Findings {
    let mut findings = Findings::default();
    for rule in RULES {
        // Some rules look at files of the context: what nobody will see is not asked for.
        if !rule.experimental && !control::applies(rule, control, &[]) {
            continue;
        }
        let mut found = rule::Found::apply(rule, subject);
        found.retain(|finding| {
            let comments = finding.span().map(|place| subject.comments_at(place));
            control::applies(rule, control, comments.unwrap_or_default())
        });
        if !found.is_empty() && control::is_error(rule, control) {
            findings.violated.push(rule.name);
        }
        findings.warnings.append(&mut found);
    }
    findings.violated.sort_unstable();
    let place = |finding: &Diagnostic| finding.span().map(|span| (span.file, span.start));
    findings.warnings.sort_by_key(place);
    findings
}
