//! What a rule is: how it is called, what it is about, and the function that applies it.

use std::collections::BTreeMap;

use super::subject::Subject;
use crate::source::{Diagnostic, Span};

/// A build check.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// As in `# check=skip=NAME`.
    pub name: &'static str,
    /// What the rule asks for, one sentence without full stop.
    pub description: &'static str,
    /// The reference's page, for rules that it has too and documents.
    pub url: Option<&'static str>,
    /// Only applied if the author lists it under `experimental`.
    pub experimental: bool,
    /// Not a rule of the reference. It warns like the others, but counts for `error=true` only where the author lists
    /// it under `experimental`: a Dockerfile that the reference builds is built.
    pub ours: bool,
    /// Finds the places where a Dockerfile does not follow the rule.
    pub(super) check: fn(&Subject<'_>, &mut Found),
}

/// What a rule found. Every diagnostic gets the rule's name as its code.
#[derive(Debug)]
pub(super) struct Found {
    rule: &'static str,
    diagnostics: Vec<Diagnostic>,
    /// Positions of the diagnostics about each place.
    at: BTreeMap<Option<Span>, Vec<usize>>,
}

impl Found {
    pub(super) fn apply(rule: &Rule, subject: &Subject<'_>) -> Vec<Diagnostic> {
        let mut found = Self {
            rule: rule.name,
            diagnostics: Vec::new(),
            at: BTreeMap::new(),
        };
        (rule.check)(subject, &mut found);
        found.diagnostics
    }

    /// A finding with a message; the place, hints and edits are the caller's to add before it is handed to [`Found::add`].
    pub(super) fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.rule, message)
    }

    /// Takes a finding in; what was found for one platform is not said again for another.
    pub(super) fn add(&mut self, finding: Diagnostic) {
        let known = self.at.entry(finding.span()).or_default();
        if !known
            .iter()
            .any(|&known| self.diagnostics[known] == finding)
        {
            known.push(self.diagnostics.len());
            self.diagnostics.push(finding);
        }
    }
}
