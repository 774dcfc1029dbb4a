//! The comments at the very start of a file that direct its parsing: `# syntax=`, `# escape=`, `# check=`.
//!
//! Read by hand, line by line, because the escape character must be known before the grammar can be applied.

use crate::source::Spanned;

/// The directives of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend the author asks for and its arguments.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`
    pub escape: Option<Spanned<char>>,
    /// `# check=`
    pub check: Option<Spanned<CheckOptions>>,
}

/// What `# check=` asks for; the same grammar is used in comments above instructions and in a build argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Rules not to apply.
    pub skip: RuleSelection,
    /// Rules to apply although they are experimental.
    pub experimental: RuleSelection,
    /// Whether a violation fails the build.
    pub error: bool,
}

/// Some rules, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSelection {
    /// `all`
    All,
    /// By name, as written.
    Named(Vec<String>),
}

impl Default for RuleSelection {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}
