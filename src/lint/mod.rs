//! Build checks: doubts about a Dockerfile that builds. `plan` notices, this judges.
//!
//! A rule has a name, a page in `docs/rules/` and a severity that the author controls with `# check=`. What is found is a
//! [`Diagnostic`](crate::source::Diagnostic) whose `code` is the rule's name. Nothing here prints, reads files or stops a build.

mod rule;

pub use rule::{RULES, Rule, rule};
