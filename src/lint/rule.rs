//! The table of rules: what each is called and what it is about. What makes one fire is in `rules/`.

/// What there is to know about a rule besides what makes it fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As in `# check=skip=NAME`.
    pub name: &'static str,
    /// What the rule asks for, one sentence without full stop.
    pub description: &'static str,
    /// The reference's page, for rules that it has too and documents.
    pub url: Option<&'static str>,
    /// Only applied if the author lists it under `experimental`.
    pub experimental: bool,
}

/// Every rule, by name.
pub const RULES: &[Rule] = &[
    Rule {
        name: "NoEmptyContinuation",
        description: "Empty continuation lines will become errors in a future release",
        url: Some("https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"),
        experimental: false,
    },
    Rule {
        name: "UndefinedVar",
        description: "Variables should be defined before their use",
        url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-var/"),
        experimental: false,
    },
];

/// The rule of a name.
#[must_use]
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}
